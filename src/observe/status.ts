/**
 * The state of the running proxy as people and scripts read it: what `GET /status` answers, the
 * status page shows, and the start-up banner prints. It holds no secret.
 */

import { roleOf } from '../config/resolve/login.js'
import type { TargetSettings } from '../config/resolve/settings.js'
import type { Freshness } from '../core/fresh-value.js'
import type { SessionView } from '../session/session-view.js'
import { type ConnectionLines, connectionLines, localAddress } from './connection-lines.js'
import type { Failure, FailureGroup, Journal } from './journal.js'
import type { ObservedProxy, ObservedTarget, ProxyPhase, WorkspacePlace } from './observed-proxy.js'
import { readiness } from './readiness.js'
import type { Tally, Totals } from './tally.js'
import { type TargetStanding, targetStanding } from './target-standing.js'

/** Times are epoch milliseconds. */
export interface ProxyStatus {
  readonly phase: ProxyPhase
  readonly ready: boolean
  /** Why it is not ready. */
  readonly reasons: readonly string[]
  readonly startedAt: number
  readonly now: number
  readonly targets: readonly TargetStatus[]
  readonly sessions: readonly SessionStatus[]
  /** How many more there are. */
  readonly sessionsOmitted: number
  /** The latest failures, equal ones counted together, the latest first. */
  readonly errors: readonly FailureGroup[]
}

export interface TargetStatus extends TargetStanding {
  readonly name: string
  readonly kind: 'provisioned' | 'autoscaling' | 'branches' | 'host' | 'static'
  readonly addresses: readonly string[]
  readonly port: number
  readonly connect: ConnectionLines
  /** The role that sessions log in as; undefined while it is not known. */
  readonly role: string | undefined
  /** URL and profile of the workspace; undefined while not known and for a static URL. */
  readonly workspace: WorkspacePlace | undefined
  /** Sessions log in as the user that the client names. */
  readonly roleOfClient: boolean
  /** The client must send the user name of `connect`; otherwise any will do. */
  readonly userMatters: boolean
  readonly database: string
  readonly readOnly: boolean
  readonly localAuth: TargetSettings['localAuth']
  /** The instance or endpoint that the next client goes to; undefined while not known. */
  readonly serves: string | undefined
  /** The workspace's own word for the state of the instance or endpoint. */
  readonly apiState: string | undefined
  readonly credential: CredentialStatus
  readonly sessionsOpen: number
  /** 0: none. */
  readonly sessionsLimit: number
  /** Spare connections: held now, and given to clients so far; undefined with `warm=0`. */
  readonly spares: { readonly held: number; readonly hits: number } | undefined
  readonly totals: Totals
}

export interface CredentialStatus {
  readonly method: 'token' | 'password'
  readonly state: Freshness
  readonly issuedAt: number | undefined
  readonly expiresAt: number | undefined
  /** The failure of the latest request for a token, if it failed. */
  readonly refreshFailure: Failure | undefined
}

type SessionFacts = 'id' | 'target' | 'client' | 'user' | 'role' | 'database' | 'applicationName'
type SessionNumbers = 'phase' | 'openedAt' | 'bytesUp' | 'bytesDown'

export interface SessionStatus extends Pick<SessionView, SessionFacts | SessionNumbers> {
  readonly lastError: string | undefined
}

export interface StatusSources {
  proxy: ObservedProxy
  tally: Tally
  journal: Journal
  startedAt: number
  now: number
}

// A person can still look through this many rows, and a page can be sent them every second.
const MAX_SESSIONS = 500

export function proxyStatus({ proxy, tally, journal, startedAt, now }: StatusSources): ProxyStatus {
  const sessions = tally.sessions
  return {
    phase: proxy.phase,
    ...readiness(proxy, journal),
    startedAt,
    now,
    targets: proxy.targets.map((target) => targetStatus(target, proxy, tally, journal)),
    sessions: sessions.slice(-MAX_SESSIONS).map(sessionStatus),
    sessionsOmitted: Math.max(0, sessions.length - MAX_SESSIONS),
    errors: journal.failures,
  }
}

function targetStatus(
  target: ObservedTarget,
  { phase, localCaFile: caFile }: ObservedProxy,
  tally: Tally,
  journal: Journal,
): TargetStatus {
  const { settings, identity, listener, credentials, spares, following } = target
  const database = following?.isKnown === false ? undefined : target.database
  const notes = journal.notes(settings.name)
  const address = localAddress(settings, { port: listener.port, identity, caFile })
  return {
    name: settings.name,
    kind: database?.kind ?? settings.target.kind,
    ...targetStanding(target, phase, notes),
    addresses: listener.addresses,
    port: listener.port,
    connect: connectionLines(address),
    role: roleOf(settings.login, identity),
    workspace: target.workspace,
    roleOfClient: settings.login.as === 'client',
    userMatters: address.userMatters,
    database: settings.database,
    readOnly: settings.readOnly || following?.isReadOnly === true,
    localAuth: settings.localAuth,
    serves: database?.name,
    apiState: database?.apiState,
    credential: {
      method: settings.target.kind === 'static' ? 'password' : 'token',
      state: credentials.state,
      issuedAt: notes.issuedAt,
      expiresAt: credentials.expiresAt ?? notes.expiresAt,
      refreshFailure: notes.refreshFailure,
    },
    sessionsOpen: target.sessions.admitted,
    sessionsLimit: settings.maxConnections,
    spares: spares && { held: spares.held, hits: spares.hits },
    totals: tally.totals(settings.name),
  }
}

function sessionStatus(session: SessionView): SessionStatus {
  const { id, target, client, user, role, database, applicationName } = session
  const { phase, openedAt, bytesUp, bytesDown, lastError } = session
  const facts = { id, target, client, user, role, database, applicationName }
  return { ...facts, phase, openedAt, bytesUp, bytesDown, lastError: lastError?.message }
}
