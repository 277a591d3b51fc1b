/** Where to connect, in the form each tool wants it: lines to copy that work as they are. */

export interface LocalAddress {
  /** A name, an address, or the folder of a Unix socket. */
  host: string
  port: number
  database: string
  /** The role that sessions log in as, or are likely to, where known. */
  user: string | undefined
  /** The client must name the role: the proxy logs in as whom it names. */
  userMatters: boolean
  tls: boolean
}

export interface ConnectionLines {
  readonly psql: string
  readonly jdbc: string
  readonly sqlalchemy: string
  /** For DBeaver's command line: https://dbeaver.com/docs/dbeaver/Command-Line/ */
  readonly dbeaver: string
}

export function connectionLines(address: LocalAddress): ConnectionLines {
  return {
    psql: psql(address),
    jdbc: jdbc(address),
    sqlalchemy: sqlalchemy(address),
    dbeaver: dbeaver(address),
  }
}

function psql(address: LocalAddress): string {
  const { host, port, database, userMatters, tls } = address
  const parts = ['psql', '-h', quoted(host), '-p', String(port)]
  if (userMatters) parts.push('-U', quoted(userOf(address)))
  parts.push('-d', quoted(tls ? `dbname=${inConninfo(database)} sslmode=require` : database))
  return parts.join(' ')
}

function jdbc(address: LocalAddress): string {
  const { host, port, database, tls } = address
  const query = new URLSearchParams()
  query.set('user', userOf(address))
  query.set('sslmode', tls ? 'require' : 'disable')
  return `jdbc:postgresql://${inUrl(host)}:${port}/${encodeURIComponent(database)}?${query}`
}

function sqlalchemy(address: LocalAddress): string {
  const { host, port, database, tls } = address
  const role = encodeURIComponent(userOf(address))
  const query = tls ? '?sslmode=require' : ''
  return `postgresql+psycopg://${role}@${inUrl(host)}:${port}/${encodeURIComponent(database)}${query}`
}

function dbeaver(address: LocalAddress): string {
  const { host, port, database, tls } = address
  const facts = [
    'driver=postgresql',
    `host=${host}`,
    `port=${port}`,
    `database=${database}`,
    `user=${userOf(address)}`,
    'name=Lakebase',
    'savePassword=true',
    ...(tls ? ['prop.sslmode=require'] : []),
  ]
  return `dbeaver -con ${quoted(facts.join('|'))}`
}

/** Any name will do, but drivers' own default is the operating system's user, which a container may lack. */
export function userOf({ user, userMatters }: LocalAddress): string {
  return user ?? (userMatters ? 'ROLE' : 'any')
}

/** An IPv6 address in brackets. */
export function inUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

function inConninfo(value: string): string {
  return /^[\w.-]+$/.test(value) ? value : `'${value.replace(/['\\]/g, '\\$&')}'`
}

/** As one word of a POSIX shell. */
export function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
