/**
 * The log's side of a session: each failure once, where it was handled, and one line at its end.
 * Probes that send nothing are for debugging only.
 */

import { errorKind, ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import type { SessionObserver, SessionOutcome, SessionView } from '../session/session-view.js'

export class SessionLog implements SessionObserver {
  readonly #log: Log

  readonly #endLevel: 'info' | 'debug'

  /** `quiet`: no line for each session. */
  constructor(log: Log, { quiet }: { quiet: boolean }) {
    this.#log = log
    this.#endLevel = quiet ? 'debug' : 'info'
  }

  opened(): void {}

  connected(session: SessionView): void {
    const { id, target, client, user, database, applicationName } = session
    const facts = { session: id, target, client, user, database, applicationName }
    this.#log.debug(facts, 'session connected')
  }

  failed(session: SessionView, error: unknown): void {
    const kind = errorKind(error)
    const facts = { session: session.id, target: session.target, phase: session.phase, kind }
    if (error instanceof ProxyError) {
      const { sqlState, hint, detail } = error
      const cause = error.cause instanceof Error ? error.cause.message : undefined
      this.#log.warn({ ...facts, sqlState, detail, hint, cause }, error.message)
    } else {
      this.#log.error({ ...facts, err: error }, 'internal proxy error')
    }
  }

  cancelled(session: SessionView, error: unknown): void {
    const facts = { session: session.id, target: session.target }
    if (error === undefined) this.#log.debug(facts, 'cancel request delivered')
    else this.#log.warn({ ...facts, reason: String(error) }, 'cancel request not delivered')
  }

  closed(session: SessionView, outcome: SessionOutcome, reason: string | undefined): void {
    const { id, target, client, user, database, applicationName, bytesUp, bytesDown } = session
    const facts = {
      session: id,
      target,
      client,
      user,
      database,
      applicationName,
      phasesMs: Object.fromEntries(session.phaseMs),
      bytesUp,
      bytesDown,
      outcome,
      reason,
    }
    const isQuiet = outcome === 'probe' || outcome === 'cancel request'
    this.#log[isQuiet ? 'debug' : this.#endLevel](facts, 'session ended')
  }
}
