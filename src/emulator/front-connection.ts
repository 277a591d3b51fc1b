/** What the parts of the front door share: one connection as far as it has come, and its surroundings. */

import type { Socket } from 'node:net'
import type { SecureContext } from 'node:tls'

import type { Clock } from '../core/clock.js'
import type { Behaviour } from './behaviour.js'
import type { BranchClusters } from './branch-clusters.js'
import type { Computes } from './computes.js'
import type { Destination } from './destinations.js'
import type { TokenIssuer } from './tokens.js'

export interface FrontConnection {
  host: string | undefined
  /** As in the StartupMessage. */
  parameters: ReadonlyMap<string, string>
  /** Number of the database credential it logged in with. */
  tokenNumber: number | undefined
  /** Of the backend that serves it. */
  processId: number | undefined
}

/**
 * `accept`: nothing read yet. `ssl-request`: read, not answered. `tls`: answered S, no handshake
 * yet. `startup`: StartupMessage read. `password`: password read. `compute`: the compute is asked next
 * (an identity's token is good). `greeting`: AuthenticationOk sent to an identity, and nothing of what
 * follows; of a native role, the StartupMessage handed to PostgreSQL. `login`: PostgreSQL has named its
 * process. `cancel`: the CancelRequest was handed on.
 */
export type FrontPhase =
  | 'accept'
  | 'ssl-request'
  | 'tls'
  | 'startup'
  | 'password'
  | 'compute'
  | 'greeting'
  | 'login'
  | 'cancel'

/**
 * Told of each phase that a connection reaches, with the socket to speak on. An error ends the
 * connection; the client is told of a `Refused`.
 */
export type OnPhase = (
  phase: FrontPhase,
  connection: FrontConnection,
  socket: Socket,
) => void | Promise<void>

/** What one connection needs of the front door. */
export interface FrontContext {
  readonly destinations: ReadonlyMap<string, Destination>
  readonly nativeRoles: ReadonlySet<string>
  readonly clusters: Pick<BranchClusters, 'running'>
  readonly computes: Pick<Computes, 'enter'>
  readonly tokens: Pick<TokenIssuer, 'judge'>
  readonly clock: Clock
  readonly handshakeTimeoutMs: number
  readonly behaviour: Behaviour
  readonly tls: TlsContexts
  readonly onPhase: OnPhase
}

/** For a new TLS handshake: the certificate for a name, and the one for none. */
export interface TlsContexts {
  readonly byDefault: SecureContext
  forName(name: string): Promise<SecureContext>
}
