/** What a session shows of itself, and what it tells its observers. */

import type { ProxyError } from '../core/errors.js'
import type { ConnectPhase } from '../upstream/attempt.js'
import type { LoginMethod } from './person.js'
import type { PipeOutcome } from './pipe.js'

export type SessionPhase = 'client-handshake' | 'client-auth' | ConnectPhase | 'pipe' | 'cancel'

export type SessionOutcome =
  | PipeOutcome
  | 'probe'
  | 'no startup packet'
  | 'cancel request'
  | 'failed'
  | 'client left'

/** What a session shows of itself; only the session changes it. */
export interface SessionView {
  readonly id: string
  readonly target: string
  /** Address and port of the client, or the Unix socket's path. */
  readonly client: string
  readonly openedAt: number
  readonly phase: SessionPhase
  /** How long each phase took that is over, in ms. */
  readonly phaseMs: ReadonlyMap<SessionPhase, number>
  /** The user and the application that the client named. */
  readonly user: string | undefined
  readonly applicationName: string | undefined
  /** The database of the login, once logged in; before that, the one that the client named. */
  readonly database: string | undefined
  /** The role of the login; undefined until then, as are the three below. */
  readonly role: string | undefined
  /**
   * The kind of secret that the client gave with `local-auth=databricks`; undefined until it was
   * looked at.
   */
  readonly method: LoginMethod | undefined
  /** The process id of BackendKeyData, as in pg_stat_activity; a pooler may make it up. */
  readonly backendPid: number | undefined
  /** `address:port` of the server. */
  readonly upstream: string | undefined
  readonly upstreamLocalPort: number | undefined
  readonly bytesUp: number
  readonly bytesDown: number
  /** Why its last attempt to connect failed, while it still tries and afterwards. */
  readonly lastError: ProxyError | undefined
}

/** What this stage tells the one to its right. Implemented by observe/. */
export interface SessionObserver {
  opened(session: SessionView): void
  /** Called when it is logged in: from now on its bytes are moved. */
  connected(session: SessionView): void
  /** Called once for a session that failed; `phase` is where it failed. */
  failed(session: SessionView, error: unknown): void
  cancelled(session: SessionView, error: unknown): void
  /** Called once for each session, however it ended. `reason` only says more. */
  closed(session: SessionView, outcome: SessionOutcome, reason: string | undefined): void
}
