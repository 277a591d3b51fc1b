/**
 * The sessions that one target serves, wherever they came in: counted against its limit, and let go
 * when the proxy stops.
 */

import { ProxyError } from '../core/errors.js'
import type { Admission, AdmittedSession } from '../session/route.js'

export interface TargetSessionsOptions {
  /** 0: no limit. Cancels and clients in their handshake do not count. */
  maxConnections: number
  /** The limit for each person; 0: no limit. */
  maxConnectionsPerUser: number
  /** Called when the last session has left. */
  lastLeft?: (() => void) | undefined
}

// A client that asks again within this time has steady traffic, and keeps its session during the grace.
const QUIET_MS = 250

/** Letting thousands go takes a while, and the sessions of other targets must not wait for it. */
const AT_ONCE = 50

export interface DrainOptions {
  /** How long busy sessions are left alone. */
  readonly graceMs: number
  /** Calls `fn` once after `delayMs`; the returned function cancels that. */
  readonly after: (delayMs: number, fn: () => void) => () => void
}

export class TargetSessions implements Admission {
  readonly #options: TargetSessionsOptions
  readonly #admitted = new Set<AdmittedSession>()
  /** The person of each session, where the sessions of a person are limited. */
  readonly #personOf = new Map<AdmittedSession, string>()
  #stopping = false

  constructor(options: TargetSessionsOptions) {
    this.#options = options
  }

  /** Sessions past their handshake: what `max-connections` counts. */
  get admitted(): number {
    return this.#admitted.size
  }

  get isFull(): boolean {
    const { maxConnections } = this.#options
    return maxConnections > 0 && this.#admitted.size >= maxConnections
  }

  check(): void {
    if (this.#stopping) throw shuttingDown()
    if (!this.isFull) return
    const { maxConnections } = this.#options
    throw new ProxyError('limit', 'sorry, too many clients already', {
      detail: `max-connections of this lakebase-proxy is ${maxConnections}.`,
      hint: 'Close connections that are not used, or raise --max-connections.',
    })
  }

  enter(session: AdmittedSession): void {
    this.check()
    this.#admitted.add(session)
  }

  enterAs(session: AdmittedSession, person: string): void {
    const { maxConnectionsPerUser: most } = this.#options
    if (most === 0) return
    let open = 0
    for (const other of this.#personOf.values()) if (other === person) open++
    if (open >= most) {
      throw new ProxyError('limit', 'too many connections of this user', {
        detail: `max-connections-per-user of this lakebase-proxy is ${most}.`,
        hint: 'Close connections that are not used, or ask for a higher --max-connections-per-user.',
      })
    }
    this.#personOf.set(session, person)
  }

  leave(session: AdmittedSession): void {
    this.#personOf.delete(session)
    if (this.#admitted.delete(session) && this.#admitted.size === 0) this.#options.lastLeft?.()
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
    const endIdle = (sessions = [...this.#admitted]): void => {
      for (const session of sessions.splice(0, AT_ONCE)) {
        if (graceLeftMs > 0) session.endIfIdle(QUIET_MS)
        else session.endWhenIdle()
      }
      if (sessions.length > 0) {
        setImmediate(endIdle, sessions)
        return
      }
      if (graceLeftMs <= 0 || this.#admitted.size === 0) return
      const waitMs = Math.min(graceLeftMs, QUIET_MS)
      graceLeftMs -= waitMs
      // What clients have sent meanwhile is read first.
      cancelCheck = after(waitMs, () => setImmediate(endIdle))
    }
    let inTime = true
    const cutShort = (): void => {
      inTime = [...this.#admitted].every((session) => session.isEnding)
      this.#endAll()
    }
    endIdle()
    if (deadline.aborted) cutShort()
    else deadline.addEventListener('abort', cutShort)
    try {
      await this.lastGone()
    } finally {
      cancelCheck()
      deadline.removeEventListener('abort', cutShort)
    }
    return inTime
  }

  /** Resolves when no session is left. */
  lastGone(): Promise<void> {
    return allDone(this.#admitted)
  }

  /** Ends every session. Safe to call twice. */
  async close(): Promise<void> {
    this.refuse()
    this.#endAll()
    await this.lastGone()
  }

  #endAll(): void {
    for (const session of this.#admitted) session.end(shuttingDown())
  }
}

/** Also waits for sessions that begin meanwhile. */
export async function allDone(
  sessions: ReadonlySet<AdmittedSession> | ReadonlyMap<AdmittedSession, unknown>,
): Promise<void> {
  while (sessions.size > 0) await Promise.all([...sessions.keys()].map((session) => session.done))
}

export function shuttingDown(): ProxyError {
  return new ProxyError('stopping', 'the proxy is shutting down', {
    hint: 'Connect again once lakebase-proxy has been started again.',
  })
}
