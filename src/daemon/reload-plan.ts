/** What new settings mean for the targets that run already. */

import { createHash } from 'node:crypto'

import type { ProxySettings, TargetSettings } from '../config/resolve/settings.js'
import { keyOf } from '../config/schema/setting-keys.js'
import { SETTING_NAMES, SETTINGS, type SettingName } from '../config/schema/table.js'
import { Secret } from '../core/secret.js'

export interface ReloadPlan<Running> {
  readonly kept: readonly Running[]
  /** Targets that changed or are gone: they take no more clients. */
  readonly leaving: readonly Running[]
  /** Targets that changed or are new. */
  readonly starting: readonly TargetSettings[]
  /** Names of settings that changed but take effect at the next start only. */
  readonly needRestart: readonly string[]
}

export function planReload<Running extends { readonly settings: TargetSettings }>(
  running: readonly Running[],
  before: ProxySettings,
  after: ProxySettings,
): ReloadPlan<Running> {
  const sharedStays = fingerprint(sharedByTargets(before)) === fingerprint(sharedByTargets(after))
  const wanted = new Set(after.targets.map(fingerprint))
  const stays = ({ settings }: Running): boolean => sharedStays && wanted.has(fingerprint(settings))
  const kept = running.filter(stays)
  const keptNames = new Set(kept.map(({ settings }) => settings.name))
  return {
    kept,
    leaving: running.filter((each) => !stays(each)),
    starting: after.targets.filter(({ name }) => !keptNames.has(name)),
    needRestart: needRestart(before, after),
  }
}

/** Names of the targets that such a plan changes, for the log. */
export function changesOf({
  leaving,
  starting,
}: Pick<ReloadPlan<{ readonly settings: TargetSettings }>, 'leaving' | 'starting'>) {
  const left = leaving.map(({ settings }) => settings.name)
  const started = starting.map(({ name }) => name)
  return {
    changed: started.filter((name) => left.includes(name)),
    added: started.filter((name) => !left.includes(name)),
    removed: left.filter((name) => !started.includes(name)),
  }
}

/** Settings whose values differ, of the process or of a target that is in both. */
export function changedSettings(
  before: ProxySettings,
  after: ProxySettings,
): readonly SettingName[] {
  const pairs: [object, object][] = [[before, after]]
  for (const now of after.targets) {
    const old = before.targets.find(({ name }) => name === now.name)
    if (old !== undefined) pairs.push([old, now])
  }
  return SETTING_NAMES.filter(
    (name) =>
      name !== 'targets' && // compared one by one
      pairs.some(([old, now]) => !isSameSetting(settingIn(name, old), settingIn(name, now))),
  )
}

export function isSameSetting(before: unknown, after: unknown): boolean {
  return fingerprint({ is: before }) === fingerprint({ is: after })
}

/** The process's settings that a target's parts are built with. */
function sharedByTargets(settings: ProxySettings): object {
  return namesWith('all targets').map((name) => settingIn(name, settings))
}

/** Settings that are decided together are named together. */
function needRestart(before: ProxySettings, after: ProxySettings): readonly string[] {
  const names = namesWith('restart').filter(
    (name) => !isSameSetting(settingIn(name, before), settingIn(name, after)),
  )
  const keys = new Set(names.map(keyOf))
  return [...keys].map((key) => {
    const together = names.filter((name) => keyOf(name) === key)
    return together.join(', ').replace(/, ([^,]+)$/, ' or $1')
  })
}

function settingIn(name: SettingName, settings: object): unknown {
  return (settings as Readonly<Record<string, unknown>>)[keyOf(name)]
}

function namesWith(reload: 'all targets' | 'restart'): readonly SettingName[] {
  return SETTING_NAMES.filter((name) => SETTINGS[name].reload === reload)
}

/** Secrets are compared by their hash: printed, all of them are the same. */
function fingerprint(settings: object): string {
  return JSON.stringify(settings, function (this: Record<string, unknown>, key, value: unknown) {
    const raw = this[key]
    if (!(raw instanceof Secret)) return value
    return createHash('sha256').update(raw.reveal()).digest('hex')
  })
}
