/**
 * What a session logs in with: the workspace identity's role and a database token that is always fresh,
 * a native role and its password, or a credential that the client brought for this login.
 */

import { roleOf } from '../config/resolve/login.js'
import type { TargetSettings } from '../config/resolve/settings.js'
import type { Clock } from '../core/clock.js'
import { ProxyError } from '../core/errors.js'
import type { Freshness } from '../core/fresh-value.js'
import type { Secret } from '../core/secret.js'
import type { Workspace } from '../databricks/lakebase/connect-workspace.js'
import type { LookUp } from '../databricks/lakebase/look-up.js'
import type { DatabaseCredential, LakebaseDatabase } from '../databricks/lakebase/workspace.js'
import { CredentialCache, type CredentialObserver } from './credential-cache.js'

export interface LoginCredential {
  /** The role to log in as; undefined: the one the client typed. */
  readonly user: string | undefined
  readonly password: Secret
  /** `given`: a database credential of the client's own, which is sent once and never again. */
  readonly method: 'token' | 'password' | 'given'
  /** The credential that the token is of, for `renew`. */
  readonly origin?: DatabaseCredential
}

export interface Credentials {
  get(signal: AbortSignal): Promise<LoginCredential>
  /**
   * Returns the successor of a credential that the server refused, or undefined when asking would not
   * help.
   */
  renew(refused: LoginCredential, signal: AbortSignal): Promise<LoginCredential | undefined>
  readonly state: Freshness
  /** Epoch ms; undefined when none is held, or it does not expire. */
  readonly expiresAt: number | undefined
  close(): void
}

export interface TokenCredentialsOptions {
  target: TargetSettings
  workspace: Pick<Workspace, 'mintCredential'>
  /** Shared by all targets of one workspace. */
  identity: LookUp<string>
  database: LookUp<LakebaseDatabase>
  clock: Clock
  /** Aborts requests that several clients wait for, when the proxy closes. */
  closing: AbortSignal
  observer?: CredentialObserver
}

export class TokenCredentials implements Credentials {
  readonly #cache: CredentialCache
  readonly #target: TargetSettings
  readonly #identity: LookUp<string>

  constructor(options: TokenCredentialsOptions) {
    const { target, workspace, database, closing } = options
    this.#target = target
    this.#identity = options.identity
    this.#cache = new CredentialCache({
      clock: options.clock,
      fetch: async () => {
        this.#askWhoWeAre(closing)
        const { tokenTtlMs: ttlMs, login } = target
        const group = login.as === 'group' ? login.name : undefined
        return workspace.mintCredential(await database.get(closing), { ttlMs, group }, closing)
      },
      ...(options.observer === undefined ? {} : { observer: options.observer }),
    })
  }

  get state(): Freshness {
    return this.#cache.state
  }

  get expiresAt(): number | undefined {
    return this.#cache.expiresAt
  }

  async get(signal: AbortSignal): Promise<LoginCredential> {
    const [user, credential] = await Promise.all([this.#user(signal), this.#cache.get(signal)])
    return withToken(user, credential)
  }

  async renew(refused: LoginCredential, signal: AbortSignal): Promise<LoginCredential | undefined> {
    if (refused.origin === undefined) return undefined
    const credential = await this.#cache.renew(refused.origin, signal)
    return credential && withToken(await this.#user(signal), credential)
  }

  close(): void {
    this.#cache.close()
  }

  /**
   * Asked with each new token, because the role is that of the signed-in person, who changes when
   * another person runs `databricks auth login` under the same profile. Logins do not wait for it.
   */
  #askWhoWeAre(closing: AbortSignal): void {
    if (this.#target.login.as === 'identity') {
      this.#identity.askAgain(closing).catch(() => {}) // the session that needs it hears of it
    }
  }

  async #user(signal: AbortSignal): Promise<string | undefined> {
    const { login } = this.#target
    return roleOf(login, login.as === 'identity' ? await this.#identity.get(signal) : undefined)
  }
}

function withToken(user: string | undefined, credential: DatabaseCredential): LoginCredential {
  return { user, password: credential.token, method: 'token', origin: credential }
}

/** A native role and its password, or what a client has brought along for its own login alone. */
export function fixedCredentials(credential: LoginCredential): Credentials {
  return unchanging(async () => credential)
}

/** For a target whose clients bring their own: there is nothing that all could log in with. */
export const NO_SHARED_CREDENTIALS = unchanging(async () => {
  throw new ProxyError('identity', 'each client logs in as itself')
})

function unchanging(get: Credentials['get']): Credentials {
  return { state: 'fresh', expiresAt: undefined, get, renew: async () => undefined, close() {} }
}
