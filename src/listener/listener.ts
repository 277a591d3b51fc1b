/**
 * Accepts the clients of one port: gives each a session, bounds how many are in their handshake, and
 * ends them when the proxy stops. A failing client never stops the accepting.
 */

import type { Socket } from 'node:net'

import { ProxyError } from '../core/errors.js'
import { Session, type SessionDeps } from '../session/session.js'
import type { SessionView } from '../session/session-view.js'
import { type ConnectionHandler, type Listening, type ListeningSocket, listen } from './listen.js'
import { allDone, shuttingDown } from './target-sessions.js'

export interface ListenerOptions {
  addresses: readonly string[]
  port: number
  unixSocket: string | undefined
  /** A free port that was picked stays with it when a reload puts another listener in its place. */
  portOf: string
  session: Omit<SessionDeps, 'port'>
}

// Clients that are not admitted: in their handshake, or refused and not yet gone. A flood of them must
// not use up memory and file descriptors, nor keep out others, which need a few milliseconds: the oldest goes.
const MAX_NOT_ADMITTED = 2_000

export class Listener implements ConnectionHandler {
  readonly #options: ListenerOptions
  /** The parts that all sessions share. */
  readonly #sessionDeps: SessionDeps
  readonly #sessions = new Map<Session, Socket>()
  /** Sessions that have no place at a target, yet or at all. */
  readonly #notAdmitted = new Set<Session>()
  #listening: Listening | undefined
  #closed = false

  constructor(options: ListenerOptions) {
    this.#options = options
    const port = {
      admitted: (session: Session) => void this.#notAdmitted.delete(session),
      // A refused client may still be reading its error.
      left: (session: Session) => {
        if (this.#sessions.has(session)) this.#notAdmitted.add(session)
      },
    }
    this.#sessionDeps = { ...options.session, port }
  }

  /**
   * Opens its listening sockets. Sockets of `leaving` that fit are used again; `takeOver()` then makes
   * them its own, so that no client finds a closed port. Errors: kind `config`, when an address cannot
   * be listened on; then call `reopen()` of each of `leaving`.
   */
  async start(leaving: readonly Listener[] = []): Promise<void> {
    const { addresses, unixSocket } = this.#options
    const reuse = leaving.flatMap((listener) => listener.#sockets)
    const port = this.#options.port || this.#portOfPredecessor(leaving)
    this.#listening = await listen({ addresses, port, unixSocket, owner: this, reuse })
  }

  /** Takes over the clients of all its sockets. */
  takeOver(): void {
    for (const socket of this.#sockets) socket.owner = this
  }

  /** Listens again, after the listener that it made way for failed to start. */
  async reopen(): Promise<void> {
    for (const socket of this.#sockets) if (!socket.isOpen && !this.#closed) await socket.listen()
  }

  /**
   * The port of the listener that this one replaces. Where a reload turned `route` on or off, that is
   * the first target's.
   */
  #portOfPredecessor(leaving: readonly Listener[]): number {
    const { portOf, session } = this.#options
    const free = leaving.filter((each) => each.#options.port === 0 && each.port !== 0)
    const old =
      free.find((each) => each.#options.portOf === portOf) ??
      free.find((each) => each.#options.session.target === session.target)
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

  /** Every client connection, in any phase. */
  get sessions(): Iterable<SessionView> {
    return this.#sessions.keys()
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
    this.#closed = true
    this.stopListening()
    for (const session of this.#sessions.keys()) session.end(shuttingDown())
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

  /** Ends the oldest client at once and sends nothing: one that reads slowly would stay beyond the limit. */
  #turnAwayOldest(): void {
    for (const session of this.#notAdmitted) {
      if (session.phase === 'cancel') continue // these have their own limit
      this.#notAdmitted.delete(session)
      session.end(new ProxyError('limit', 'too many clients in their handshake'))
      this.#sessions.get(session)?.destroy()
      return
    }
  }
}
