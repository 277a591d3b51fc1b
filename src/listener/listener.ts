/**
 * Takes clients in for one target: gives each a session, counts them against the limits, and lets
 * them go when the proxy stops. Accepting goes on whatever becomes of a single client.
 */

import type { Socket } from 'node:net'

import { ProxyError } from '../errors.js'
import { Session, type SessionDeps, type SessionView } from '../session/session.js'
import { type Listening, listen } from './listen.js'

export interface ListenerOptions {
  addresses: readonly string[]
  port: number
  unixSocket: string | undefined
  /** 0: no limit. Cancels and clients in their handshake do not count. */
  maxConnections: number
  session: Omit<SessionDeps, 'admit'>
}

// Clients that have not yet said who they are: a flood of them must not use up memory and files.
const MAX_HANDSHAKES = 2_000

export class Listener {
  readonly #options: ListenerOptions
  readonly #sessions = new Set<Session>()
  #listening: Listening | undefined
  #admitted = 0
  #stopping = false

  constructor(options: ListenerOptions) {
    this.#options = options
  }

  /** Errors: kind `config`, when the address cannot be listened on. */
  async start(): Promise<void> {
    const { addresses, port, unixSocket } = this.#options
    const onConnection = (socket: Socket): void => this.#accept(socket)
    this.#listening = await listen({ addresses, port, unixSocket, onConnection })
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
    return this.#admitted
  }

  get isFull(): boolean {
    const { maxConnections } = this.#options
    return maxConnections > 0 && this.#admitted >= maxConnections
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
   * Lets sessions go: those that look idle are closed, now or when they become so, the others get
   * until `deadline` aborts. Resolves when none is left; true when none had to be cut short.
   */
  async drain(deadline: AbortSignal, checkAgain: (fn: () => void) => () => void): Promise<boolean> {
    this.refuse()
    const closeIdle = (): void => {
      for (const session of this.#sessions) if (session.looksIdle) session.drain()
      cancelCheck = checkAgain(closeIdle)
    }
    let cancelCheck = (): void => {}
    closeIdle()
    let inTime = true
    const cutShort = (): void => {
      inTime = !this.#hasAdmitted()
      this.#endSessions()
    }
    if (deadline.aborted) cutShort()
    else deadline.addEventListener('abort', cutShort)
    try {
      while (this.#hasAdmitted()) {
        await Promise.race([...this.#sessions].map((session) => session.done))
      }
    } finally {
      cancelCheck()
      deadline.removeEventListener('abort', cutShort)
    }
    return inTime
  }

  /** Takes no more clients in, and frees the port at once; sessions go on. Safe to call twice. */
  stopListening(): void {
    for (const server of this.#listening?.servers ?? []) server.close()
  }

  /** Resolves when no client is left. */
  async lastGone(): Promise<void> {
    while (this.#sessions.size > 0) {
      await Promise.race([...this.#sessions].map((session) => session.done))
    }
  }

  /** Ends every session and stops listening. Safe to call twice. */
  async close(): Promise<void> {
    this.refuse()
    this.stopListening()
    this.#endSessions()
    await this.lastGone()
  }

  #accept(socket: Socket): void {
    if (this.#sessions.size - this.#admitted >= MAX_HANDSHAKES) {
      socket.on('error', () => {})
      socket.destroy()
      return
    }
    const deps: SessionDeps = { ...this.#options.session, admit: () => this.#admit() }
    const session = new Session(socket, deps)
    this.#sessions.add(session)
    void session.done.finally(() => this.#sessions.delete(session))
  }

  #admit(): () => void {
    if (this.#stopping) throw stopping()
    if (this.isFull) {
      const { maxConnections } = this.#options
      throw new ProxyError('limit', 'sorry, too many clients already', {
        detail: `max-connections of this lakebase-proxy is ${maxConnections}.`,
        hint: 'Close connections that are not used, or raise --max-connections.',
      })
    }
    this.#admitted++
    let given = true
    return () => {
      if (given) this.#admitted--
      given = false
    }
  }

  #hasAdmitted(): boolean {
    return this.#admitted > 0
  }

  #endSessions(): void {
    for (const session of this.#sessions) session.end(stopping())
  }
}

function stopping(): ProxyError {
  return new ProxyError('stopping', 'the proxy is shutting down', {
    hint: 'Connect again once lakebase-proxy has been started again.',
  })
}
