/** Where clients connect, as far as the settings alone tell: nothing is asked of a running proxy. */

import type { ProxySettings, TargetSettings } from '../../config/resolve/settings.js'
import { inUrl, type LocalAddress, userOf } from '../../observe/connection-lines.js'

export function localAddress(
  target: TargetSettings,
  settings: Pick<ProxySettings, 'localTls'>,
  port = target.port,
): LocalAddress {
  return {
    host: localHost(target.address),
    port,
    database: target.database,
    user: localUser(target),
    userMatters: target.user === 'client',
    tls: settings.localTls !== 'off',
  }
}

function localHost(addresses: readonly string[]): string {
  const wildcard = addresses.includes('::') || addresses.includes('0.0.0.0')
  const both = addresses.includes('127.0.0.1') && addresses.includes('::1')
  return both || wildcard ? 'localhost' : (addresses[0] ?? 'localhost')
}

/** Undefined where only the workspace knows, or only the client. */
function localUser({ user, target }: TargetSettings): string | undefined {
  if (user !== 'identity' && user !== 'client') return user
  return user === 'identity' && target.kind === 'static' ? target.user : undefined
}

export function localUri(address: LocalAddress): string {
  const database = encodeURIComponent(address.database)
  const user = encodeURIComponent(userOf(address))
  const host = inUrl(address.host)
  return `postgresql://${user}@${host}:${address.port}/${database}?sslmode=${sslmodeOf(address)}`
}

/** What libpq's tools and most drivers read, and the variable of our own. */
export function localVariables(address: LocalAddress): Readonly<Record<string, string>> {
  return {
    PGHOST: address.host,
    PGPORT: String(address.port),
    PGUSER: userOf(address),
    PGDATABASE: address.database,
    PGSSLMODE: sslmodeOf(address),
    LAKEBASE_PG_URL: localUri(address),
  }
}

/** Our own certificate is nobody's to verify; on loopback the alternative is no TLS at all. */
export function sslmodeOf({ tls }: LocalAddress): 'require' | 'disable' {
  return tls ? 'require' : 'disable'
}
