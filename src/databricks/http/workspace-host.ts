/** The workspace's address as people write it, brought to `https://host` and the ids in its query. */

import { ProxyError } from '../../core/errors.js'
import { isLoopback as isLoopbackHost } from '../../core/loopback.js'

export interface WorkspaceAddress {
  /** `https://…`, without a path. */
  readonly host: string
  /** `?o=`, `?w=` or `?workspace_id=`: which workspace of a host that serves several. */
  readonly workspaceId: string | undefined
  /** `?a=` or `?account_id=`. */
  readonly accountId: string | undefined
}

/**
 * Takes a bare host name as Databricks Apps set it, and a URL copied from a browser: its path is
 * left off. Plaintext is for this machine only. Errors: kind `config`.
 */
export function parseWorkspaceAddress(text: string, source: string): WorkspaceAddress {
  const written = text.trim()
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(written) ? written : `https://${written}`
  const url = URL.canParse(withScheme) ? new URL(withScheme) : undefined
  if (url === undefined || !['https:', 'http:'].includes(url.protocol) || url.username !== '') {
    // The part in front of an @ may be a password.
    const shown = written.replace(/^.*@/, '…@')
    throw new ProxyError('config', `"${shown}" is not a workspace host`, {
      detail: `It is set by ${source}.`,
      hint: 'Write it as https://dbc-a1b2c3d4-e5f6.cloud.databricks.com.',
    })
  }
  if (url.protocol === 'http:' && !isLoopback(url)) {
    throw new ProxyError('config', `workspace host ${url.origin} would be spoken to without TLS`, {
      detail: `It is set by ${source}.`,
      hint: `Write https://${url.host} (http:// is accepted for this machine only).`,
    })
  }
  if (isAccountConsole(url.hostname)) {
    throw new ProxyError('config', `${url.hostname} is the account console, not a workspace`, {
      detail: `It is set by ${source}.`,
      hint: 'Use the address your browser shows while you work in the workspace.',
    })
  }
  return {
    host: url.origin,
    workspaceId: firstOf(url, ['o', 'w', 'workspace_id']),
    accountId: firstOf(url, ['a', 'account_id']),
  }
}

/** `https://accounts.cloud.databricks.com` and its like, with or without the scheme. */
export function isAccountConsole(host: string): boolean {
  return /^(https?:\/\/)?accounts(-dod)?\./i.test(host.trim())
}

/** The domains whose workspaces the SDKs take for Azure's. */
export function isAzureHost(host: string): boolean {
  return /\.(azuredatabricks\.net|databricks\.azure\.(us|cn))$/.test(new URL(host).hostname)
}

/** `*.gcp.databricks.com`. */
export function isGoogleHost(host: string): boolean {
  return /\.gcp\.databricks\.com$/.test(new URL(host).hostname)
}

/** Databricks' own domains on all clouds; and this machine, where development servers are. */
export function isDatabricksHost(host: string): boolean {
  const url = new URL(host)
  const isOwn = /\.databricks\.(com|us|mil)$/.test(url.hostname)
  return isOwn || isAzureHost(host) || isLoopback(url)
}

export function isLoopback(url: URL): boolean {
  return isLoopbackHost(url.hostname)
}

function firstOf(url: URL, names: readonly string[]): string | undefined {
  return names.map((name) => url.searchParams.get(name)).find((value) => value) ?? undefined
}
