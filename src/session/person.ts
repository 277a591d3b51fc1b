/** Who a client of a gateway (`local-auth=databricks`) is, and what its user and password may be. */

import type { Secret } from '../core/secret.js'
import type { Credentials } from '../credentials/credentials.js'
import type { PersonalSignIn } from '../databricks/lakebase/workspace.js'
import { jwtScopes } from '../databricks/sign-in/jwt.js'
import type { ClientLogin } from '../upstream/attempt.js'
import { fromWireText } from '../wire/frontend.js'

export type LoginMethod = 'pat' | 'oauth' | 'oauth-m2m' | 'database-credential'

/** The user and the password that a client gave. */
export interface Claim {
  /** The user name as it was typed: `ROLE`, `ROLE~group` or `token`. */
  readonly user: string
  readonly password: Secret
  /** Where it comes from; undefined: a Unix socket. */
  readonly address: string | undefined
}

export interface Person {
  /**
   * As the workspace names the identity. With a database credential the role, as the client typed
   * it: the server checks it at login.
   */
  readonly name: string
  readonly method: LoginMethod
  /** The person's credentials, for the role or group that was asked for. */
  readonly credentials: Credentials
  /**
   * Only the server can say whether it is this person: then the login is run in here, where few of
   * one address are at once. Errors: kind `limit`, the signal's reason, and those of the login.
   */
  readonly whileUnproved?: <T>(logIn: () => Promise<T>, signal: AbortSignal) => Promise<T>
}

/** The user that the client names; `token`, for any user, when it names a target alone. */
export function typedUser({ role }: ClientLogin): string {
  return role === undefined || role === '' ? 'token' : fromWireText(role)
}

/** The kinds of claims, as far as user and password show them without a question to the workspace. */
export type ClaimKind =
  | {
      readonly is: 'sign-in'
      readonly method: 'pat' | 'oauth' | 'oauth-m2m'
      readonly signIn: PersonalSignIn
    }
  | { readonly is: 'database-credential' }
  /** A password that cannot be sent to the workspace, and so is wrong. */
  | { readonly is: 'nothing' }

const APPLICATION_ID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i
/** Every personal access token begins so; a service principal's OAuth secret does not. */
const PAT_PREFIX = 'dapi'

export function kindOfClaim({ user, password }: Claim): ClaimKind {
  const text = password.reveal()
  const scopes = jwtScopes(text)
  if (scopes !== undefined) {
    const isForApi = scopes.includes('all-apis') || scopes.includes('postgres')
    if (!isForApi) return { is: 'database-credential' }
    if (!isHeaderText(text)) return { is: 'nothing' }
    return { is: 'sign-in', method: 'oauth', signIn: { type: 'bearer', token: password } }
  }
  const clientId = firstName(user)
  if (APPLICATION_ID.test(clientId) && !text.startsWith(PAT_PREFIX)) {
    const signIn = { type: 'oauth-m2m', clientId, clientSecret: password } as const
    return { is: 'sign-in', method: 'oauth-m2m', signIn }
  }
  if (!isHeaderText(text)) return { is: 'nothing' }
  return { is: 'sign-in', method: 'pat', signIn: { type: 'bearer', token: password } }
}

/** The part before the first `~`. */
export function firstName(user: string): string {
  const end = user.indexOf('~')
  return end === -1 ? user : user.slice(0, end)
}

/** The part after the first `~`; undefined when there is no `~`. */
export function secondName(user: string): string | undefined {
  const end = user.indexOf('~')
  return end === -1 ? undefined : user.slice(end + 1)
}

/**
 * The group that a typed user asks for, of the identity `name`; `another` when it names another
 * identity. Names are compared without case, but the role is always the workspace's own spelling.
 */
export function groupAskedFor(
  user: string,
  name: string,
): { readonly group: string | undefined } | 'another' {
  for (const own of [name, 'token']) {
    const typed = user.slice(0, own.length)
    if (typed.toLowerCase() !== own.toLowerCase()) continue
    if (user.length === own.length) return { group: undefined }
    if (user[own.length] === '~') return { group: user.slice(own.length + 1) }
  }
  return 'another'
}

/** Servers take headers of 8 to 16 kB in all; real tokens are 1 to 2 kB. */
const MAX_BEARER_LENGTH = 8_000

/** Printable ASCII without blanks. A loop, because a pattern that matches keeps the text. */
function isHeaderText(text: string): boolean {
  if (text.length > MAX_BEARER_LENGTH) return false
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code < 0x21 || code > 0x7e) return false
  }
  return true
}
