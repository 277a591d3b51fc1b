/** `url`: the local address in the form a tool wants. Offline: it says what the settings say. */

import type { TargetSettings } from '../../config/resolve/settings.js'
import { ProxyError } from '../../core/errors.js'
import {
  connectionLines,
  type LocalAddress,
  localAddress,
  localVariables,
  quoted,
  sslmodeOf,
  userOf,
} from '../../observe/connection-lines.js'

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
}

/** Whole lines. Errors: kind `config`, when the settings do not tell the port. */
export function urlText({ format, target }: UrlOptions): string {
  if (target.shownAs.port === 0) {
    throw new ProxyError('config', 'port 0 is a free port, which only the running proxy knows', {
      hint: 'Ask it: lakebase-proxy status',
    })
  }
  const address = localAddress(target)
  switch (format) {
    case 'psql':
    case 'uri':
    case 'jdbc':
    case 'sqlalchemy':
    case 'dbeaver':
      return `${connectionLines(address)[format]}\n`
    case 'env':
      return variableLines(address, (name, value) => `export ${name}=${quoted(value)}`)
    case 'dotenv':
      return variableLines(address, (name, value) => `${name}=${inDotenv(value)}`)
    case 'pgservice':
      return serviceSection(address, serviceName(target))
  }
}

function variableLines(
  address: LocalAddress,
  line: (name: string, value: string) => string,
): string {
  const lines = Object.entries(localVariables(address)).map(([name, value]) => line(name, value))
  return `${lines.join('\n')}\n`
}

/** As dotenv reads it: bare where it can be, else in quotes that the value does not hold. */
function inDotenv(value: string): string {
  if (/^[\w@%+=:,./?&-]+$/.test(value)) return value
  const quote = ["'", '"', '`'].find((each) => !value.includes(each))
  if (quote === undefined || /[\r\n]/.test(value)) {
    throw new ProxyError('config', `a .env file cannot hold ${JSON.stringify(value)}`)
  }
  return `${quote}${value}${quote}`
}

/** https://www.postgresql.org/docs/current/libpq-pgservice.html */
function serviceSection(address: LocalAddress, name: string): string {
  const lines = [
    `[${name}]`,
    `host=${address.host}`,
    `port=${address.port}`,
    `dbname=${address.database}`,
    `user=${userOf(address)}`,
    `sslmode=${sslmodeOf(address)}`,
  ]
  return `${lines.join('\n')}\n`
}

function serviceName({ target }: TargetSettings): string {
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
