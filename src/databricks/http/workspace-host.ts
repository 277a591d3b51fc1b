/** The workspace's address as people write it, brought to `https://host`. */

import { ProxyError } from '../../core/errors.js'

/**
 * Takes a bare host name as Databricks Apps set it, and a URL copied from a browser: its path and
 * query are left off. Plaintext is for this machine only. Errors: kind `config`.
 */
export function normalizeHost(text: string, source: string): string {
  const written = text.trim()
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(written) ? written : `https://${written}`
  const url = URL.canParse(withScheme) ? new URL(withScheme) : undefined
  if (url === undefined || !['https:', 'http:'].includes(url.protocol) || url.username !== '') {
    // What stands before an @ may be a password.
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
  if (/^accounts(-dod)?\./.test(url.hostname)) {
    throw new ProxyError('config', `${url.hostname} is the account console, not a workspace`, {
      detail: `It is set by ${source}.`,
      hint: 'Use the address your browser shows while you work in the workspace.',
    })
  }
  return url.origin
}

/** What makes the SDKs count a workspace as Azure's. */
export function isAzureHost(host: string): boolean {
  return /\.(azuredatabricks\.net|databricks\.azure\.(us|cn))$/.test(new URL(host).hostname)
}

export function isLoopback(url: URL): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname)
}
