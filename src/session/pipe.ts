/**
 * Moves bytes both ways between a client and its upstream until the end, and looks into none of
 * them. A half-close is passed on, and the other way goes on until it, too, ends or falls silent;
 * a slow reader slows its writer; when one side breaks, what had come from it is still delivered.
 */

import type { Socket } from 'node:net'

import type { Clock } from '../core/clock.js'
import { TERMINATE } from '../wire/frontend.js'
import { Flow } from './flow.js'
import type { ReadBuffers } from './read-buffers.js'

export type PipeOutcome =
  | 'closed'
  | 'client reset'
  | 'upstream reset'
  | 'idle timeout'
  | 'drained'
  | 'ended by shutdown'

export interface PipeOptions {
  clock: Clock
  /** 0: never. */
  idleTimeoutMs: number
  /** What the client was sent last, before this. */
  greeting: Buffer
  /** Undefined: each read has a buffer of its own. */
  buffers?: ReadBuffers | undefined
}

// Silence after a half-close, or before a broken connection's last bytes are given up, in ms.
const LINGER_MS = 30_000
// ReadyForQuery, length 5, idle: https://www.postgresql.org/docs/current/protocol-message-formats.html
const READY_IDLE = 0x5a0000000549
const READY_BYTES = 6
const SILENCE_MS = 1_000

export class Pipe {
  /** Resolves when both sockets are closed; never rejects. */
  readonly done: Promise<PipeOutcome>

  /** Whose end of the connection came first; undefined while there is none. */
  endedFirst: 'client' | 'upstream' | undefined

  readonly #client: Socket
  readonly #upstream: Socket
  readonly #clock: Clock
  readonly #up: Flow
  readonly #down: Flow
  #outcome: PipeOutcome = 'closed'
  /** When something moved; without a time-out to watch, only when it ended in ReadyForQuery. */
  #lastAt: number
  /** The last six bytes to the client; 0 once the client has answered. */
  #tail: number
  #lingerMs = LINGER_MS
  #isWatched = false
  #cancelTimer: () => void = () => {}

  constructor(client: Socket, upstream: Socket, options: PipeOptions) {
    this.#client = client
    this.#upstream = upstream
    this.#clock = options.clock
    this.#lastAt = options.clock.now()
    this.#tail = tailAfter(0, options.greeting, options.greeting.length)
    const { buffers } = options
    this.#up = new Flow({ from: client, to: upstream, buffers, seen: () => this.#sawUp() })
    this.#down = new Flow({
      from: upstream,
      to: client,
      buffers,
      seen: (buffer, byteCount) => this.#sawDown(buffer, byteCount),
    })
    this.#start(options.idleTimeoutMs)
    this.done = onceClosed(client)
      .then(() => onceClosed(upstream))
      .then(() => {
        this.#cancelTimer()
        return this.#outcome
      })
  }

  /** Bytes from the client. */
  get bytesUp(): number {
    return this.#up.byteCount
  }

  /** Bytes from the upstream. */
  get bytesDown(): number {
    return this.#down.byteCount
  }

  /**
   * Does the session look idle: the last thing to the client was ReadyForQuery outside a
   * transaction, the client has sent nothing since, and both were silent for a second? A guess,
   * since data can look so: acted upon only by closing, which is never a wrong byte. Nobody is
   * silent who is still being written to.
   */
  get looksIdle(): boolean {
    // A clock that was set back would else make it look busy for as long.
    const silentMs = Math.abs(this.#clock.now() - this.#lastAt)
    return (
      this.#tail === READY_IDLE && silentMs >= SILENCE_MS && this.#up.isEmpty && this.#down.isEmpty
    )
  }

  /** On its way out, whoever wanted that. */
  get isEnding(): boolean {
    return this.#upstream.writableEnded || this.#client.writableEnded
  }

  /** Ends an idle session as its own client would: Terminate up, FIN down. Safe to call twice. */
  drain(): void {
    if (this.isEnding) return
    this.#outcome = 'drained'
    this.#lingerMs = SILENCE_MS
    // Whatever is still said has no place to go behind a Terminate or a FIN.
    this.#up.discard()
    this.#down.discard()
    this.#upstream.end(TERMINATE)
    this.#client.end()
    this.#boundSilence()
  }

  /** Ends the session now. */
  destroy(outcome: PipeOutcome): void {
    this.#outcome = outcome
    this.#client.destroy()
    this.#upstream.destroy()
  }

  #start(idleTimeoutMs: number): void {
    const client = this.#client
    const upstream = this.#upstream
    client.on('error', () => this.#broke('client reset', client, upstream))
    upstream.on('error', () => this.#broke('upstream reset', upstream, client))
    this.#join(client, this.#up)
    this.#join(upstream, this.#down)
    if (idleTimeoutMs > 0) {
      this.#lingerMs = Math.min(LINGER_MS, idleTimeoutMs)
      this.#watchIdle(idleTimeoutMs)
    }
  }

  #join(from: Socket, flow: Flow): void {
    flow.start()
    from.on('end', () => {
      this.endedFirst ??= from === this.#client ? 'client' : 'upstream'
      flow.end()
      this.#boundSilence()
    })
    const other = from === this.#client ? this.#upstream : this.#client
    from.on('close', () => {
      flow.end()
      if (!other.destroyed) this.#boundSilence()
    })
    if (from.closed) flow.end()
  }

  #sawUp(): void {
    this.#tail = 0
    // What is sent to nobody moves nowhere: who does not stop would else be listened to for ever.
    if (this.#isWatched && !this.#upstream.destroyed) this.#lastAt = this.#clock.now()
  }

  #sawDown(buffer: Buffer, byteCount: number): void {
    this.#tail = tailAfter(this.#tail, buffer, byteCount)
    if (this.#isWatched || this.#tail === READY_IDLE) this.#lastAt = this.#clock.now()
  }

  /** What came from the broken side is flushed; a broken client leaves nothing to deliver to. */
  #broke(outcome: PipeOutcome, broken: Socket, other: Socket): void {
    if (this.#outcome === 'closed') this.#outcome = outcome
    this.endedFirst ??= broken === this.#client ? 'client' : 'upstream'
    // Held back for a slow reader: it is still his. Reading after an error gives no 'data'.
    if (outcome === 'upstream reset') this.#down.takeRest()
    broken.destroy() // an error of TLS does not do it
    if (outcome === 'client reset') other.destroy()
    else this.#down.end()
  }

  /** Destroys both once nothing has moved for a while. */
  #boundSilence(): void {
    this.#lastAt = this.#clock.now()
    this.#afterSilence(this.#lingerMs, () => {
      this.#client.destroy()
      this.#upstream.destroy()
    })
  }

  #watchIdle(idleTimeoutMs: number): void {
    this.#afterSilence(idleTimeoutMs, () => this.destroy('idle timeout'))
  }

  /** One timer, set again when it finds that something has moved since: none per chunk. */
  #afterSilence(silenceMs: number, act: () => void): void {
    this.#cancelTimer()
    this.#isWatched = true
    const check = (): void => {
      // Set back: counted anew, rather than waiting for the clock to come round.
      if (this.#lastAt > this.#clock.now()) this.#lastAt = this.#clock.now()
      const leftMs = this.#lastAt + silenceMs - this.#clock.now()
      if (leftMs <= 0) act()
      else this.#cancelTimer = this.#clock.after(leftMs, check)
    }
    this.#cancelTimer = this.#clock.after(silenceMs, check)
  }
}

/** The last six bytes as a number, which costs less to keep than a slice that holds on to its chunk. */
function tailAfter(tail: number, buffer: Buffer, length: number): number {
  if (length >= READY_BYTES) return buffer.readUIntBE(length - READY_BYTES, READY_BYTES)
  if (length === 0) return tail
  const shift = 256 ** length
  return (tail % (2 ** 48 / shift)) * shift + buffer.readUIntBE(0, length)
}

export function onceClosed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve()
    else socket.once('close', () => resolve())
  })
}
