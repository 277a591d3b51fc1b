/**
 * One try to open a logged-in upstream: dialled, verified, logged in, or refused. Nothing is retried
 * here.
 */

import type { Clock } from '../core/clock.js'
import type { LoginCredential } from '../credentials/credentials.js'
import type { Endpoint, Endpoints } from '../endpoints/endpoints.js'
import { fromWireText, type WireText } from '../wire/frontend.js'
import { dial, type Upstream } from './dial.js'
import { type LoginResult, login } from './login.js'
import type { UpstreamTls } from './tls-context.js'

export interface Connected {
  readonly upstream: Upstream
  readonly endpoint: Endpoint
  /** The server's own bytes, AuthenticationOk to ReadyForQuery. */
  readonly greeting: Buffer
  /** The key of BackendKeyData, as hex. */
  readonly key: string | undefined
  /** The database and the role that the server was asked for, as text. */
  readonly database: string
  readonly role: string
}

/** Whom to log in where, with all that the StartupMessage says. */
export interface OpenRequest {
  readonly endpoint: Endpoint
  readonly credential: LoginCredential
  readonly parameters: ReadonlyMap<string, WireText>
}

export interface OpenOptions extends OpenRequest {
  endpoints: Pick<Endpoints, 'dialled'>
  tls: UpstreamTls
  clock: Clock
  /** Called at the beginning of each phase. */
  enter?: (phase: 'dial' | 'tls' | 'login') => void
  /** How long the last address may take, to the end of its TLS handshake. */
  lastPatienceMs: number
}

export type OpenResult =
  | { readonly outcome: 'connected'; readonly connected: Connected }
  | Exclude<LoginResult, { outcome: 'ready' }>

/** Errors: those of dialling and of logging in. */
export async function openUpstream(options: OpenOptions, signal: AbortSignal): Promise<OpenResult> {
  const { endpoint, endpoints, tls, clock, lastPatienceMs, enter } = options
  enter?.('dial')
  const upstream = await dial(
    endpoint,
    {
      tls,
      clock,
      dialled: (address, succeeded) => endpoints.dialled(endpoint, address, succeeded),
      connected: () => enter?.('tls'),
      lastPatienceMs,
    },
    signal,
  )
  try {
    enter?.('login')
    const { parameters, credential } = options
    const result = await login(upstream.socket, parameters, credential, signal)
    if (result.outcome === 'ready') {
      const { greeting, key } = result
      const database = fromWireText(parameters.get('database') ?? '')
      const role = fromWireText(parameters.get('user') ?? '')
      const connected = { upstream, endpoint, greeting, key, database, role }
      return { outcome: 'connected', connected }
    }
    upstream.socket.destroy()
    return result
  } catch (error) {
    upstream.socket.destroy()
    throw error
  }
}
