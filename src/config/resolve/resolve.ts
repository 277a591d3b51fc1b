/**
 * Turns the settings, looked up and parsed (setting-lookup.ts), into decisions, and checks that they fit
 * together. Reads the files that settings name. Called once per start and reload.
 */

import { plainSettings } from '../schema/setting-keys.js'
import type { Written } from '../sources/sources.js'
import { checkAdminSocket, checkTarget } from './checks.js'
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
import type { SettingLookup, TargetLookup } from './setting-lookup.js'
import type { ProxySettings, TargetSettings } from './settings.js'
import { shownAs } from './shown-as.js'

/** The result is whole only when no problem was noted. */
export function resolveSettings(
  lookup: SettingLookup,
  lookups: readonly TargetLookup[],
  localPasswordVariable: Written | undefined,
): ProxySettings {
  const { values } = lookup
  const localPassword = readLocalPassword(localPasswordVariable, lookup)
  checkLocalPassword(localPassword, lookups, lookup)
  const localTls = readLocalTls(lookup)
  const names = namesOf(lookups)
  const reach = lookups.map(reachOf)
  const listening = lookups.filter((_, index) => reach[index] !== 'name')
  const ports = portsOf(listening, lookup)
  const targets = lookups.map((target, index) => {
    // A target that is reached by its name shares the socket of the first target.
    const at = Math.max(0, listening.indexOf(target))
    const { address: addresses, 'unix-socket': unixSocket } = listening[at]!.values
    const listen = { addresses, port: ports[at]!, unixSocket }
    const called = { name: names[index]!, reach: reach[index]!, listen }
    return resolveTarget(target, called, localTls)
  })
  const settings = {
    ...plainSettings(values, 'process'),
    targets,
    resolver: values.resolver ?? [],
    localPassword,
    localTls,
    admin: adminOf(lookup),
    logFormat: values['log-format'] ?? (lookup.machine.isTerminal ? 'pretty' : 'json'),
    newBranch: newBranchOf(targets, lookup),
  }
  if (values['admin-socket'] !== undefined) checkAdminSocket(values['admin-socket'], lookup)
  for (const [index, target] of targets.entries()) {
    const own = lookups[index]!
    checkRouting(target, settings, own)
    if (target.reach !== 'name') checkListening(target, settings, own)
    checkPersonal(target, settings, own)
    checkTarget(target, settings, own)
  }
  return deepFreeze(settings)
}

function portsOf(targets: readonly TargetLookup[], lookup: SettingLookup): readonly number[] {
  const { values, problems } = lookup
  const requests = targets.map((target) => ({
    name: target.known.name,
    where: target.whereOf('port'),
    address: target.values.address,
    own: target.find('port')?.isOwn ? target.values.port : undefined,
  }))
  const ports = assignPorts(requests, values.port, problems)
  const admin = values['admin-port']
  const clash = ports.indexOf(admin)
  if (lookup.find('admin-port') && !values['no-admin'] && clash !== -1 && admin !== 0) {
    const { address, name } = requests[clash]!
    if (addressesClash(address, [values['admin-address']])) {
      lookup.refuse('admin-port', `admin-port ${admin} is also the port of target "${name}"`)
    }
  }
  return ports
}

const VERIFY = { 'verify-full': 'full', 'verify-ca': 'ca', require: 'none' } as const

function resolveTarget(
  lookup: TargetLookup,
  /** What was decided with a look at the other targets. */
  called: Pick<TargetSettings, 'name' | 'reach' | 'listen'>,
  localTls: ProxySettings['localTls'],
): TargetSettings {
  const { known, values } = lookup
  const { name: text, target } = known
  const settings = { ...plainSettings(values, 'target'), ...called, text, target }
  return {
    ...settings,
    followGit: followGitOf(lookup),
    shownAs: shownAs(settings, localTls),
    login: loginOf(lookup),
    verify: VERIFY[values.sslmode],
    proxyProtocolFrom:
      values['proxy-protocol'] === 'on' ? values['proxy-protocol-from'] : undefined,
  }
}

function adminOf(lookup: SettingLookup): ProxySettings['admin'] {
  const { values } = lookup
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
