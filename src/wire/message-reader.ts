/**
 * Cuts what a server says into whole messages. The cost is linear in the bytes, however they
 * dribble in, and messages and bytes are counted against a limit, so that no server can keep its
 * reader busy or fill the memory. Used for the login and for `doctor`, never on a client's session.
 */

import type { Duplex } from 'node:stream'

import { readSome } from './byte-reader.js'

export interface WireMessage {
  /** One letter. */
  readonly type: string
  /** Type and length included. */
  readonly bytes: Buffer
}

export interface MessageLimits {
  /** The limit for one message. */
  readonly messageBytes: number
  /** The limit for all messages together. */
  readonly totalBytes: number
  readonly messages: number
}

/** A length that cannot be, or more than the limits allow. */
export class LimitExceeded extends Error {
  readonly limit: keyof MessageLimits

  constructor(limit: keyof MessageLimits) {
    super(`limit of ${limit} exceeded`)
    this.limit = limit
  }
}

const HEADER_BYTES = 5

export class MessageReader {
  readonly #socket: Duplex
  readonly #limits: MessageLimits
  readonly #signal: AbortSignal
  /** Read from the socket. */
  #held: Buffer = NOTHING
  /** Where in it the next message begins. */
  #at = 0
  #messages = 0
  #bytes = 0

  constructor(socket: Duplex, limits: MessageLimits, signal: AbortSignal) {
    this.#socket = socket
    this.#limits = limits
    this.#signal = signal
  }

  /** Errors: LimitExceeded, those of `readSome`, and the signal's reason. */
  async next(): Promise<WireMessage> {
    this.#signal.throwIfAborted() // with messages at hand, the socket is not waited for
    for (;;) {
      const message = this.atHand()
      if (message !== undefined) return message
      await this.#fill(this.#byteCount())
    }
  }

  /** The next message if all of it has come: a promise for each would cost more than to cut them. */
  atHand(): WireMessage | undefined {
    const byteCount = this.#byteCount()
    if (this.#heldBytes < byteCount) return undefined
    this.#bytes += byteCount
    this.#messages++
    return { type: String.fromCharCode(this.#held[this.#at]!), bytes: this.#take(byteCount) }
  }

  /** The bytes that were read after the last message. */
  takeRest(): Buffer {
    return this.#take(this.#heldBytes)
  }

  get #heldBytes(): number {
    return this.#held.length - this.#at
  }

  /** How long the next message is, or its header, while that is not here. Errors: LimitExceeded. */
  #byteCount(): number {
    if (this.#heldBytes < HEADER_BYTES) return HEADER_BYTES
    const { messageBytes, totalBytes, messages } = this.#limits
    const byteCount = 1 + this.#held.readInt32BE(this.#at + 1)
    if (byteCount < HEADER_BYTES || byteCount > messageBytes) {
      throw new LimitExceeded('messageBytes')
    }
    if (this.#bytes + byteCount > totalBytes) throw new LimitExceeded('totalBytes')
    if (this.#messages === messages) throw new LimitExceeded('messages')
    return byteCount
  }

  #take(byteCount: number): Buffer {
    const from = this.#at
    this.#at += byteCount
    return this.#held.subarray(from, this.#at)
  }

  /** Reads until `byteCount` bytes are held, and joins them once. */
  async #fill(byteCount: number): Promise<void> {
    const chunks = this.#heldBytes === 0 ? [] : [this.#held.subarray(this.#at)]
    for (let length = this.#heldBytes; length < byteCount; ) {
      const chunk = await readSome(this.#socket, this.#signal)
      chunks.push(chunk)
      length += chunk.length
    }
    this.#held = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
    this.#at = 0
  }
}

const NOTHING = Buffer.alloc(0)
