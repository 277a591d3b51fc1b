/** Notices that a client has left, while nobody reads from it. */

import type { Socket } from 'node:net'

import { LinkedAbort } from '../core/deadline.js'

export class ClientLeft extends Error {}

/**
 * Aborts when the client leaves while nobody reads from it, so that its upstream is not dialled for
 * nothing. One that has sent ahead and then half-closed has not left.
 */
export class ClientLeaving extends LinkedAbort {
  readonly #client: Socket
  // An end is announced only to who reads; read(0) takes no byte.
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
