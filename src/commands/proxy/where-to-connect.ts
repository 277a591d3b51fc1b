/**
 * Which address `url` prints: that of the running proxy that serves the target, in the workspace that
 * the settings mean, else what the settings say. An address that leads to another database than the
 * one that is asked for is not printed.
 */

import type { Config } from '../../config/resolve/config.js'
import type { TargetSettings } from '../../config/resolve/settings.js'
import type { Target } from '../../config/schema/target-text.js'
import { parseTarget } from '../../config/schema/targets.js'
import { ProxyError } from '../../core/errors.js'
import { didYouMean } from '../../core/nearest.js'
import { oneLine } from '../../core/plain-text.js'
import { stateDir } from '../../daemon/state-dir.js'
import { caFileIn } from '../../listener/local-authority.js'
import { nextFreePort } from '../../listener/port-holder.js'
import { type LocalAddress, localAddress } from '../../observe/connection-lines.js'
import type { Invocation } from '../invocation/command.js'
import { type OneTarget, oneTarget } from '../invocation/one-target.js'
import { type AnnouncedTarget, ownerOf, runningProxies } from '../running/running-proxies.js'
import { isOfWorkspace, servedAs } from '../running/served-as.js'

interface Place {
  readonly name: string
  readonly target: Target
  readonly address: LocalAddress
}

/** A target of a running proxy, and the process that serves it. */
type Served = AnnouncedTarget & { readonly pid: number }

/**
 * Errors: kind `config`, when the settings are wrong, or several running proxies may be meant; kind `target`
 * when a proxy of other targets holds the port.
 */
export async function whereToConnect(invocation: Invocation): Promise<Place> {
  const { operands, flags, surroundings } = invocation
  const [named] = operands
  const proxies = await runningProxies(surroundings)
  const running = proxies.flatMap(({ targets, process: { pid } }) =>
    targets.map((target) => ({ ...target, pid })),
  )
  const asked = await oneTarget(invocation).catch((error: unknown) => {
    if (error instanceof ProxyError && error.kind === 'config') return error
    throw error
  })
  if (asked instanceof ProxyError) return withoutSettings(invocation, running, asked)

  const { config, target } = asked
  const address = addressOf(asked, invocation)
  if (flags.has('address')) return { ...target, address }
  const served = servedAs(running, target.name)
  const host = served.some(({ workspace }) => workspace !== undefined)
    ? await workspaceOf(config, target, invocation)
    : undefined
  const here = served.filter((each) => isOfWorkspace(each, host))
  const atPort = here.filter((each) => each.address.port === address.port)
  // A flag says what is meant, whether it runs or not.
  const [found, ...others] = atPort.length > 0 || flags.has('port') ? atPort : here
  if (found === undefined) {
    const elsewhere = served.find((each) => !here.includes(each))
    const why = elsewhere && ofAnotherWorkspace(elsewhere, host!)
    const holder = ownerOf(address.port, proxies)
    if (holder !== undefined) {
      const message = why ?? `no running lakebase-proxy serves "${target.name}"`
      throw await held(message, address.port, holder.names, didYouMeanOne(target.name, running))
    }
    if (why !== undefined) {
      const notice = `${why}; this is the address that a proxy of these settings would have.`
      surroundings.stderr.write(`Notice: ${oneLine(notice)}\n`)
    }
    return { ...target, address }
  }
  if (others.length > 0) throw several(target.name, [found, ...others])
  // What chooses the role or the target, the running proxy decides; a database may be asked for.
  const asksForDatabase = flags.has('database') || named?.includes('?') === true
  const { user, userMatters } = found.address.userMatters ? found.address : address
  const { database } = asksForDatabase ? address : found.address
  return { ...target, address: { ...found.address, user, userMatters, database } }
}

function addressOf({ config, target }: OneTarget, { surroundings }: Invocation): LocalAddress {
  const { env, machine } = surroundings
  const isOwn = config.settings.localTls === 'auto'
  const caFile = isOwn ? caFileIn(stateDir(env, machine.homeDir)) : undefined
  return localAddress(target, { caFile })
}

/** Where the settings name no target, or are wrong: the only one that runs can be meant. */
async function withoutSettings(
  invocation: Invocation,
  running: readonly Served[],
  error: ProxyError,
): Promise<Place> {
  const [named] = invocation.operands
  const served = named === undefined ? running : servedAs(running, named)
  const host = await workspaceWithoutTarget(invocation)
  const candidates = served.filter((each) => isOfWorkspace(each, host))
  const [found, ...others] = candidates
  if (found !== undefined && others.length === 0) {
    return { ...found, target: parseTarget(found.name).target }
  }
  if (candidates.length === 0 || error.hint === undefined) throw error
  const names = [...new Set(candidates.map(({ name }) => name))].join(', ')
  throw new ProxyError('config', error.message, {
    hint: `Those that run serve: ${names}. ${error.hint}`,
    cause: error,
  })
}

async function workspaceWithoutTarget(invocation: Invocation): Promise<string | undefined> {
  try {
    const config = await invocation.loadConfig({ targets: [], targetOptional: true, notice() {} })
    return await workspaceOf(config, config.signIn, invocation)
  } catch (error) {
    if (error instanceof ProxyError && error.kind === 'config') return undefined
    throw error
  }
}

/** Its URL, which is read and not asked; undefined where none is named. Errors: kind `config`. */
async function workspaceOf(
  { databricksEnv: env }: Config,
  named: Pick<TargetSettings, 'databricksHost' | 'profile'>,
  { surroundings }: Invocation,
): Promise<string | undefined> {
  const { homeDir } = surroundings.machine
  const [{ SIGN_IN_ATTRIBUTES: attributes }, { resolveDatabricksConfig }] = await Promise.all([
    import('../../databricks/sign-in/auth.js'),
    import('../../databricks/sign-in/databricks-config.js'),
  ])
  const { databricksHost, profile } = named
  return (await resolveDatabricksConfig({ attributes, env, homeDir, databricksHost, profile })).host
}

function several(name: string, served: readonly Served[]): ProxyError {
  const lines = served.map(
    (each) => `\n  ${each.name} at ${each.address.host}:${each.address.port} (pid ${each.pid})`,
  )
  const names = [...new Set(served.map((each) => each.name))]
  const { port } = served[0]!.address
  const message = `${served.length} running targets are called "${name}":${lines.join('')}`
  return new ProxyError('config', message, {
    hint:
      names.length > 1
        ? `Name one of them: ${names.join(', ')}.`
        : `Name one by its port: lakebase-proxy url ${name} --port ${port}`,
  })
}

function ofAnotherWorkspace({ name, pid, address, workspace }: Served, host: string): string {
  return `the running "${name}" (pid ${pid}, port ${address.port}) is of ${workspace}, not of ${host}`
}

function didYouMeanOne(name: string, running: readonly Served[]): string | undefined {
  return didYouMean(
    name,
    running.flatMap((each) => [each.name, each.text ?? each.name]),
  )
}

/** The address would lead to another database than the one that is asked for. */
async function held(
  message: string,
  port: number,
  names: string,
  meant: string | undefined,
): Promise<ProxyError> {
  const free = await nextFreePort(port)
  const start = free === undefined ? [] : [`Start one that serves it with --port ${free}.`]
  return new ProxyError('target', `${message}, and ${port} is held by one that serves ${names}`, {
    hint: [...(meant === undefined ? [] : [meant]), ...start].join(' ') || undefined,
  })
}
