/**
 * Accepts the clients of one target: gives each a session, counts it against the limits, and ends it
 * when the proxy stops. A failing client never stops the accepting.
 */

import type { Socket } from 'node:net'

import { ProxyError } from '../core/errors.js'
import { Session, type SessionDeps } from '../session/session.js'
import type { SessionView } from '../session/session-view.js'
import { type ConnectionHandler, type Listening, type ListeningSocket, listen } from './listen.js'

export interface ListenerOptions {
  addresses: readonly string[]
  port: number
  unixSocket: string | undefined
  /** 0: no limit. Cancels and clients in their handshake do not count. */
  maxConnections: number
  session: Omit<SessionDeps, 'admission'>
}

// Clients that are not admitted: in their handshake, or refused and not yet gone. A flood of them must
// not use up memory and file descriptors, nor keep out others, which need a few milliseconds: the oldest goes.
const MAX_NOT_ADMITTED = 2_000

// A client that asks again within this time has steady traffic, and keeps its session during the grace.
const QUIET_MS = 250

export interface DrainOptions {
  /** How long busy sessions are left alone. */
  readonly graceMs: number
  /** Calls `fn` once after so long; the returned function cancels it. */
  readonly after: (delayMs: number, fn: () => void) => () => void
}

export class Listener implements ConnectionHandler {
  readonly #options: ListenerOptions
  /** Shared by all sessions. */
  readonly #sessionDeps: SessionDeps
  readonly #sessions = new Map<Session, Socket>()
  /** Every session is in one of these two until it is done, or was turned away. */
  readonly #notAdmitted = new Set<Session>()
  readonly #admitted = new Set<Session>()
  #listening: Listening | undefined
  #stopping = false

  constructor(options: ListenerOptions) {
    this.#options = options
    const admission = {
      check: () => this.#checkRoom(),
      enter: (session: Session) => this.#admit(session),
      leave: (session: Session) => this.#dismiss(session),
    }
    this.#sessionDeps = { ...options.session, admission }
  }

  /**
   * Opens its listening sockets. Sockets of `leaving` that fit are used again; `takeOver()` then makes
   * them its own, so that no client meets a closed port. Errors: kind `config`, when an address cannot
   * be listened on; then call `reopen()` of each of `leaving`.
   */
  async start(leaving: readonly Listener[] = []): Promise<void> {
    const { addresses, unixSocket } = this.#options
    const reuse = leaving.flatMap((listener) => listener.#sockets)
    const port = this.#options.port || this.#portOfPredecessor(leaving)
    this.#listening = await listen({ addresses, port, unixSocket, owner: this, reuse })
  }

  /** From now on the clients of all its sockets are its own. */
  takeOver(): void {
    for (const socket of this.#sockets) socket.owner = this
  }

  /** For a listener that made way for one which then failed to start. */
  async reopen(): Promise<void> {
    for (const socket of this.#sockets) if (!socket.isOpen && !this.#stopping) await socket.listen()
  }

  /** A free port that was picked once stays the port of its target. */
  #portOfPredecessor(leaving: readonly Listener[]): number {
    const { session, port } = this.#options
    const old = leaving.find((listener) => {
      const { session: oldSession, port: oldPort } = listener.#options
      return oldSession.target === session.target && oldPort === port
    })
    return old?.port ?? 0
  }

  get #sockets(): readonly ListeningSocket[] {
    return this.#listening?.sockets ?? []
  }

  get port(): number {
    return this.#listening?.port ?? this.#options.port
  }

  /** As shown to people; empty until started. */
  get addresses(): readonly string[] {
    return this.#listening?.addresses ?? []
  }

  /** Sessions past their handshake: what `max-connections` counts. */
  get admitted(): number {
    return this.#admitted.size
  }

  get isFull(): boolean {
    const { maxConnections } = this.#options
    return maxConnections > 0 && this.#admitted.size >= maxConnections
  }

  /** Every client connection, in whatever phase. */
  get sessions(): Iterable<SessionView> {
    return this.#sessions.keys()
  }

  /** From now on new sessions get 57P03; cancels still pass. */
  refuse(): void {
    this.#stopping = true
  }

  /**
   * Lets sessions go: during the grace those that are idle and quiet, then each as soon as it is
   * idle. What still runs when `deadline` aborts is cut short. Resolves when no session is left; true
   * when none was cut.
   */
  async drain(deadline: AbortSignal, { graceMs, after }: DrainOptions): Promise<boolean> {
    this.refuse()
    let graceLeftMs = graceMs
    let cancelCheck = (): void => {}
    const endIdle = (): void => {
      for (const session of this.#admitted) {
        if (graceLeftMs > 0) session.endIfIdle(QUIET_MS)
        else session.endWhenIdle()
      }
      if (graceLeftMs <= 0) return
      const waitMs = Math.min(graceLeftMs, QUIET_MS)
      graceLeftMs -= waitMs
      cancelCheck = after(waitMs, endIdle)
    }
    let inTime = true
    const cutShort = (): void => {
      inTime = [...this.#admitted].every((session) => session.isEnding)
      this.#endSessions()
    }
    endIdle()
    if (deadline.aborted) cutShort()
    else deadline.addEventListener('abort', cutShort)
    try {
      await allDone(this.#admitted)
    } finally {
      cancelCheck()
      deadline.removeEventListener('abort', cutShort)
    }
    return inTime
  }

  /**
   * Accepts no more clients, and frees the port at once unless another listener has taken it over.
   * Sessions go on. Safe to call twice.
   */
  stopListening(): void {
    for (const socket of this.#sockets) if (socket.owner === this) socket.close()
  }

  /** Resolves when no client is left. */
  lastGone(): Promise<void> {
    return allDone(this.#sessions)
  }

  /** Ends every session and stops listening. Safe to call twice. */
  async close(): Promise<void> {
    this.refuse()
    this.stopListening()
    this.#endSessions()
    await this.lastGone()
  }

  accept(socket: Socket): void {
    if (this.#notAdmitted.size >= MAX_NOT_ADMITTED) this.#turnAwayOldest()
    const session = new Session(socket, this.#sessionDeps)
    this.#sessions.set(session, socket)
    this.#notAdmitted.add(session)
    void session.done.then(() => {
      this.#sessions.delete(session)
      this.#notAdmitted.delete(session)
    })
  }

  /** At once and without a word: a client that is slow to read would stay beyond the limit. */
  #turnAwayOldest(): void {
    for (const session of this.#notAdmitted) {
      if (session.phase === 'cancel') continue // these have their own limit
      this.#notAdmitted.delete(session)
      session.end(new ProxyError('limit', 'too many clients in their handshake'))
      this.#sessions.get(session)?.destroy()
      return
    }
  }

  #checkRoom(): void {
    if (this.#stopping) throw stopping()
    if (!this.isFull) return
    const { maxConnections } = this.#options
    throw new ProxyError('limit', 'sorry, too many clients already', {
      detail: `max-connections of this lakebase-proxy is ${maxConnections}.`,
      hint: 'Close connections that are not used, or raise --max-connections.',
    })
  }

  #admit(session: Session): void {
    this.#checkRoom()
    this.#notAdmitted.delete(session)
    this.#admitted.add(session)
  }

  /** A refused client may still be reading its error. */
  #dismiss(session: Session): void {
    if (this.#admitted.delete(session) && this.#sessions.has(session)) {
      this.#notAdmitted.add(session)
    }
  }

  #endSessions(): void {
    for (const session of this.#sessions.keys()) session.end(stopping())
  }
}

/** Also waits for sessions that begin meanwhile. */
async function allDone(
  sessions: ReadonlySet<Session> | ReadonlyMap<Session, unknown>,
): Promise<void> {
  while (sessions.size > 0) await Promise.all([...sessions.keys()].map((session) => session.done))
}

function stopping(): ProxyError {
  return new ProxyError('stopping', 'the proxy is shutting down', {
    hint: 'Connect again once lakebase-proxy has been started again.',
  })
}
