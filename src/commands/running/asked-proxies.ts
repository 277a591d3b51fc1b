/**
 * Which running proxies a command means: the one at the admin port or socket that is set, else those
 * of this user that run now (all, or those that serve TARGET), else the one at the default port.
 */

import { resolve } from 'node:path'

import type { Config } from '../../config/resolve/config.js'
import type { ProxySettings } from '../../config/resolve/settings.js'
import { SETTINGS, variableOf } from '../../config/schema/table.js'
import { ProxyError } from '../../core/errors.js'
import { type Invocation, readOption } from '../invocation/command.js'
import { AdminClient, adminAddress } from './admin-client.js'
import { type RunningFile, runningProxies } from './running-proxies.js'
import { servedAs } from './served-as.js'

export interface AskedProxy {
  /** Undefined for a proxy without an admin interface. */
  readonly client: AdminClient | undefined
  /** Undefined when there is no file: the proxy belongs to another user, or has yet to start. */
  readonly file: RunningFile | undefined
}

/**
 * At least one. A broken `.env` or settings file matters only when nothing else says where to ask.
 * Errors: kind `config`, and kind `target` when no running proxy serves TARGET.
 */
export async function askedProxies(invocation: Invocation): Promise<readonly AskedProxy[]> {
  const named = namedAddress(invocation)
  if (named !== undefined) return [at(named)]
  const [target] = invocation.operands
  const running = await runningProxies(invocation.surroundings)
  if (target !== undefined) {
    const serving = running.filter(({ targets }) => servedAs(targets, target).length > 0)
    if (serving.length > 0) return serving.map(ofFile)
    const served = running.flatMap(({ targets }) => targets.map(({ name }) => name))
    throw new ProxyError('target', `no running lakebase-proxy of yours serves "${target}"`, {
      hint:
        served.length === 0
          ? `Start one with: lakebase-proxy ${target}`
          : `Those that run serve: ${[...new Set(served)].join(', ')}.`,
    })
  }
  const configured = await configuredAdmin(invocation)
  if (isSetByHand(configured.admin)) return [at(adminAddress(configured.admin))]
  if (running.length > 0) return running.map(ofFile)
  if (configured.problem !== undefined) throw configured.problem
  return [at(adminAddress(configured.admin))]
}

/** For a command that may touch one proxy only. Errors: kind `config`, when several match. */
export function onlyOne(
  found: readonly AskedProxy[],
  command: string,
  target: string | undefined,
): AskedProxy {
  const [first, ...others] = found
  if (first !== undefined && others.length === 0) return first
  const lines = found.map((each) => `\n  ${describe(each)}`)
  const by =
    target === undefined
      ? `lakebase-proxy ${command} TARGET, or --admin-port PORT`
      : `lakebase-proxy ${command} --admin-port PORT`
  throw new ProxyError('config', `${found.length} proxies are running:${lines.join('')}`, {
    hint: `Name one: ${by}; or take all of them with --all.`,
  })
}

/** Errors: kind `config`, for a proxy without an admin interface. */
export function clientOf({ client, file }: AskedProxy): AdminClient {
  if (client !== undefined) return client
  throw new ProxyError('config', 'the running proxy has no admin port to be asked at', {
    hint: `Start it without no-admin. To stop it: kill ${file?.process.pid}`,
  })
}

/** `demo-instance at localhost:5432 (pid 812, http://127.0.0.1:9187)`. */
export function describe({ client, file }: AskedProxy): string {
  if (file === undefined) return client?.address ?? 'lakebase-proxy'
  const targets = file.targets.map(
    ({ name, address }) => `${name} at ${address.host}:${address.port}`,
  )
  const admin = file.admin === undefined ? 'no admin port' : file.admin
  return `${targets.join(', ')} (pid ${file.process.pid}, ${admin})`
}

function at(address: string): AskedProxy {
  return { client: new AdminClient(address), file: undefined }
}

function ofFile(file: RunningFile): AskedProxy {
  const { admin, process } = file
  return { client: admin === undefined ? undefined : new AdminClient(admin, process.pid), file }
}

/** The address from a flag or variable, for which no file need be read. */
function namedAddress({ flags, surroundings }: Invocation): string | undefined {
  const texts = new Map<string, string>()
  for (const name of ['admin-port', 'admin-address', 'admin-socket'] as const) {
    const text = flags.get(name) ?? surroundings.env[variableOf(name)] ?? ''
    if (text !== '') texts.set(name, text)
  }
  const socket = readOption(texts, 'admin-socket', SETTINGS['admin-socket'].kind)
  if (socket !== undefined) return resolve(surroundings.machine.cwd, socket)
  const port = readOption(texts, 'admin-port', SETTINGS['admin-port'].kind)
  if (port === undefined || (port === 0 && !flags.has('admin-port'))) return undefined
  const { kind, default: byDefault } = SETTINGS['admin-address']
  const address = readOption(texts, 'admin-address', kind) ?? byDefault
  return adminAddress({ address, port, portIsDefault: false, host: undefined })
}

function isSetByHand(admin: ProxySettings['admin']): boolean {
  if (admin === undefined) return false
  return 'socket' in admin || (!admin.portIsDefault && admin.port !== 0)
}

async function configuredAdmin({
  loadConfig,
}: Invocation): Promise<{ admin?: Config['settings']['admin']; problem?: ProxyError }> {
  try {
    const config = await loadConfig({ targets: [], targetOptional: true, notice() {} })
    return { admin: config.settings.admin }
  } catch (error) {
    if (!(error instanceof ProxyError && error.kind === 'config')) throw error
    return { problem: error }
  }
}
