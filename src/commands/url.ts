/** `url`: the local address in the form a tool wants. Offline: it says what the settings say. */

import type { ProxySettings, TargetSettings } from '../config/settings.js'
import { ProxyError } from '../errors.js'
import {
  authority,
  type LocalAddress,
  localAddress,
  localUri,
  localVariables,
} from './local-address.js'

export const URL_FORMATS = [
  'psql',
  'uri',
  'env',
  'dotenv',
  'jdbc',
  'sqlalchemy',
  'pgservice',
  'dbeaver',
] as const

export type UrlFormat = (typeof URL_FORMATS)[number]

export interface UrlOptions {
  readonly format: UrlFormat
  readonly target: TargetSettings
  readonly settings: Pick<ProxySettings, 'localTls'>
}

/** Whole lines. Errors: kind `config`, when the settings do not tell the port. */
export function urlText({ format, target, settings }: UrlOptions): string {
  if (target.port === 0) {
    throw new ProxyError('config', 'port 0 is a free port, which only the running proxy knows', {
      hint: 'Ask it: lakebase-proxy status',
    })
  }
  return formatAddress(format, localAddress(target, settings), shortName(target))
}

/** `name` is what the connection is called in the tools that name theirs. */
export function formatAddress(format: UrlFormat, address: LocalAddress, name: string): string {
  switch (format) {
    case 'psql':
      return `${psqlCommand(address)}\n`
    case 'uri':
      return `${localUri(address)}\n`
    case 'sqlalchemy':
      return `${localUri(address, 'postgresql+psycopg')}\n`
    case 'jdbc':
      return `${jdbcUrl(address)}\n`
    case 'env':
      return variableLines(address, (key, value) => `export ${key}=${shellWord(value)}`)
    case 'dotenv':
      return variableLines(address, (key, value) => `${key}=${dotenvWord(value)}`)
    case 'pgservice':
      return serviceSection(address, name)
    case 'dbeaver':
      return `${dbeaverCommand(address, name)}\n`
  }
}

export function psqlCommand({ host, port, user, database }: LocalAddress): string {
  const words = ['psql', '-h', host, '-p', String(port)]
  if (user !== undefined) words.push('-U', user)
  return [...words, '-d', database].map(shellWord).join(' ')
}

export function jdbcUrl(address: LocalAddress): string {
  const user = address.user === undefined ? '' : `user=${encodeURIComponent(address.user)}&`
  const database = encodeURIComponent(address.database)
  return `jdbc:postgresql://${authority(address)}/${database}?${user}sslmode=${address.sslmode}`
}

function variableLines(
  address: LocalAddress,
  line: (key: string, value: string) => string,
): string {
  const lines = Object.entries(localVariables(address)).map(([key, value]) => line(key, value))
  return `${lines.join('\n')}\n`
}

/** https://www.postgresql.org/docs/current/libpq-pgservice.html */
function serviceSection(address: LocalAddress, name: string): string {
  const { host, port, database, user, sslmode } = address
  const lines = [`[${name}]`, `host=${host}`, `port=${port}`, `dbname=${database}`]
  if (user !== undefined) lines.push(`user=${user}`)
  return `${[...lines, `sslmode=${sslmode}`].join('\n')}\n`
}

/** https://dbeaver.com/docs/dbeaver/Command-Line/#connection-parameters */
function dbeaverCommand(address: LocalAddress, name: string): string {
  const { host, port, database, user, sslmode } = address
  const parameters = [
    'driver=postgresql',
    `name=${name}`,
    `host=${host}`,
    `port=${port}`,
    `database=${database}`,
    ...(user === undefined ? [] : [`user=${user}`]),
    // There is no password to ask for.
    'savePassword=true',
    `prop.sslmode=${sslmode}`,
    'connect=true',
  ]
  return `dbeaver -con ${shellWord(parameters.join('|'))}`
}

function shortName({ target }: TargetSettings): string {
  switch (target.kind) {
    case 'provisioned':
      return target.instance
    case 'autoscaling':
      return [target.project, target.branch, target.endpoint].filter(Boolean).join('-')
    case 'host':
    case 'static':
      return /^[0-9.:]+$/.test(target.host) ? target.host : target.host.split('.')[0]!
  }
}

function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

/** As dotenv reads it: bare where it can be, else in the quotes that the value does not hold. */
function dotenvWord(word: string): string {
  if (/^[\w@%+=:,./?&-]+$/.test(word)) return word
  const quote = ["'", '"', '`'].find((each) => !word.includes(each))
  if (quote === undefined || word.includes('\n')) {
    throw new ProxyError('config', `.env cannot hold the value ${JSON.stringify(word)}`)
  }
  return `${quote}${word}${quote}`
}
