/**
 * One direction of a session: every byte that comes from one socket goes to the other, in order, at
 * the pace of the slower one. A small read is written at once. Large reads come in pieces of one TLS
 * record: they are gathered while this turn of the event loop brings more, and written together.
 */

import type { Socket } from 'node:net'

import { BATCH_BYTES, type ReadBuffers } from './read-buffers.js'

export interface FlowOptions {
  from: Socket
  to: Socket
  /** Undefined: each read has a buffer of its own. */
  buffers: ReadBuffers | undefined
  /** Called with all bytes that come, before they are written. */
  seen: (buffer: Buffer, byteCount: number) => void
}

// PostgreSQL sends in pieces of 8 KB, other servers in pieces of up to 16 KB: more comes at once.
const LARGE_READ_BYTES = 4 * 1024
// The most that waits for a slow reader, beside one batch.
const MAX_WAITING_BYTES = BATCH_BYTES

export class Flow {
  /** Bytes that have come so far. */
  byteCount = 0
  readonly #from: Socket
  readonly #to: Socket
  readonly #buffers: ReadBuffers | undefined
  readonly #seen: FlowOptions['seen']
  #batch: Buffer | undefined
  #batchedBytes = 0
  #isFlushDue = false
  #isDiscarding = false

  constructor(options: FlowOptions) {
    this.#from = options.from
    this.#to = options.to
    this.#buffers = options.buffers
    this.#seen = options.seen
  }

  start(): void {
    const from = this.#from
    // Bytes that are buffered already come this way, and all bytes where a read has its own buffer.
    from.on('data', (chunk: Buffer) => this.#take(chunk))
    this.#to.on('drain', () => from.resume())
    this.#buffers?.readInto(from, (buffer, byteCount) => this.#takeCopy(buffer, byteCount))
    from.resume()
  }

  /** True when no byte waits to be written. */
  get isEmpty(): boolean {
    return this.#to.writableLength === 0 && this.#batch === undefined
  }

  /** Ends the reading socket once all bytes that have come are written. */
  end(): void {
    this.flush()
    if (!this.#to.writableEnded) this.#to.end()
  }

  /** Drops the bytes that come from now on: they are read and go nowhere. */
  discard(): void {
    this.#isDiscarding = true
    this.#from.resume()
  }

  /** Takes the bytes that a stream holds for a slow reader, when it will emit no more of them. */
  takeRest(): void {
    const rest: Buffer | null = this.#from.read()
    if (rest !== null) this.#take(rest)
  }

  #take(chunk: Buffer): void {
    if (this.#isDiscarding) return
    this.byteCount += chunk.length
    this.#seen(chunk, chunk.length)
    this.flush()
    this.#write(chunk)
  }

  #takeCopy(buffer: Buffer, byteCount: number): void {
    if (this.#isDiscarding) return
    this.byteCount += byteCount
    this.#seen(buffer, byteCount)
    if (this.#batch === undefined && byteCount < LARGE_READ_BYTES) {
      const chunk = Buffer.allocUnsafe(byteCount)
      buffer.copy(chunk, 0, 0, byteCount)
      this.#write(chunk)
      return
    }
    if (this.#batchedBytes + byteCount > BATCH_BYTES) this.flush()
    this.#batch ??= this.#buffers!.takeBatch()
    buffer.copy(this.#batch, this.#batchedBytes, 0, byteCount)
    this.#batchedBytes += byteCount
    if (this.#isFlushDue) return
    this.#isFlushDue = true
    setImmediate(this.#flushWhenDue)
  }

  readonly #flushWhenDue = (): void => {
    this.#isFlushDue = false
    this.flush()
  }

  /** Writes what was gathered. */
  flush(): void {
    const batch = this.#batch
    if (batch === undefined) return
    const bytes = batch.subarray(0, this.#batchedBytes)
    this.#batch = undefined
    this.#batchedBytes = 0
    // After an error the batch may still be in use: it is not given back.
    this.#write(bytes, (error) => error ?? this.#buffers!.giveBack(batch))
  }

  #write(bytes: Buffer, written?: (error?: Error | null) => void): void {
    const to = this.#to
    if (to.writableEnded || to.destroyed) return
    to.write(bytes, written)
    if (to.writableLength >= MAX_WAITING_BYTES) this.#from.pause()
  }
}
