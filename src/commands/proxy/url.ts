/**
 * `url`: the local address in the form a tool wants: that of the running proxy of this user that
 * serves the target, else what the settings say. The workspace is not asked.
 */

import type { Target } from '../../config/schema/target-text.js'
import { ProxyError } from '../../core/errors.js'
import {
  connectionLines,
  type LocalAddress,
  localVariables,
  shellWord,
  sslOf,
  userOf,
} from '../../observe/connection-lines.js'
import type { Invocation } from '../invocation/command.js'
import { whereToConnect } from './where-to-connect.js'

/** The choices of `--format`. */
type UrlFormat = 'psql' | 'uri' | 'env' | 'dotenv' | 'jdbc' | 'sqlalchemy' | 'pgservice' | 'dbeaver'

/** Whole lines. Errors: those of `whereToConnect`, and kind `config` for port 0. */
export async function printUrl(invocation: Invocation): Promise<number> {
  const { surroundings, options } = invocation
  const format = options.get('format') as UrlFormat
  const { name, target, address } = await whereToConnect(invocation)
  if (address.port === 0) {
    throw new ProxyError('config', 'port 0 is a free port, which only the running proxy knows', {
      hint: `Start it, and ask again: lakebase-proxy ${name} --port 0`,
    })
  }
  surroundings.stdout.write(urlText({ format, target, address }))
  return 0
}

interface UrlOptions {
  readonly format: UrlFormat
  readonly target: Target
  readonly address: LocalAddress
}

function urlText({ format, target, address }: UrlOptions): string {
  switch (format) {
    case 'psql':
    case 'uri':
    case 'jdbc':
    case 'sqlalchemy':
    case 'dbeaver':
      return `${connectionLines(address)[format]}\n`
    case 'env':
      return variableLines(address, (name, value) => `export ${name}=${shellWord(value)}`)
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
    ...sslOf(address).map(([name, value]) => `${name}=${value}`),
  ]
  return `${lines.join('\n')}\n`
}

function serviceName(target: Target): string {
  switch (target.kind) {
    case 'provisioned':
      return target.instance
    case 'autoscaling':
      return [target.project, target.branch, target.endpoint].filter(Boolean).join('-')
    case 'branches':
      return target.project
    case 'host':
    case 'static':
      return /^[0-9.:]+$/.test(target.host) ? target.host : target.host.split('.')[0]!
  }
}
