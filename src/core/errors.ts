/**
 * Every error this process raises on purpose. `kind` says what failed: it is the metric label, decides
 * the SQLSTATE where the server gave none, and whether a command ends with 2 (`config`) or 1.
 */

import { printable } from './plain-text.js'
import { redact } from './redact.js'

// https://www.postgresql.org/docs/current/errcodes-appendix.html
// 57P03 makes pg_isready say "rejecting" and drivers try again; class 28 is final to them.
const SQL_STATE = {
  /** Wrong usage, or a wrong setting. */
  config: '57P03', // cannot_connect_now
  /** The workspace gave no token, or no other answer that a login needs. */
  credential: '57P03',
  /** The workspace or the server refuses this identity, or it is not known which one is meant. */
  identity: '28000', // invalid_authorization_specification
  /** The workspace has no such instance, branch or endpoint, or refuses the request about it. */
  target: '57P03',
  /** The client chose no target of a port that serves several, or one that is not served there. */
  route: '3D000', // invalid_catalog_name
  /** The instance or endpoint is stopped, disabled or being deleted. */
  stopped: '28000', // as Lakebase's front door says it; trying again does not help
  /** The server, or a branch, is not ready yet: trying again helps. */
  starting: '57P03',
  /** A host name has no address. */
  resolve: '57P03',
  /** No connection: the address does not answer. */
  dial: '57P03',
  /** No verified TLS with the server. */
  tls: '08006', // connection_failure
  /** The server broke the protocol, ended the session, or refused with an SQLSTATE of its own. */
  upstream: '08006',
  /** The client broke the protocol, or took too long for it. */
  protocol: '08P01', // protocol_violation
  /** The client asks for a protocol version or mechanism that is not supported. */
  version: '0A000', // feature_not_supported
  password: '28P01', // invalid_password
  /** Too many clients or requests, here or at the server. */
  limit: '53300', // too_many_connections
  stopping: '57P03',
}

export type ErrorKind = keyof typeof SQL_STATE

export interface ProxyErrorOptions {
  cause?: unknown
  /** One sentence that tells the reader what to do next. Safe to show to a client. */
  hint?: string | undefined
  /** More about what happened. Safe to show to a client. */
  detail?: string | undefined
  /** The SQLSTATE of the server's own refusal. */
  sqlState?: string | undefined
}

export class ProxyError extends Error {
  override readonly name = 'ProxyError'
  readonly kind: ErrorKind
  readonly hint: string | undefined
  readonly detail: string | undefined
  readonly sqlState: string

  /**
   * `message` follows the PostgreSQL error style guide. Pass text from a server or user through
   * `plainText` first. If that is forgotten, secrets and terminal escape sequences are still removed
   * here.
   */
  constructor(kind: ErrorKind, message: string, options: ProxyErrorOptions = {}) {
    super(readable(message), options.cause === undefined ? undefined : { cause: options.cause })
    this.kind = kind
    this.hint = options.hint === undefined ? undefined : readable(options.hint)
    this.detail = options.detail === undefined ? undefined : readable(options.detail)
    this.sqlState = options.sqlState ?? SQL_STATE[kind]
  }
}

const MAX_LENGTH = 8_000

/** Replaces line breaks by spaces, except before two spaces: our own lists indent their lines so. */
function readable(text: string): string {
  return redact(printable(text.slice(0, MAX_LENGTH)).replace(/\n(?! {2})/g, ' '))
}

export interface ClientError {
  readonly sqlState: string
  readonly message: string
  readonly hint?: string | undefined
  readonly detail?: string | undefined
}

/**
 * What a client may read: texts that their error has redacted. An error that was not raised on
 * purpose is a bug, and says only that.
 */
export function toClientError(error: unknown): ClientError {
  if (error instanceof ProxyError) {
    const { sqlState, message, hint, detail } = error
    return { sqlState, message, hint, detail }
  }
  return { sqlState: 'XX000', message: 'internal proxy error' }
}

/**
 * What a person reads on stderr when a command fails: the message, and what to type next. An error
 * that is not a ProxyError is a bug, and its stack is printed.
 */
export function describeFailure(error: unknown): string {
  if (error instanceof ProxyError) {
    const lines = [`lakebase-proxy: ${error.message}`]
    if (error.detail !== undefined) lines.push(`Detail: ${error.detail}`)
    if (error.hint !== undefined) lines.push(`Hint: ${error.hint}`)
    return `${lines.join('\n')}\n`
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return `lakebase-proxy: internal error, which is a bug\n${redact(printable(stack))}\n`
}

/** The metric label of any error. */
export function errorKind(error: unknown): ErrorKind | 'internal' {
  return error instanceof ProxyError ? error.kind : 'internal'
}
