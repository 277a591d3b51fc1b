/** The workspace's address as people write it, brought to `https://host` and the ids in its query. */

import { ValueError } from '../../config/schema/values.js'
import { readWorkspaceUrl } from '../../config/schema/workspace-url.js'
import { ProxyError } from '../../core/errors.js'
import { isLoopback } from '../../core/loopback.js'

export interface WorkspaceAddress {
  /** `https://…`, without a path. */
  readonly host: string
  /** `?o=`, `?w=` or `?workspace_id=`: which workspace of a host that serves several. */
  readonly workspaceId: string | undefined
  /** `?a=` or `?account_id=`. */
  readonly accountId: string | undefined
}

/** The path of a URL that was copied from a browser is left off. Errors: kind `config`. */
export function parseWorkspaceAddress(text: string, source: string): WorkspaceAddress {
  const url = readUrl(text, source)
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

export function isGoogleHost(host: string): boolean {
  return /\.gcp\.databricks\.com$/.test(new URL(host).hostname)
}

/** Databricks' own domains on all clouds; and this machine, where development servers are. */
export function isDatabricksHost(host: string): boolean {
  const url = new URL(host)
  const isOwn = /\.databricks\.(com|us|mil)$/.test(url.hostname)
  return isOwn || isAzureHost(host) || isLoopback(url.hostname)
}

/** Part of a URL's path. Errors: kind `config` for one that leads up to another path. */
export function pathPart(text: string): string {
  if (text !== '.' && text !== '..') return encodeURIComponent(text)
  throw new ProxyError('config', `"${text}" cannot be a name in a URL`)
}

function readUrl(text: string, source: string): URL {
  try {
    return readWorkspaceUrl(text)
  } catch (error) {
    if (!(error instanceof ValueError)) throw error
    // The part before an @ may be a password.
    const shown = text.trim().replace(/^.*@/s, '…@')
    throw new ProxyError('config', `"${shown}" is not a workspace host: it ${error.message}`, {
      detail: `It is set by ${source}.`,
      hint: error.hint,
    })
  }
}

function firstOf(url: URL, names: readonly string[]): string | undefined {
  return names.map((name) => url.searchParams.get(name)).find((value) => value) ?? undefined
}
