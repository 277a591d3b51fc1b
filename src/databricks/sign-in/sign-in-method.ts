/** What one way of signing in to the workspace offers, and what it may ask for. */

import type { Clock } from '../../core/clock.js'
import { ProxyError } from '../../core/errors.js'
import type { Log } from '../../core/log.js'
import { Secret } from '../../core/secret.js'
import type { Http } from '../http/http.js'
import type { Attribute, DatabricksConfig } from './databricks-config.js'
import { jwtExpiry } from './jwt.js'
import type { RunCommand } from './run-command.js'

export interface WorkspaceToken {
  readonly accessToken: Secret
  /** Epoch ms by this machine's clock; undefined: nothing is known of its end. */
  readonly expiresAt: number | undefined
  /** Sent along with it. */
  readonly headers?: Readonly<Record<string, Secret>>
}

export interface SignInDeps {
  readonly http: Http
  readonly clock: Clock
  readonly log: Log
  readonly env: Readonly<Record<string, string | undefined>>
  readonly homeDir: string
  readonly run: RunCommand
  /** How long a caller waits for a token: a program that is asked may take longer. */
  readonly patienceMs: number
}

/** The same while a token is fetched, which ends when `signal` aborts. */
export interface TokenCall extends SignInDeps {
  readonly signal: AbortSignal
}

export interface SignIn {
  fetchToken(call: TokenCall): Promise<WorkspaceToken>
  /** What to type when the workspace does not take the token. */
  readonly hint: string
  /** The program that is asked, as the user would type it: it may be slow, or hang. */
  readonly program?: string
  /** The token never changes: asking again gives the same. */
  readonly fixed?: true
}

export interface SignInMethod {
  /** As in DATABRICKS_AUTH_TYPE. */
  readonly type: string
  readonly attributes: readonly Attribute[]
  /** Settings that this method shares with another, so that setting them does not mix two methods. */
  readonly shares?: readonly string[]
  /** For "… needs …" when it was asked for by name and something is missing. */
  readonly needs: string
  /** It lies ready on the machine rather than being set: where it fails, the next way is tried. */
  readonly ambient?: true
  /** Undefined when its settings are missing. Sends no request. */
  configure(config: ConfigWithHost, env: SignInDeps['env']): SignIn | undefined
}

export type ConfigWithHost = DatabricksConfig & { readonly host: string }

/** The authorization server does not accept the credential itself. */
export class SignInRefused extends ProxyError {
  constructor(message: string, hint: string | undefined) {
    super('identity', message, { hint })
  }
}

/** An ambient way that is not there at all: no program, no login. Not worth an error of its own. */
export class NotConfigured extends Error {}

/** Where nothing is known of a token's end, it is asked for again after this time. */
const ASSUMED_LIFE_MS = 10 * 60_000

/** `expiresAt` as stated by the issuer, otherwise by the token itself. */
export function workspaceToken(
  accessToken: string,
  expiresAt: number | undefined,
  clock: Clock,
): WorkspaceToken {
  const stated = expiresAt !== undefined && !Number.isNaN(expiresAt) ? expiresAt : undefined
  return {
    accessToken: new Secret(accessToken),
    expiresAt: stated ?? jwtExpiry(accessToken) ?? clock.now() + ASSUMED_LIFE_MS,
  }
}
