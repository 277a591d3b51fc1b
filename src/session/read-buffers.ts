/**
 * Buffers that are used again. A socket reads each time into a new buffer of 64 KB, most of which it
 * gives back: a fifth of what moving a small query costs. Node's way round that, the `onread` option
 * of net.connect, is only for sockets one connects oneself, without TLS; here it is set on a socket
 * that is there already. That is no documented step, so what `onread` is made of in this Node is
 * found by looking at a socket that has it, and where it is not found, sockets are read as usual.
 * https://nodejs.org/api/net.html#socketconnectoptions-connectlistener
 */

import { Socket } from 'node:net'

/** Called with what has come, which is gone when it returns. */
export type Take = (buffer: Buffer, byteCount: number) => void

/** As much as libuv reads at once. */
const READ_BYTES = 64 * 1024
export const BATCH_BYTES = 128 * 1024
const MAX_SPARE_BATCHES = 8

export class ReadBuffers {
  readonly #keys: OnreadKeys | undefined = onreadKeys()
  /** One for all sockets: nothing of it is kept from one read to the next. */
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES)
  readonly #spareBatches: Buffer[] = []

  /**
   * From now on the socket's bytes come to `take`; pause() and resume() go on working. False: not in
   * this Node, listen to 'data'.
   */
  readInto(socket: Socket, take: Take): boolean {
    const keys = this.#keys
    const insides = socket as unknown as Insides
    const handle = insides._handle
    if (keys === undefined || typeof handle?.useUserBuffer !== 'function') return false
    if (insides[keys.buffer] !== null || insides[keys.callback] !== null) return false
    const buffer = this.#buffer
    insides[keys.callback] = (byteCount: number) => {
      take(buffer, byteCount)
      return true
    }
    insides[keys.buffer] = buffer
    handle.useUserBuffer(buffer)
    return true
  }

  /** BATCH_BYTES long; what is in it is of no meaning. */
  takeBatch(): Buffer {
    return this.#spareBatches.pop() ?? Buffer.allocUnsafeSlow(BATCH_BYTES)
  }

  /** Only once its bytes are written. */
  giveBack(batch: Buffer): void {
    if (this.#spareBatches.length < MAX_SPARE_BATCHES) this.#spareBatches.push(batch)
  }
}

interface OnreadKeys {
  readonly buffer: symbol
  readonly callback: symbol
}

interface Insides {
  _handle?: { useUserBuffer?: (buffer: Buffer) => void } | null
  [key: symbol]: unknown
}

/** Where a socket keeps its `onread`, and one without it keeps null. */
function onreadKeys(): OnreadKeys | undefined {
  const buffer = Buffer.alloc(1)
  const callback = (): boolean => true
  const options: object = { onread: { buffer, callback } }
  const having = new Socket(options) as unknown as Insides
  const lacking = new Socket() as unknown as Insides
  const holding = (value: unknown): symbol[] =>
    Object.getOwnPropertySymbols(having).filter((key) => having[key] === value)
  const [bufferKey, ...moreBuffers] = holding(buffer)
  const [callbackKey, ...moreCallbacks] = holding(callback)
  if (bufferKey === undefined || callbackKey === undefined) return undefined
  if (moreBuffers.length > 0 || moreCallbacks.length > 0) return undefined
  if (lacking[bufferKey] !== null || lacking[callbackKey] !== null) return undefined
  return { buffer: bufferKey, callback: callbackKey }
}
