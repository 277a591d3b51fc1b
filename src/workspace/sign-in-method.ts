/** What one way of signing in to the workspace offers, and what it may ask for. */

import type { Clock } from '../clock.js'
import type { Log, Secret } from '../log.js'
import type { Attribute, DatabricksConfig } from './databricks-config.js'
import type { Http } from './http.js'
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
  readonly run: RunCommand
}

export interface SignIn {
  fetchToken(signal: AbortSignal): Promise<WorkspaceToken>
  /** What to type when the workspace does not take the token. */
  readonly hint: string
  /** The token never changes: asking again gives the same. */
  readonly fixed?: true
}

export interface SignInMethod {
  /** As in DATABRICKS_AUTH_TYPE. */
  readonly type: string
  /** The settings it brings. */
  readonly attributes: readonly Attribute[]
  /** Settings another way brings that are this one's too, so that they are no mixture. */
  readonly shares?: readonly string[]
  /** For "… needs …" when it was asked for by name and something is missing. */
  readonly needs: string
  /** It lies ready on the machine rather than being set: where it fails, the next way is tried. */
  readonly ambient?: true
  /** Undefined: its settings are not there. Asks nobody. */
  configure(config: ConfigWithHost, deps: SignInDeps): SignIn | undefined
}

export type ConfigWithHost = DatabricksConfig & { readonly host: string }

/** An ambient way that is not there at all: no program, no login. Not worth an error of its own. */
export class NotConfigured extends Error {}
