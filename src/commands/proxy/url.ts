/**
 * `url`: the local address in the form a tool wants: that of the running proxy of this user that
 * serves the target, else what the settings say. The workspace is not asked.
 */

import type { Target } from '../../config/schema/target-text.js'
import { parseTarget } from '../../config/schema/targets.js'
import { ProxyError } from '../../core/errors.js'
import { stateDir } from '../../daemon/state-dir.js'
import { caFileIn } from '../../listener/local-authority.js'
import {
  connectionLines,
  type LocalAddress,
  localAddress,
  localVariables,
  shellWord,
  sslOf,
  userOf,
} from '../../observe/connection-lines.js'
import type { Invocation } from '../invocation/command.js'
import { oneTarget } from '../invocation/one-target.js'
import type { AnnouncedTarget } from '../running/announcement.js'
import { runningProxies } from '../running/running-proxies.js'
import { servedAs } from '../running/served-as.js'

/** The choices of `--format`. */
type UrlFormat = 'psql' | 'uri' | 'env' | 'dotenv' | 'jdbc' | 'sqlalchemy' | 'pgservice' | 'dbeaver'

/** Whole lines. Errors: kind `config`, when neither a running proxy nor the settings tell the port. */
export async function printUrl(invocation: Invocation): Promise<number> {
  const { surroundings, options } = invocation
  const format = options.get('format') as UrlFormat
  const running = (await runningProxies(surroundings)).flatMap(({ targets }) => targets)
  const { name, target, address } = await whereToConnect(invocation, running)
  if (address.port === 0) {
    throw new ProxyError('config', 'port 0 is a free port, which only the running proxy knows', {
      hint: `Start it, and ask again: lakebase-proxy ${name} --port 0`,
    })
  }
  surroundings.stdout.write(urlText({ format, target, address }))
  return 0
}

interface Place {
  readonly name: string
  readonly target: Target
  readonly address: LocalAddress
}

async function whereToConnect(
  invocation: Invocation,
  running: readonly AnnouncedTarget[],
): Promise<Place> {
  const { operands, flags } = invocation
  const [named] = operands
  try {
    const { config, target } = await oneTarget(invocation)
    const { env, machine } = invocation.surroundings
    const isOwn = config.settings.localTls === 'auto'
    const caFile = isOwn ? caFileIn(stateDir(env, machine.homeDir)) : undefined
    const address = localAddress(target, { caFile })
    const served = servedAs(running, target.name)
    const exact = served.find((each) => each.address.port === address.port)
    // A flag says what is meant, whether it runs or not.
    const elsewhere = flags.has('port') ? undefined : onlyOf(served)
    const found = flags.has('address') ? undefined : (exact ?? elsewhere)
    if (found === undefined) return { ...target, address }
    // What chooses the role or the target, the running proxy decides; a database may be asked for.
    const asksForDatabase = flags.has('database') || named?.includes('?') === true
    const { user, userMatters } = found.address.userMatters ? found.address : address
    const { database } = asksForDatabase ? address : found.address
    return { ...target, address: { ...found.address, user, userMatters, database } }
  } catch (error) {
    if (!(error instanceof ProxyError && error.kind === 'config')) throw error
    const candidates = named === undefined ? running : servedAs(running, named)
    const found = onlyOf(candidates)
    if (found !== undefined) return { ...found, target: parseTarget(found.name).target }
    if (candidates.length === 0 || error.hint === undefined) throw error
    const names = [...new Set(candidates.map(({ name }) => name))].join(', ')
    throw new ProxyError('config', error.message, {
      hint: `Those that run serve: ${names}. ${error.hint}`,
      cause: error,
    })
  }
}

function onlyOf(targets: readonly AnnouncedTarget[]): AnnouncedTarget | undefined {
  return targets.length === 1 ? targets[0] : undefined
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
