/**
 * The log's side of a session: one line when it is logged in, one at its end, and one for its
 * failure, which takes the place of the end's. Probes that send nothing are for debugging only.
 */

import { errorKind, ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import type { SessionObserver, SessionOutcome, SessionView } from '../session/session-view.js'
import { SESSION_CONNECTED, SESSION_ENDED } from './session-line.js'

export class SessionLog implements Partial<SessionObserver> {
  readonly #log: Log
  readonly #level: 'info' | 'debug'

  /** `quiet`: no line for each session. */
  constructor(log: Log, { quiet }: { quiet: boolean }) {
    this.#log = log
    this.#level = quiet ? 'debug' : 'info'
  }

  connected(session: SessionView): void {
    this.#log[this.#level](factsOf(session), SESSION_CONNECTED)
  }

  failed(session: SessionView, error: unknown): void {
    const kind = errorKind(error)
    const facts = { ...factsOf(session), phase: session.phase, kind }
    if (error instanceof ProxyError) {
      const { sqlState, hint, detail } = error
      const text = error.cause instanceof Error ? error.cause.message : undefined
      const cause = text === error.message ? undefined : text
      this.#log.warn({ ...facts, sqlState, detail, hint, cause }, error.message)
    } else {
      this.#log.error({ ...facts, err: error }, 'internal proxy error')
    }
  }

  cancelled(session: SessionView, error: unknown): void {
    const facts = { session: session.id, target: session.target, client: session.client }
    if (error === undefined) this.#log.debug(facts, 'cancel request delivered')
    else this.#log.warn({ ...facts, reason: String(error) }, 'cancel request not delivered')
  }

  closed(session: SessionView, outcome: SessionOutcome, reason: string | undefined): void {
    const { bytesUp, bytesDown } = session
    const phasesMs: Record<string, number> = {}
    for (const [phase, ms] of session.phaseMs) phasesMs[phase] = Math.round(ms)
    const facts = { ...factsOf(session), phasesMs, bytesUp, bytesDown, outcome, reason }
    this.#log[isUnremarkable(outcome) ? 'debug' : this.#level](facts, SESSION_ENDED)
  }
}

/** So that a line can be joined with a load balancer's log and with pg_stat_activity. */
function factsOf(session: SessionView): object {
  return {
    session: session.id,
    target: session.target,
    client: session.client,
    user: session.user,
    role: session.role,
    database: session.database,
    application_name: session.applicationName,
    backend_pid: session.backendPid,
    upstream: session.upstream,
    upstream_local_port: session.upstreamLocalPort,
  }
}

/** A failure has a line of its own, and so has a cancel request. */
function isUnremarkable(outcome: SessionOutcome): boolean {
  return outcome === 'probe' || outcome === 'cancel request' || outcome === 'failed'
}
