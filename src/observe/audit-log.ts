/**
 * Who was let in as whom at a gateway (`local-auth=databricks`): a line at each login and each logout,
 * at info, also with `quiet`.
 */

import type { Log } from '../core/log.js'
import type { SessionObserver, SessionView } from '../session/session-view.js'

export class AuditLog implements Partial<SessionObserver> {
  readonly #log: Log

  constructor(log: Log) {
    this.#log = log
  }

  connected(session: SessionView): void {
    this.#write('login', session)
  }

  closed(session: SessionView): void {
    // Without a role it was never logged in: its failure has a line of its own.
    if (session.role !== undefined) this.#write('logout', session)
  }

  #write(event: 'login' | 'logout', session: SessionView): void {
    const { id, client, user, role, method, target, backendPid } = session
    if (method === undefined) return
    const facts = { event, session: id, client, user, role, method, target }
    this.#log.info({ ...facts, backend_pid: backendPid }, `audit: ${event}`)
  }
}
