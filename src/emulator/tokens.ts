/**
 * Mints and judges the tokens of the emulated workspace: database credentials, good as a Postgres
 * password, and workspace tokens, good for its API. They are JWTs of the real size, signed for real;
 * every database credential has a number, so that a test or the demo can tell which one was used.
 */

import { generateKeyPairSync, randomUUID, sign } from 'node:crypto'

import type { Clock } from '../core/clock.js'
import type { Identity } from './inventory.js'

export interface IssuedToken {
  readonly text: string
  readonly use: 'database' | 'workspace'
  /** 1, 2, 3, …: database credentials and workspace tokens are counted apart. */
  readonly number: number
  readonly identity: Identity
  /** The role it opens: the identity's, or a group's. */
  readonly role: string
  /** Epoch ms by the emulator's clock. */
  readonly expiresAt: number
  revoked: boolean
}

export interface MintOptions {
  use: IssuedToken['use']
  identity: Identity
  lifeMs: number
  /** A group's role instead of the identity's own. */
  group?: string | undefined
}

/** How the front door judges a password. */
export type Verdict =
  | { readonly is: 'good'; readonly token: IssuedToken }
  | { readonly is: 'expired'; readonly token: IssuedToken }
  | { readonly is: 'not a JWT' }
  | { readonly is: 'refused' }

export class TokenIssuer {
  readonly #clock: Clock
  readonly #workspaceId: string
  readonly #issued = new Map<string, IssuedToken>()
  readonly #counts = { database: 0, workspace: 0 }
  readonly #key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

  constructor(clock: Clock, workspaceId: string) {
    this.#clock = clock
    this.#workspaceId = workspaceId
  }

  mint(options: MintOptions): IssuedToken {
    const { use, identity, group } = options
    this.#counts[use]++
    const expiresAt = this.#clock.now() + options.lifeMs
    const token: IssuedToken = {
      text: '',
      use,
      number: this.#counts[use],
      identity,
      role: group ?? identity.userName,
      expiresAt,
      revoked: false,
    }
    const issued = { ...token, text: this.#sign(token) }
    this.#issued.set(issued.text, issued)
    return issued
  }

  #sign(token: IssuedToken): string {
    const header = { alg: 'ES256', typ: 'JWT', kid: 'lakebase-emulator' }
    const claims = {
      iss: 'https://emulator.cloud.databricks.com/oidc',
      aud: token.use === 'database' ? `database-${this.#workspaceId}` : this.#workspaceId,
      sub: token.role,
      client_id: token.identity.userName,
      scope: token.use === 'database' ? 'database' : 'all-apis',
      workspace_id: this.#workspaceId,
      iat: Math.floor(this.#clock.now() / 1000),
      // Whole seconds, and never later than the real end.
      exp: Math.floor(token.expiresAt / 1000),
      jti: randomUUID(),
      token_number: token.number,
      // Real ones are about 1 kB: buffers of 512 or 1000 bytes must not do.
      padding: 'lakebase'.repeat(70),
    }
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const signed = `${part(header)}.${part(claims)}`
    const signature = sign('sha256', Buffer.from(signed), {
      key: this.#key,
      dsaEncoding: 'ieee-p1363',
    })
    return `${signed}.${signature.toString('base64url')}`
  }

  /** A password as the front door sees it, for the role that was asked for. */
  judge(password: string, role: string): Verdict {
    const token = this.#issued.get(password)
    if (token === undefined) {
      const looksLikeOne = /^[\w-]+\.[\w-]+\.[\w-]+$/.test(password)
      return looksLikeOne ? { is: 'refused' } : { is: 'not a JWT' }
    }
    if (token.use !== 'database' || token.revoked) return { is: 'refused' }
    if (token.expiresAt <= this.#clock.now()) return { is: 'expired', token }
    return token.role === role ? { is: 'good', token } : { is: 'refused' }
  }

  /** Whose workspace token this is; undefined when it is unknown, expired or revoked. */
  bearer(text: string): Identity | undefined {
    const token = this.#issued.get(text)
    if (token?.use !== 'workspace' || token.revoked) return undefined
    return token.expiresAt > this.#clock.now() ? token.identity : undefined
  }

  /** From now on no token issued so far is good. */
  revokeAll(use: IssuedToken['use']): void {
    for (const token of this.#issued.values()) if (token.use === use) token.revoked = true
  }

  /** How many of a kind were minted: the number of the latest. */
  count(use: IssuedToken['use']): number {
    return this.#counts[use]
  }
}
