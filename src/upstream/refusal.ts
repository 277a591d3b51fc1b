/**
 * What a server's refusal of a login means, and what the client is told of it. The texts are those
 * seen at Lakebase's front doors (lakebase.md §5.4–5.6), which do not always bring a telling SQLSTATE.
 */

import { type ErrorKind, ProxyError } from '../core/errors.js'
import { plainText } from '../core/plain-text.js'
import type { ServerError } from '../wire/backend.js'
import type { LoginStage } from './login.js'

export interface Refusal {
  readonly stage: LoginStage
  readonly error: ServerError
}

const TOKEN_TEXT =
  /JWT token has expired|Failed to decode token|not a valid JWT|authentication failed|not yet ready to use/i

/** Was it the token itself? Only between our PasswordMessage and AuthenticationOk can it be. */
export function isTokenRefused({ stage, error }: Refusal): boolean {
  if (stage !== 'after password') return false
  return error.sqlState === '28P01' || TOKEN_TEXT.test(error.message)
}

/** Stopped, disabled, blocked by an IP access list or a private link, or a branch just made. */
export function isDoorClosed({ stage, error }: Refusal): boolean {
  return (
    stage === 'before password' &&
    error.sqlState === '28000' &&
    /External authorization failed/i.test(error.message)
  )
}

/** Starting or failing over: nothing was relayed yet, so it may be tried again. */
export function isWaking({ error }: Refusal): boolean {
  return error.sqlState === '57P03'
}

export function isDatabaseMissing({ error }: Refusal): boolean {
  return error.sqlState === '3D000'
}

/** Every connection the server has, or the role or database, is taken. */
export function isFull({ error }: Refusal): boolean {
  return error.sqlState === '53300'
}

/** Is it about the server or the credential, and not about what this one client asked for? */
export function concernsAll(refusal: Refusal): boolean {
  if (isDatabaseMissing(refusal)) return false
  return refusal.stage !== 'authenticated' || isWaking(refusal) || isFull(refusal)
}

export interface RefusalContext {
  /** The role we logged in as. */
  readonly user: string
  readonly method: 'token' | 'password'
}

/** The server's own words, with what to do about them. */
export function refusalError(refusal: Refusal, context: RefusalContext): ProxyError {
  const { error } = refusal
  const tokenRefused = isTokenRefused(refusal)
  const kind = tokenRefused ? 'identity' : kindOf(error.sqlState)
  return new ProxyError(kind, plainText(error.message), {
    // 28P01 is a wrong local password, and nothing else, to a client of this proxy.
    sqlState: tokenRefused ? '28000' : error.sqlState,
    detail:
      [
        error.detail && plainText(error.detail),
        tokenRefused ? `The server's SQLSTATE was ${error.sqlState}.` : undefined,
      ]
        .filter((part) => part !== undefined)
        .join(' ') || undefined,
    hint: hintFor(refusal, context) ?? (error.hint && plainText(error.hint)),
  })
}

function kindOf(sqlState: string): ErrorKind {
  if (sqlState.startsWith('28')) return 'identity'
  if (sqlState === '53300') return 'limit'
  if (sqlState === '3D000') return 'target'
  if (sqlState === '57P03') return 'starting'
  return 'upstream'
}

function hintFor(refusal: Refusal, context: RefusalContext): string | undefined {
  const { method } = context
  const user = plainText(context.user, 128)
  if (isTokenRefused(refusal)) {
    return method === 'password'
      ? `Check the password of the role "${user}" in the URL.`
      : `Does the role "${user}" exist there, and is it the signed-in identity's? ` +
          'An administrator creates it with: databricks_create_role, or in the workspace. ' +
          '"lakebase-proxy doctor" shows who is signed in.'
  }
  if (isDoorClosed(refusal)) {
    return 'Its state is fine: an IP access list or a private link keeps this machine out. Ask the workspace administrator.'
  }
  switch (refusal.error.sqlState) {
    case '3D000':
      return 'Name one that exists ("psql -l" lists them), or set --database for clients that name none.'
    case '53300':
      return 'Close connections that are not used, or put a pooler before the proxy.'
    default:
      return undefined
  }
}
