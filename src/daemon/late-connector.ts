/**
 * What logs in upstream, loaded late: a target is listened for before it is there. A client that
 * comes in this moment waits for it, as it would have waited for the door to open.
 */

import type { Connector, ConnectorOptions } from '../upstream/connect.js'

export class LateConnector implements Pick<Connector, 'connect'> {
  readonly #options: ConnectorOptions
  #loaded: Promise<Connector> | undefined

  constructor(options: ConnectorOptions) {
    this.#options = options
  }

  load(): Promise<Connector> {
    this.#loaded ??= import('../upstream/connect.js').then(
      ({ Connector }) => new Connector(this.#options),
    )
    return this.#loaded
  }

  /** As the connector's. */
  async connect(...how: Parameters<Connector['connect']>): ReturnType<Connector['connect']> {
    const connector = await this.load()
    return connector.connect(...how)
  }
}
