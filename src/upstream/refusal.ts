/**
 * What a server's refusal of a login means, and what the client is told. Lakebase does not always
 * send a specific SQLSTATE, so some message texts are recognised too. A refusal that is known to be
 * temporary is retried before anything is relayed; every other refusal is final.
 */

import { type ErrorKind, ProxyError } from '../core/errors.js'
import { plainText } from '../core/plain-text.js'
import type { LoginCredential } from '../credentials/credentials.js'
import type { ServerError } from '../wire/backend.js'
import type { LoginStage } from './login.js'

export interface Refusal {
  readonly stage: LoginStage
  readonly error: ServerError
}

export type RefusalMeaning =
  /** Temporary: the compute starts, fails over, or could not be reached by the gateway in front of it. */
  | 'waking'
  /** The token itself, or the role that it does not fit. */
  | 'token refused'
  /** Stopped, disabled, blocked by an IP access list or a private link, or a branch just made. */
  | 'access denied'
  | 'database missing'
  /** Every connection the server has, or the role or database, is taken. */
  | 'full'
  | 'final'

export function meaningOf({ stage, error }: Refusal): RefusalMeaning {
  const { sqlState, message } = error
  if (sqlState === '3D000') return 'database missing'
  if (sqlState === '53300' || FULL_TEXT.test(message)) return 'full'
  if (isWaking(error)) return 'waking'
  if (stage === 'before password' && sqlState === '28000' && DENIED_TEXT.test(message)) {
    return 'access denied'
  }
  // Only between our PasswordMessage and AuthenticationOk can it be the token.
  if (stage === 'after password' && (sqlState === '28P01' || TOKEN_TEXT.test(message))) {
    return 'token refused'
  }
  return 'final'
}

const TOKEN_TEXT =
  /JWT token has expired|Failed to decode token|not a valid JWT|authentication failed|not yet ready to use/i
const DENIED_TEXT = /External authorization failed/i
const FULL_TEXT = /^Too many connections to this endpoint/i
// The gateway rejects what was sent to it, and the next try would send the same.
const PROTOCOL_TEXT =
  /insecure connection|\bSNI\b|startup packet|unsupported frontend protocol|invalid protocol version|unencrypted data/i
// Said by the proxies in front of a compute, always with XX000.
const COMPUTE_TEXT =
  /couldn't connect to compute node|temporarily unavailable|failed to acquire permit|^(control plane|console) request failed\.?$/i

function isWaking({ sqlState, message }: ServerError): boolean {
  switch (sqlState) {
    case '57P01': // admin_shutdown: suspended or restarted at this very moment
    case '57P02': // crash_shutdown
    case '57P03': // cannot_connect_now
      return true
    case '08P01': // protocol_violation
      return false
    case 'XX000':
      return COMPUTE_TEXT.test(message)
    default:
      return sqlState.startsWith('08') && !PROTOCOL_TEXT.test(message)
  }
}

/** On a branch that was just made, roles and access rules may not have arrived yet. */
export function maySettle(refusal: Refusal): boolean {
  const { sqlState } = refusal.error
  return sqlState === '28P01' || sqlState === '28000' || meaningOf(refusal) === 'token refused'
}

/** Is it about the server or the credential, and not about what this one client asked for? */
export function concernsAll(refusal: Refusal): boolean {
  const meaning = meaningOf(refusal)
  if (meaning === 'database missing') return false
  return refusal.stage !== 'authenticated' || meaning === 'waking' || meaning === 'full'
}

export interface RefusalContext {
  /** The role we logged in as. */
  readonly user: string
  readonly method: LoginCredential['method']
}

/** The server's own words, with what to do about them. */
export function refusalError(refusal: Refusal, context: RefusalContext): ProxyError {
  const { error } = refusal
  const meaning = meaningOf(refusal)
  const tokenRefused = meaning === 'token refused'
  const details = [
    error.detail && plainText(error.detail),
    tokenRefused ? `The server's SQLSTATE was ${error.sqlState}.` : undefined,
  ].filter((part) => part !== undefined)
  const isClientsOwn = tokenRefused && context.method === 'given'
  const kind = isClientsOwn ? 'password' : kindOf(meaning, error.sqlState)
  return new ProxyError(kind, plainText(error.message), {
    // To a client of this proxy, 28P01 is a wrong password of its own and nothing else.
    sqlState: isClientsOwn ? '28P01' : tokenRefused ? '28000' : error.sqlState,
    detail: details.join(' ') || undefined,
    hint:
      hintFor(meaning, { ...context, user: plainText(context.user, 128) }) ??
      (error.hint && plainText(error.hint)),
  })
}

function kindOf(meaning: RefusalMeaning, sqlState: string): ErrorKind {
  switch (meaning) {
    case 'waking':
      return 'starting'
    case 'token refused':
    case 'access denied':
      return 'identity'
    case 'database missing':
      return 'target'
    case 'full':
      return 'limit'
    case 'final':
      return sqlState.startsWith('28') ? 'identity' : 'upstream'
  }
}

function hintFor(meaning: RefusalMeaning, { user, method }: RefusalContext): string | undefined {
  switch (meaning) {
    case 'token refused':
      if (method === 'password') return `Check the password of the role "${user}" in the URL.`
      return method === 'given'
        ? `The password was passed on as a database credential of "${user}": it may have expired, or be of another role. A personal access token does not expire within the hour.`
        : `Most likely the role "${user}" does not exist there, or is not the signed-in identity's. ` +
            'An administrator creates it with databricks_create_role, or in the workspace. ' +
            '"lakebase-proxy doctor" shows who is signed in.'
    case 'access denied':
      return 'Its state is fine: most likely an IP access list or a private link keeps this machine out. Ask the workspace administrator.'
    case 'database missing':
      return 'Name a database that exists ("psql -l" lists them), or set --database for clients that name none.'
    case 'full':
      return 'Close connections that are not used, or put a pooler in front of the proxy.'
    case 'waking':
    case 'final':
      return undefined
  }
}

/** A token cannot answer SASL: the role has a native password, or does not exist. */
export function saslError(): ProxyError {
  return new ProxyError(
    'identity',
    'server asks for SASL, but tokens are sent as cleartext passwords',
    {
      hint:
        'Most likely the role is a native Postgres role, or does not exist: create it for the ' +
        'Databricks identity, or use a postgresql:// URL with its password as the target.',
    },
  )
}
