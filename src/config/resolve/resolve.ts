/**
 * Turns the written settings into decisions: parses values, fills in defaults, and checks that the
 * settings fit together. Reads the files that settings name. Called once per start and reload.
 */

import { plainSettings } from '../schema/setting-keys.js'
import type { SettingName, Values } from '../schema/table.js'
import type { Problems } from '../sources/problems.js'
import type { Source, Written, WrittenTarget } from '../sources/sources.js'
import { checkAdminSocket, checkTarget } from './checks.js'
import type { KnownTarget } from './known-target.js'
import {
  checkListening,
  checkLocalPassword,
  checkPersonal,
  readLocalPassword,
  readLocalTls,
} from './local-access.js'
import { loginOf } from './login.js'
import { followGitOf, newBranchOf } from './new-branch.js'
import { addressesClash, assignPorts } from './ports.js'
import { checkRouting, namesOf, reachOf } from './routing.js'
import { SettingLookup } from './setting-lookup.js'
import type { Machine, ProxySettings, TargetSettings } from './settings.js'
import { shownAs } from './shown-as.js'

export interface ResolveInput {
  /** The strongest first. */
  readonly sources: readonly Source[]
  readonly targets: readonly WrittenTarget[]
  readonly localPassword: Written | undefined
  readonly machine: Machine
}

/** A target whose settings are looked up and not yet decided. */
interface LookedUpTarget {
  readonly known: KnownTarget
  readonly values: Values
}

/** The result is whole only when `problems` stayed empty. */
export function resolveSettings(input: ResolveInput, problems: Problems): ProxySettings {
  const { machine } = input
  const lookup = new SettingLookup(input.sources, machine.homeDir, problems)
  const values = lookup.values()
  const known = input.targets.map((written) => lookup.target(written))
  const lookedUp = known
    .filter((target) => target !== undefined)
    .map((target) => ({ known: target, values: lookup.values(target) }))

  const localPassword = readLocalPassword(
    lookup,
    values,
    input.localPassword,
    machine.platform,
    problems,
  )
  checkLocalPassword(localPassword, lookedUp, lookup, problems)
  const localTls = readLocalTls(lookup, values, machine.platform, problems)
  const names = namesOf(lookedUp, lookup, problems)
  const reach = lookedUp.map((target, index) => reachOf(target, index, values, lookup))
  const listening = lookedUp.filter((_, index) => reach[index] !== 'name')
  const ports = portsOf(listening, lookup, values, problems)
  const targets = lookedUp.map((target, index) => {
    // A target that is reached by its name shares the socket of the first target.
    const at = Math.max(0, listening.indexOf(target))
    const { address: addresses, 'unix-socket': unixSocket } = listening[at]!.values
    const listen = { addresses, port: ports[at]!, unixSocket }
    const { name: text, target: parsed } = target.known
    const called = { name: names[index]!, text, target: parsed, reach: reach[index]!, listen }
    const followGit = followGitOf(target.known, lookup, machine, problems)
    return resolveTarget(target, { ...called, followGit, localTls }, lookup, problems)
  })
  checkRouting(
    lookedUp.map((target, index) => ({ ...target, settings: targets[index]! })),
    values,
    lookup,
    problems,
  )
  const settings = {
    ...processSettings(values, targets, localPassword, localTls, lookup, machine),
    newBranch: newBranchOf(
      lookup,
      { known: lookedUp.map((target) => target.known), targets },
      machine,
      problems,
    ),
  }
  if (values['admin-socket'] !== undefined) {
    checkAdminSocket(values['admin-socket'], { machine, lookup, problems })
  }
  for (const [index, target] of targets.entries()) {
    const { known, values } = lookedUp[index]!
    const whereOf = (name: SettingName): string => lookup.whereOf(name, known)
    if (target.reach !== 'name') checkListening(target, settings, whereOf('address'), problems)
    checkPersonal(target, settings, whereOf, problems)
    checkTarget(target, known, values, { settings, machine, lookup, problems })
  }
  return deepFreeze(settings)
}

function portsOf(
  lookedUp: readonly LookedUpTarget[],
  lookup: SettingLookup,
  values: Values,
  problems: Problems,
): readonly number[] {
  const requests = lookedUp.map(({ known, values: own }) => {
    return {
      name: known.name,
      where: lookup.whereOf('port', known),
      address: own.address,
      own: lookup.find('port', known)?.isOwn ? own.port : undefined,
    }
  })
  const ports = assignPorts(requests, values.port, problems)
  const admin = lookup.find('admin-port')
  const clash = ports.indexOf(values['admin-port'])
  if (admin !== undefined && !values['no-admin'] && clash !== -1 && values['admin-port'] !== 0) {
    if (addressesClash(requests[clash]!.address, [values['admin-address']])) {
      const taker = requests[clash]!.name
      problems.add(
        admin.where,
        `admin-port ${values['admin-port']} is also the port of target "${taker}"`,
      )
    }
  }
  return ports
}

/** What was decided for a target with a look at the others. */
interface Decided
  extends Pick<TargetSettings, 'name' | 'text' | 'target' | 'reach' | 'listen' | 'followGit'>,
    Pick<ProxySettings, 'localTls'> {}

const VERIFY = { 'verify-full': 'full', 'verify-ca': 'ca', require: 'none' } as const

function resolveTarget(
  { known, values }: LookedUpTarget,
  { localTls, ...called }: Decided,
  lookup: SettingLookup,
  problems: Problems,
): TargetSettings {
  const settings = { ...plainSettings(values, 'target'), ...called }
  return {
    ...settings,
    shownAs: shownAs(settings, localTls),
    login: loginOf(known, values, lookup, problems),
    verify: VERIFY[values.sslmode],
    proxyProtocolFrom:
      values['proxy-protocol'] === 'on' ? values['proxy-protocol-from'] : undefined,
  }
}

function processSettings(
  values: Values,
  targets: readonly TargetSettings[],
  localPassword: ProxySettings['localPassword'],
  localTls: ProxySettings['localTls'],
  lookup: SettingLookup,
  machine: Machine,
): Omit<ProxySettings, 'newBranch'> {
  return {
    ...plainSettings(values, 'process'),
    targets,
    resolver: values.resolver ?? [],
    localPassword,
    localTls,
    admin: adminOf(values, lookup),
    logFormat: values['log-format'] ?? (machine.isTerminal ? 'pretty' : 'json'),
  }
}

function adminOf(values: Values, lookup: SettingLookup): ProxySettings['admin'] {
  if (values['no-admin']) return undefined
  const socket = values['admin-socket']
  if (socket !== undefined) return { socket }
  return {
    address: values['admin-address'],
    port: values['admin-port'],
    portIsDefault: lookup.find('admin-port') === undefined,
    host: values['admin-host'],
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const each of Object.values(value)) deepFreeze(each)
  }
  return value
}
