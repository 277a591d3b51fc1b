/** Notices that a client has left while its upstream is dialled, when its bytes are not read. */

import type { Socket } from 'node:net'

import { LinkedAbort } from '../core/deadline.js'

export class ClientLeft extends Error {}

/**
 * Aborts when the client leaves, so that its upstream is not dialled for nothing. A client that has
 * sent bytes ahead and then half-closed has not left.
 */
export class ClientLeaving extends LinkedAbort {
  readonly #client: Socket
  // A stream emits its end only when it is read; read(0) takes no byte.
  readonly #look = (): void => void this.#client.read(0)
  readonly #left = (): void => this.abort(new ClientLeft())

  constructor(client: Socket, closing: AbortSignal) {
    super(closing)
    this.#client = client
    client.on('readable', this.#look).on('end', this.#left).on('close', this.#left)
    if (client.destroyed || client.readableEnded) this.#left()
    else this.#look()
  }

  override release(): void {
    super.release()
    this.#client.off('readable', this.#look).off('end', this.#left).off('close', this.#left)
  }
}
