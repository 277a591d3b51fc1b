/** Where clients connect, as far as the settings alone tell: nothing is asked of a running proxy. */

import type { ProxySettings, TargetSettings } from '../config/settings.js'

export interface LocalAddress {
  readonly host: string
  readonly port: number
  readonly database: string
  /** Undefined with `user: client`, where it is the client that knows. */
  readonly user: string | undefined
  readonly sslmode: 'disable' | 'require'
}

/** With `user: identity` the proxy takes any name; but there must be one, for libpq to be content. */
const ANY_USER = 'lakebase'

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
    sslmode: settings.localTls === 'off' ? 'disable' : 'require',
  }
}

function localHost(addresses: readonly string[]): string {
  const wildcard = addresses.includes('::') || addresses.includes('0.0.0.0')
  const both = addresses.includes('127.0.0.1') && addresses.includes('::1')
  return both || wildcard ? 'localhost' : (addresses[0] ?? 'localhost')
}

function localUser({ user, target }: TargetSettings): string | undefined {
  if (user === 'client') return undefined
  if (user !== 'identity') return user
  return target.kind === 'static' ? target.user : ANY_USER
}

/** `postgresql://…`, and with a driver `postgresql+psycopg://…`. */
export function localUri(address: LocalAddress, scheme = 'postgresql'): string {
  const user = address.user === undefined ? '' : `${encodeURIComponent(address.user)}@`
  const database = encodeURIComponent(address.database)
  return `${scheme}://${user}${authority(address)}/${database}?sslmode=${address.sslmode}`
}

/** `host:port`, an IPv6 address in brackets. */
export function authority({ host, port }: Pick<LocalAddress, 'host' | 'port'>): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** What libpq's tools and most drivers read, and the variable of our own. */
export function localVariables(address: LocalAddress): Readonly<Record<string, string>> {
  return {
    PGHOST: address.host,
    PGPORT: String(address.port),
    ...(address.user === undefined ? {} : { PGUSER: address.user }),
    PGDATABASE: address.database,
    PGSSLMODE: address.sslmode,
    LAKEBASE_PG_URL: localUri(address),
  }
}
