/**
 * From what was written to what it means: values parsed, defaults filled in, and what one setting
 * demands of another checked. Reads the files that settings name.
 */

import { quoted } from '../../core/quoted.js'
import type { Values } from '../schema/table.js'
import type { Problems } from '../sources/problems.js'
import type { Source, Written, WrittenTarget } from '../sources/sources.js'
import { checkTarget } from './checks.js'
import type { KnownTarget } from './known-target.js'
import {
  checkListening,
  checkLocalPassword,
  readLocalPassword,
  readLocalTls,
} from './local-access.js'
import { Lookup } from './lookup.js'
import { assignPorts, meet } from './ports.js'
import type { Machine, ProxySettings, TargetSettings } from './settings.js'

export interface ResolveInput {
  /** The strongest first. */
  readonly sources: readonly Source[]
  readonly targets: readonly WrittenTarget[]
  readonly localPassword: Written | undefined
  readonly machine: Machine
}

interface Half {
  readonly known: KnownTarget
  readonly values: Values
}

/** The result is whole only when `problems` stayed empty. */
export function resolveSettings(input: ResolveInput, problems: Problems): ProxySettings {
  const { machine } = input
  const lookup = new Lookup(input.sources, machine.homeDir, problems)
  const values = lookup.values()
  const known = input.targets.map((written) => lookup.target(written))
  const halves = known
    .filter((target) => target !== undefined)
    .map((target) => ({ known: target, values: lookup.values(target) }))

  const localPassword = readLocalPassword(
    lookup,
    values,
    input.localPassword,
    machine.platform,
    problems,
  )
  checkLocalPassword(localPassword, halves, lookup, problems)
  const localTls = readLocalTls(lookup, values, machine.platform, problems)
  const ports = portsOf(halves, lookup, values, problems)
  const names = namesOf(halves, problems)
  const targets = halves.map((half, index) =>
    resolveTarget(half, names[index]!, ports[index]!, lookup, problems),
  )
  const settings = processSettings(values, targets, localPassword, localTls, lookup, machine)
  for (const [index, target] of targets.entries()) {
    const { known, values } = halves[index]!
    const where = lookup.find('address', known)?.where ?? known.written.where
    checkListening(target, settings, where, problems)
    checkTarget(target, known, values, { settings, machine, lookup, problems })
  }
  return deepFreeze(settings)
}

function portsOf(
  halves: readonly Half[],
  lookup: Lookup,
  values: Values,
  problems: Problems,
): readonly number[] {
  const requests = halves.map(({ known, values: own }) => {
    const found = lookup.find('port', known)
    return {
      name: known.name,
      where: found?.where ?? known.written.where,
      address: own.address,
      own: found?.isOwn ? own.port : undefined,
    }
  })
  const ports = assignPorts(requests, values.port, problems)
  const admin = lookup.find('admin-port')
  const clash = ports.indexOf(values['admin-port'])
  if (admin !== undefined && !values['no-admin'] && clash !== -1 && values['admin-port'] !== 0) {
    if (meet(requests[clash]!.address, [values['admin-address']])) {
      const taker = requests[clash]!.name
      problems.add(
        admin.where,
        `admin-port ${values['admin-port']} is the port of target "${taker}" too`,
      )
    }
  }
  return ports
}

/** Names are labels of metrics, so that no two may be the same. */
function namesOf(halves: readonly Half[], problems: Problems): readonly string[] {
  const seen = new Map<string, KnownTarget[]>()
  return halves.map(({ known }) => {
    const earlier = seen.get(known.name) ?? []
    seen.set(known.name, [...earlier, known])
    if (earlier.length === 0) return known.name
    if (earlier.some((other) => optionsOf(other) === optionsOf(known))) {
      problems.add(
        known.written.where,
        `target "${known.name}" is named twice`,
        'Leave one out, or give them different settings: my-instance?read-only&port=5433.',
      )
    }
    return `${known.name}?${optionsOf(known)}`
  })
}

function optionsOf(known: KnownTarget): string {
  return [...known.options]
    .filter(([name]) => name !== 'port')
    .map(([name, { text }]) => `${name}=${text}`)
    .sort()
    .join('&')
}

function resolveTarget(
  { known, values }: Half,
  name: string,
  port: number,
  lookup: Lookup,
  problems: Problems,
): TargetSettings {
  return {
    name,
    target: known.target,
    address: values.address,
    port,
    unixSocket: values['unix-socket'],
    database: values.database,
    user: userOf(known, values, lookup, problems),
    readOnly: values['read-only'],
    group: values.group,
    tokenTtlMs: values['token-ttl'],
    databricksHost: values['databricks-host'],
    profile: values.profile,
    sslmode: values.sslmode,
    sslrootcert: values.sslrootcert,
    hostaddr: values.hostaddr,
    upstreamPort: values['upstream-port'],
    autoStart: values['auto-start'],
    startTimeoutMs: values['start-timeout'],
    maxConnections: values['max-connections'],
    idleTimeoutMs: values['idle-timeout'],
    proxyProtocolFrom:
      values['proxy-protocol'] === 'on' ? values['proxy-protocol-from'] : undefined,
    localAuth: values['local-auth'],
    warm: values.warm,
    warmTtlMs: values['warm-ttl'],
  }
}

/** A group's token logs in as the group's role and no other. */
function userOf(known: KnownTarget, values: Values, lookup: Lookup, problems: Problems): string {
  const { group, user } = values
  if (group === undefined || group === user || known.target.kind === 'static') return user
  const writtenUser = lookup.find('user', known)
  if (writtenUser !== undefined && writtenUser.rank <= lookup.find('group', known)!.rank) {
    problems.add(
      writtenUser.where,
      `user ${quoted(user, 'that was set')} cannot log in with the token of group ${quoted(group, 'that was set')}`,
      "Leave user out: with group it is the group's role.",
    )
  }
  return group
}

function processSettings(
  values: Values,
  targets: readonly TargetSettings[],
  localPassword: ProxySettings['localPassword'],
  localTls: ProxySettings['localTls'],
  lookup: Lookup,
  machine: Machine,
): ProxySettings {
  return {
    targets,
    resolver: values.resolver ?? [],
    connectTimeoutMs: values['connect-timeout'],
    wakeTimeoutMs: values['wake-timeout'],
    handshakeTimeoutMs: values['handshake-timeout'],
    drainTimeoutMs: values['drain-timeout'],
    drainDelayMs: values['drain-delay'],
    unreadyWhenFull: values['unready-when-full'],
    localPassword,
    localTls,
    unsafeListen: values['unsafe-listen'],
    admin: values['no-admin']
      ? undefined
      : {
          address: values['admin-address'],
          port: values['admin-port'],
          portIsDefault: lookup.find('admin-port') === undefined,
          host: values['admin-host'],
        },
    logLevel: values['log-level'],
    logFormat: values['log-format'] ?? (machine.isTerminal ? 'pretty' : 'json'),
    quiet: values.quiet,
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const each of Object.values(value)) deepFreeze(each)
  }
  return value
}
