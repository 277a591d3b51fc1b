/**
 * What a failed connection means in the user's terms: undici wraps the system's error as the
 * `cause` of "fetch failed", sometimes an AggregateError of one error per address.
 */

import { ProxyError, type ProxyErrorOptions } from '../../core/errors.js'

export interface NetworkFailure {
  readonly error: ProxyError
  readonly temporary: boolean
  /** The request cannot have reached the server. */
  readonly surelyNotDone: boolean
}

/** The HTTP proxy in front of the workspace opened no connection: nothing reached the workspace. */
export class NoTunnel extends ProxyError {
  readonly temporary: boolean

  constructor(
    message: string,
    options: ProxyErrorOptions & { readonly kind?: 'config'; readonly temporary: boolean },
  ) {
    super(options.kind ?? 'credential', message, options)
    this.temporary = options.temporary
  }
}

export function describeNetworkError(error: unknown, url: URL): NetworkFailure {
  const cause = rootCause(error)
  if (cause instanceof NoTunnel) {
    return { error: cause, temporary: cause.temporary, surelyNotDone: true }
  }
  const code = codeOf(cause)
  const failure = (
    message: string,
    hint: string,
    { temporary, surelyNotDone }: Omit<NetworkFailure, 'error'>,
  ): NetworkFailure => ({
    error: new ProxyError('credential', message, { cause: error, hint }),
    temporary,
    surelyNotDone,
  })

  if (code === 'ENOTFOUND') {
    return failure(
      `could not find the host ${url.hostname}`,
      'Check the spelling of the workspace host (DATABRICKS_HOST), and DNS and VPN.',
      FINAL,
    )
  }
  if (isCertificateCode(code)) {
    return failure(
      `the certificate of ${url.host} could not be verified: ${messageOf(cause)}`,
      'If a company proxy opens TLS here, put its CA certificate (PEM) into NODE_EXTRA_CA_CERTS.',
      FINAL,
    )
  }
  return failure(
    `could not reach ${url.host}: ${messageOf(cause)}`,
    `Check the network, VPN and HTTPS_PROXY on the way to ${url.host}.`,
    { temporary: true, surelyNotDone: code !== undefined && NEVER_CONNECTED.has(code) },
  )
}

const FINAL = { temporary: false, surelyNotDone: true }

const NEVER_CONNECTED = new Set([
  'ECONNREFUSED',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])

/** https://nodejs.org/api/tls.html#x509-certificate-error-codes */
function isCertificateCode(code: string | undefined): boolean {
  return (
    code !== undefined &&
    (/^(CERT_|UNABLE_TO_|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE)/.test(code) ||
      code === 'DEPTH_ZERO_SELF_SIGNED_CERT' ||
      code === 'SELF_SIGNED_CERT_IN_CHAIN' ||
      code === 'ERR_TLS_INVALID_CONTEXT')
  )
}

/** The system's own words for the innermost cause. */
export function reasonOf(error: unknown): string {
  return messageOf(rootCause(error))
}

function rootCause(error: unknown): unknown {
  let at = error
  for (let depth = 0; depth < 5 && at instanceof Error; depth += 1) {
    if (at instanceof AggregateError && at.errors.length > 0) at = at.errors[0]
    else if (at.cause !== undefined && !(at instanceof NoTunnel)) at = at.cause
    else break
  }
  return at
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return message === '' ? (codeOf(error) ?? 'connection failed') : message
}
