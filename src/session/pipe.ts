/**
 * Moves bytes both ways between a client and its upstream until the end, and changes none of them.
 * A half-close is passed on, and the other way goes on until it, too, ends or falls silent; a slow
 * reader slows its writer; when one side breaks, what had come from it is still delivered. A session
 * that is asked to end is told so once everything its client has sent is answered.
 */

import type { Socket } from 'node:net'

import type { Clock } from '../core/clock.js'
import { errorResponse } from '../wire/backend.js'
import { TERMINATE } from '../wire/frontend.js'
import { Conversation } from './conversation.js'
import { Flow } from './flow.js'
import type { ReadBuffers } from './read-buffers.js'

export type PipeOutcome =
  | 'closed'
  | 'client reset'
  | 'upstream reset'
  /**
   * The server has said so: its compute was suspended or restarted, or an administrator ended the
   * session.
   */
  | 'upstream shutdown'
  | 'idle timeout'
  | 'drained'
  | 'ended by shutdown'

export interface PipeOptions {
  clock: Clock
  /** 0: never. */
  idleTimeoutMs: number
  /** What the server has sent so far, from AuthenticationOk to ReadyForQuery and the bytes after it. */
  greeting: Buffer
  /** Undefined: each read has a buffer of its own. */
  buffers?: ReadBuffers | undefined
}

// Silence after a half-close, or before a broken connection's last bytes are given up, in ms.
const LINGER_MS = 30_000
// For a client that was told of the end to close its own side, in ms.
const FAREWELL_MS = 1_000
const ADMIN_SHUTDOWN = '57P01'
const FAREWELL = errorResponse({
  sqlState: ADMIN_SHUTDOWN,
  message: 'terminating connection due to administrator command',
  detail:
    'lakebase-proxy is shutting down. Nothing sent after the last answer has reached the server.',
  hint: 'Connect again.',
})

export class Pipe {
  /** Resolves when both sockets are closed; never rejects. */
  readonly done: Promise<PipeOutcome>

  /** Which side ended first; undefined while both are open. */
  endedFirst: 'client' | 'upstream' | undefined

  readonly #client: Socket
  readonly #upstream: Socket
  readonly #clock: Clock
  readonly #up: Flow
  readonly #down: Flow
  #outcome: PipeOutcome = 'closed'
  readonly #conversation: Conversation
  /** When something moved, while a time-out is watched. */
  #lastAt: number
  /** When the last answer came. */
  #idleSince: number
  #endsWhenIdle = false
  #lingerMs = LINGER_MS
  #isWatched = false
  #cancelTimer: () => void = () => {}

  constructor(client: Socket, upstream: Socket, options: PipeOptions) {
    this.#client = client
    this.#upstream = upstream
    this.#clock = options.clock
    this.#lastAt = options.clock.monotonic()
    this.#idleSince = this.#lastAt
    this.#conversation = new Conversation(options.greeting)
    const { buffers } = options
    this.#up = new Flow({
      from: client,
      to: upstream,
      buffers,
      seen: (buffer, byteCount) => this.#sawUp(buffer, byteCount),
    })
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
        return this.#wasShutDown ? 'upstream shutdown' : this.#outcome
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

  /** Whether it has begun to end, for any reason. */
  get isEnding(): boolean {
    return this.#upstream.writableEnded || this.#client.writableEnded
  }

  /**
   * Ends the session if everything the client has sent is answered, outside a transaction, and has
   * been for `quietMs`: the client is told 57P01, the server Terminate. What the client sends from
   * now on goes nowhere.
   */
  endIfIdle(quietMs: number): void {
    if (this.isEnding || !this.#conversation.isIdle) return
    if (this.#clock.monotonic() - this.#idleSince < quietMs) return
    this.#outcome = 'drained'
    this.#sayFarewell()
    this.#boundSilence()
    this.#client.once('finish', () => {
      this.#lingerMs = FAREWELL_MS
      this.#boundSilence()
    })
  }

  /** Ends it so as soon as it can be. Safe to call twice. */
  endWhenIdle(): void {
    this.#endsWhenIdle = true
    this.endIfIdle(0)
  }

  /** Ends the session now; a client that waits for no answer is told. Safe to call twice. */
  endNow(): void {
    if (this.isEnding || !this.#conversation.isAnswered || !this.#down.isEmpty) {
      this.#destroy('ended by shutdown')
      return
    }
    this.#outcome = 'ended by shutdown'
    this.#sayFarewell()
    this.#client.destroySoon()
    this.#upstream.destroySoon()
  }

  #destroy(outcome: PipeOutcome): void {
    if (this.#outcome === 'closed') this.#outcome = outcome
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
      if (from === this.#upstream || !this.#conversation.isAnswerDue) flow.end()
      this.#boundSilence()
    })
    const other = from === this.#client ? this.#upstream : this.#client
    from.on('close', () => {
      flow.end()
      if (!other.destroyed) this.#boundSilence()
    })
    if (from.closed) flow.end()
  }

  #sawUp(buffer: Buffer, byteCount: number): void {
    this.#conversation.sawClient(buffer, byteCount)
    // Bytes for a server that is gone move nowhere: a client that keeps sending them would never time out.
    if (this.#isWatched && !this.#upstream.destroyed) this.#lastAt = this.#clock.monotonic()
  }

  #sawDown(buffer: Buffer, byteCount: number): void {
    this.#conversation.sawServer(buffer, byteCount)
    if (this.#isWatched) this.#lastAt = this.#clock.monotonic()
    if (this.#conversation.isIdle) {
      this.#idleSince = this.#clock.monotonic()
      if (this.#endsWhenIdle) setImmediate(this.#endIfIdle)
    }
    // A front door that closes both ways at a FIN would cut the answer off.
    if (this.#client.readableEnded && !this.#conversation.isAnswerDue) this.#up.end()
  }

  /** The answer that was seen is with the client by then. */
  readonly #endIfIdle = (): void => this.endIfIdle(0)

  #sayFarewell(): void {
    this.#up.discard()
    this.#down.discard()
    this.#up.flush()
    this.#down.flush()
    this.#upstream.end(TERMINATE)
    this.#client.end(FAREWELL)
  }

  /** Writes the last bytes of the side that broke. When the client broke, nothing can be delivered to it. */
  #broke(outcome: PipeOutcome, broken: Socket, other: Socket): void {
    if (this.#outcome === 'closed') this.#outcome = outcome
    this.endedFirst ??= broken === this.#client ? 'client' : 'upstream'
    // Held back for a slow reader: it is still his. Reading after an error gives no 'data'.
    if (outcome === 'upstream reset') this.#down.takeRest()
    broken.destroy() // an error of TLS does not do it
    if (outcome === 'client reset') other.destroy()
    else this.#down.end()
  }

  /** The server's last words were admin_shutdown; how the connection broke then tells nothing more. */
  get #wasShutDown(): boolean {
    const isServersEnd = this.#outcome === 'closed' || this.#outcome === 'upstream reset'
    return isServersEnd && this.#conversation.fatalSqlState === ADMIN_SHUTDOWN
  }

  /** Destroys both once nothing has moved for a while. */
  #boundSilence(): void {
    this.#lastAt = this.#clock.monotonic()
    this.#afterSilence(this.#lingerMs, () => {
      this.#client.destroy()
      this.#upstream.destroy()
    })
  }

  #watchIdle(idleTimeoutMs: number): void {
    this.#afterSilence(idleTimeoutMs, () => this.#destroy('idle timeout'))
  }

  /** One timer, set again when it finds that something has moved since: none per chunk. */
  #afterSilence(silenceMs: number, act: () => void): void {
    this.#cancelTimer()
    this.#isWatched = true
    const check = (): void => {
      const leftMs = this.#lastAt + silenceMs - this.#clock.monotonic()
      if (leftMs <= 0) act()
      else this.#cancelTimer = this.#clock.after(leftMs, check)
    }
    this.#cancelTimer = this.#clock.after(silenceMs, check)
  }
}

export function onceClosed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve()
    else socket.once('close', () => resolve())
  })
}

/** For the log; undefined where there is nothing to say. */
export function endReason(
  outcome: PipeOutcome,
  endedFirst: Pipe['endedFirst'],
): string | undefined {
  if (outcome === 'upstream shutdown') return 'the compute was suspended or restarted'
  const isServersEnd = outcome === 'closed' && endedFirst === 'upstream'
  return isServersEnd ? 'server closed the connection' : undefined
}
