/** What new settings mean for the targets that run already. */

import { createHash } from 'node:crypto'

import type { ProxySettings, TargetSettings } from '../config/resolve/settings.js'
import { Secret } from '../core/secret.js'
import type { RunningTarget } from './running-target.js'

export interface ReloadPlan {
  /** Untouched. */
  readonly kept: readonly RunningTarget[]
  /** Changed or gone: they take no more clients. */
  readonly leaving: readonly RunningTarget[]
  /** Changed or new. */
  readonly starting: readonly TargetSettings[]
  /** Names of settings that are another now, and count from the next start only. */
  readonly needRestart: readonly string[]
}

export function planReload(
  running: readonly RunningTarget[],
  before: ProxySettings,
  after: ProxySettings,
): ReloadPlan {
  const sharedStays = fingerprint(sharedByTargets(before)) === fingerprint(sharedByTargets(after))
  const wanted = new Set(after.targets.map(fingerprint))
  const stays = ({ settings }: RunningTarget): boolean =>
    sharedStays && wanted.has(fingerprint(settings))
  const kept = running.filter(stays)
  const keptNames = new Set(kept.map(({ settings }) => settings.name))
  return {
    kept,
    leaving: running.filter((each) => !stays(each)),
    starting: after.targets.filter(({ name }) => !keptNames.has(name)),
    needRestart: needRestart(before, after),
  }
}

export function isSameSetting(before: unknown, after: unknown): boolean {
  return fingerprint({ is: before }) === fingerprint({ is: after })
}

/** What of the process's settings a target's parts are built with. */
function sharedByTargets(settings: ProxySettings): object {
  const { resolver, connectTimeoutMs, wakeTimeoutMs, handshakeTimeoutMs } = settings
  const { localPassword, localTls, unsafeListen } = settings
  const timeouts = { connectTimeoutMs, wakeTimeoutMs, handshakeTimeoutMs }
  return { resolver, ...timeouts, localPassword, localTls, unsafeListen }
}

function needRestart(before: ProxySettings, after: ProxySettings): readonly string[] {
  const names = {
    'admin-address, admin-port, admin-host or no-admin': 'admin',
    'log-level': 'logLevel',
    'log-format': 'logFormat',
    quiet: 'quiet',
  } as const
  return Object.entries(names)
    .filter(([, key]) => !isSameSetting(before[key], after[key]))
    .map(([name]) => name)
}

/** Secrets count by their hash, or a changed password would look the same. */
function fingerprint(settings: object): string {
  return JSON.stringify(settings, function (this: Record<string, unknown>, key, value: unknown) {
    const raw = this[key]
    if (!(raw instanceof Secret)) return value
    return createHash('sha256').update(raw.reveal()).digest('hex')
  })
}
