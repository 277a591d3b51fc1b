/**
 * Takes clients in for one target: gives each a session, counts them against the limits, and lets
 * them go when the proxy stops. Accepting goes on whatever becomes of a single client.
 */

import type { Socket } from 'node:net'

import { ProxyError } from '../core/errors.js'
import { Session, type SessionDeps } from '../session/session.js'
import type { SessionView } from '../session/session-view.js'
import { type Door, type DoorOwner, type Listening, listen } from './listen.js'

export interface ListenerOptions {
  addresses: readonly string[]
  port: number
  unixSocket: string | undefined
  /** 0: no limit. Cancels and clients in their handshake do not count. */
  maxConnections: number
  session: Omit<SessionDeps, 'admission'>
}

// Clients that have not yet said who they are: a flood of them must not use up memory and files, nor
// keep others out, who need a few milliseconds; so the one that has been at it longest goes.
const MAX_HANDSHAKES = 2_000

// A client that asks again within this time has steady traffic, and keeps its session during the grace.
const QUIET_MS = 250

export interface DrainOptions {
  /** How long busy sessions are left alone. */
  readonly graceMs: number
  /** Calls `fn` once after so long; the returned function cancels it. */
  readonly after: (delayMs: number, fn: () => void) => () => void
}

export class Listener implements DoorOwner {
  readonly #options: ListenerOptions
  /** One for all of them. */
  readonly #sessionDeps: SessionDeps
  readonly #sessions = new Set<Session>()
  /** Of these, the ones in their handshake, and the ones past it. */
  readonly #handshaking = new Set<Session>()
  readonly #inside = new Set<Session>()
  #listening: Listening | undefined
  #stopping = false

  constructor(options: ListenerOptions) {
    this.#options = options
    const admission = {
      check: () => this.#checkOpen(),
      enter: (session: Session) => this.#letIn(session),
      leave: (session: Session) => void this.#inside.delete(session),
    }
    this.#sessionDeps = { ...options.session, admission }
  }

  /**
   * Opens what is not open already: of `leaving`, it may use the sockets that are what it wants, and
   * takes them over with `takeOver()`, so that no client meets a closed port. Errors: kind `config`,
   * when an address cannot be listened on; then `leaving` are to `reopen()`.
   */
  async start(leaving: readonly Listener[] = []): Promise<void> {
    const { addresses, unixSocket } = this.#options
    const reuse = leaving.flatMap((listener) => listener.#doors)
    const port = this.#options.port || this.#portOfOldSelf(leaving)
    this.#listening = await listen({ addresses, port, unixSocket, owner: this, reuse })
  }

  /** From now on the clients of all its sockets are its own. */
  takeOver(): void {
    for (const door of this.#doors) door.owner = this
  }

  /** After it has made way for one that did not come. */
  async reopen(): Promise<void> {
    for (const door of this.#doors) if (!door.isOpen && !this.#stopping) await door.listen()
  }

  /** Picked once, a free port stays that of its target. */
  #portOfOldSelf(leaving: readonly Listener[]): number {
    const { session, port } = this.#options
    const old = leaving.find((listener) => {
      const { session: oldSession, port: oldPort } = listener.#options
      return oldSession.target === session.target && oldPort === port
    })
    return old?.port ?? 0
  }

  get #doors(): readonly Door[] {
    return this.#listening?.doors ?? []
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
    return this.#inside.size
  }

  get isFull(): boolean {
    const { maxConnections } = this.#options
    return maxConnections > 0 && this.#inside.size >= maxConnections
  }

  /** Every client connection, in whatever phase. */
  get sessions(): Iterable<SessionView> {
    return this.#sessions
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
      for (const session of this.#inside) {
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
      inTime = [...this.#inside].every((session) => session.isEnding)
      this.#endSessions()
    }
    endIdle()
    if (deadline.aborted) cutShort()
    else deadline.addEventListener('abort', cutShort)
    try {
      await allDone(this.#inside)
    } finally {
      cancelCheck()
      deadline.removeEventListener('abort', cutShort)
    }
    return inTime
  }

  /**
   * Takes no more clients in, and frees the port at once, where no other has taken it over; sessions
   * go on. Safe to call twice.
   */
  stopListening(): void {
    for (const door of this.#doors) if (door.owner === this) door.close()
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
    if (this.#handshaking.size >= MAX_HANDSHAKES) this.#turnAwayLongest()
    const session = new Session(socket, this.#sessionDeps)
    this.#sessions.add(session)
    this.#handshaking.add(session)
    void session.done.then(() => {
      this.#sessions.delete(session)
      this.#handshaking.delete(session)
    })
  }

  #turnAwayLongest(): void {
    for (const session of this.#handshaking) {
      if (session.phase === 'cancel') continue // bounded on its own
      this.#handshaking.delete(session)
      session.end(new ProxyError('limit', 'too many clients in their handshake'))
      return
    }
  }

  #checkOpen(): void {
    if (this.#stopping) throw stopping()
    if (!this.isFull) return
    const { maxConnections } = this.#options
    throw new ProxyError('limit', 'sorry, too many clients already', {
      detail: `max-connections of this lakebase-proxy is ${maxConnections}.`,
      hint: 'Close connections that are not used, or raise --max-connections.',
    })
  }

  #letIn(session: Session): void {
    this.#checkOpen()
    this.#handshaking.delete(session)
    this.#inside.add(session)
  }

  #endSessions(): void {
    for (const session of this.#sessions) session.end(stopping())
  }
}

/** Those that come while it waits, too. */
async function allDone(sessions: ReadonlySet<Session>): Promise<void> {
  while (sessions.size > 0) await Promise.all([...sessions].map((session) => session.done))
}

function stopping(): ProxyError {
  return new ProxyError('stopping', 'the proxy is shutting down', {
    hint: 'Connect again once lakebase-proxy has been started again.',
  })
}
