/** Where to connect, in the form each tool wants it: lines to copy that work as they are. */

import { likelyRoleOf } from '../config/resolve/login.js'
import type { TargetSettings } from '../config/resolve/settings.js'

export interface LocalAddress {
  host: string
  port: number
  database: string
  /** The user name to type: it chooses the target, or is the role that sessions are likely to log in as. */
  user?: string | undefined
  /** The client must send this user name: it chooses the role or the target. */
  userMatters: boolean
  sslmode: 'disable' | 'require' | 'verify-full'
  /** The CA of the proxy's certificate, where it is known. */
  sslrootcert?: string | undefined
}

/** `known`: what only a running proxy can tell. */
export function localAddress(
  target: TargetSettings,
  known: {
    readonly port?: number
    readonly identity?: string | undefined
    readonly caFile?: string | undefined
  } = {},
): LocalAddress {
  const { user: choice, ...shown } = target.shownAs
  const role = likelyRoleOf(target, known.identity)
  // Each client names the role: `token` stands for the person whose token the password is.
  const isClients = target.login.as === 'client' || target.login.as === 'person'
  const chosen = isClients ? `${role ?? 'ROLE'}~${choice}` : choice
  return {
    ...shown,
    ...(known.port === undefined ? {} : { port: known.port }),
    ...(shown.sslmode === 'verify-full' ? { sslrootcert: known.caFile } : {}),
    database: target.database,
    user: choice === undefined ? role : chosen,
    userMatters: isClients || choice !== undefined,
  }
}

export interface ConnectionLines {
  readonly psql: string
  readonly uri: string
  readonly jdbc: string
  readonly sqlalchemy: string
  /** For DBeaver's command line: https://dbeaver.com/docs/dbeaver/Command-Line/ */
  readonly dbeaver: string
  readonly fields: ConnectionFields
}

/** What the dialogs of graphical tools ask for. */
export interface ConnectionFields {
  readonly host: string
  readonly port: string
  readonly database: string
  readonly username: string
}

export function connectionLines(address: LocalAddress): ConnectionLines {
  return {
    psql: psql(address),
    uri: uri(address),
    jdbc: jdbc(address),
    sqlalchemy: sqlalchemy(address),
    dbeaver: dbeaver(address),
    fields: {
      host: address.host,
      port: String(address.port),
      database: address.database,
      username: userOf(address),
    },
  }
}

function psql(address: LocalAddress): string {
  const { host, port, database, userMatters } = address
  const parts = ['psql', '-h', shellWord(host), '-p', String(port)]
  if (userMatters) parts.push('-U', shellWord(userOf(address)))
  const tls = tlsOf(address).map(([name, value]) => ` ${name}=${inConninfo(value)}`)
  const conninfo = `dbname=${inConninfo(database)}${tls.join('')}`
  parts.push('-d', shellWord(tls.length === 0 ? database : conninfo))
  return parts.join(' ')
}

function jdbc(address: LocalAddress): string {
  const { host, port, database } = address
  const query = new URLSearchParams([['user', userOf(address)], ...sslOf(address)])
  return `jdbc:postgresql://${inUrl(host)}:${port}/${encodeURIComponent(database)}?${query}`
}

function sqlalchemy(address: LocalAddress): string {
  const { host, port, database } = address
  const role = encodeURIComponent(userOf(address))
  const query = tlsOf(address).map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
  const place = `${role}@${inUrl(host)}:${port}/${encodeURIComponent(database)}`
  return ['postgresql+psycopg://', place, query.length === 0 ? '' : '?', query.join('&')].join('')
}

function dbeaver(address: LocalAddress): string {
  const { host, port, database } = address
  const facts = [
    'driver=postgresql',
    `host=${host}`,
    `port=${port}`,
    `database=${database}`,
    `user=${userOf(address)}`,
    'name=Lakebase',
    'savePassword=true',
    ...tlsOf(address).map(([name, value]) => `prop.${name}=${value}`),
  ]
  return `dbeaver -con ${shellWord(facts.join('|'))}`
}

function uri(address: LocalAddress): string {
  const database = encodeURIComponent(address.database)
  const user = encodeURIComponent(userOf(address))
  const host = inUrl(address.host)
  const query = sslOf(address).map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
  return `postgresql://${user}@${host}:${address.port}/${database}?${query.join('&')}`
}

/** What libpq's tools and most drivers read, and the variable of our own. */
export function localVariables(address: LocalAddress): Readonly<Record<string, string>> {
  return {
    PGHOST: address.host,
    PGPORT: String(address.port),
    PGUSER: userOf(address),
    PGDATABASE: address.database,
    ...Object.fromEntries(
      sslOf(address).map(([name, value]) => [`PG${name.toUpperCase()}`, value]),
    ),
    LAKEBASE_PG_URL: uri(address),
  }
}

/** libpq's parameters, which pgjdbc, psycopg, pgx and others share. */
export function sslOf({ sslmode, sslrootcert }: LocalAddress): [name: string, value: string][] {
  const mode: [string, string] = ['sslmode', sslmode]
  return sslrootcert === undefined ? [mode] : [mode, ['sslrootcert', sslrootcert]]
}

/** The parameters for TLS. Empty without TLS, for tools that then use none by themselves. */
function tlsOf(address: LocalAddress): [name: string, value: string][] {
  return address.sslmode === 'disable' ? [] : sslOf(address)
}

/**
 * The user name to type. Where any name is accepted it is still given, since drivers default to the
 * operating system's user, which a container may lack.
 */
export function userOf({ user, userMatters }: LocalAddress): string {
  return user ?? (userMatters ? 'ROLE' : 'any')
}

/** An IPv6 address in brackets. */
function inUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

function inConninfo(value: string): string {
  return /^[\w./-]+$/.test(value) ? value : `'${value.replace(/['\\]/g, '\\$&')}'`
}

/** As one word of a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
