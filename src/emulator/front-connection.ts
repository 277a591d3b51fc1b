/** What the parts of the front door share: one connection as far as it has come, and its surroundings. */

import type { SecureContext } from 'node:tls'

import type { Clock } from '../core/clock.js'
import type { Behaviour } from './behaviour.js'
import type { Computes } from './computes.js'
import type { Destination } from './destinations.js'
import type { FrontFaults } from './front-faults.js'
import type { TokenIssuer } from './tokens.js'

export interface FrontConnection {
  /** 1, 2, 3, … in the order of arrival. */
  readonly id: number
  /** The port it came from. */
  readonly remotePort: number | undefined
  phase: 'handshake' | 'login' | 'relay' | 'cancel'
  host: string | undefined
  /** As in the StartupMessage. */
  parameters: ReadonlyMap<string, string>
  /** Number of the database credential it logged in with. */
  tokenNumber: number | undefined
}

/** What one connection needs of the front door. */
export interface FrontContext {
  readonly destinations: ReadonlyMap<string, Destination>
  readonly nativeRoles: ReadonlySet<string>
  readonly computes: Pick<Computes, 'enter' | 'running' | 'session'>
  readonly tokens: Pick<TokenIssuer, 'judge'>
  readonly faults: FrontFaults
  readonly clock: Clock
  readonly handshakeTimeoutMs: number
  readonly behaviour: Behaviour
  readonly tls: TlsContexts
  onLogin(connection: FrontConnection): void
  onCancel(): void
}

/** For a new TLS handshake: the certificate for a name, and the one for none. */
export interface TlsContexts {
  readonly byDefault: SecureContext
  forName(name: string): Promise<SecureContext>
}
