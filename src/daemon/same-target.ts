/** Is a target, as new settings have it, the one that runs already? */

import { createHash } from 'node:crypto'

import type { ProxySettings, TargetSettings } from '../config/settings.js'
import { Secret } from '../log.js'
import type { RunningTarget } from './running-target.js'

export function isSameTarget(
  running: RunningTarget,
  target: TargetSettings,
  before: ProxySettings,
  after: ProxySettings,
): boolean {
  return (
    fingerprint(running.settings) === fingerprint(target) &&
    fingerprint(sharedByTargets(before)) === fingerprint(sharedByTargets(after))
  )
}

/** What of the process's settings a target's parts were built with. */
function sharedByTargets(settings: ProxySettings): object {
  const { resolver, connectTimeoutMs, handshakeTimeoutMs, localPassword, localTls, unsafeListen } =
    settings
  return { resolver, connectTimeoutMs, handshakeTimeoutMs, localPassword, localTls, unsafeListen }
}

/** Secrets count by their hash, or a changed password would look the same. */
function fingerprint(settings: object): string {
  return JSON.stringify(settings, function (this: Record<string, unknown>, key, value: unknown) {
    const raw = this[key]
    if (!(raw instanceof Secret)) return value
    return createHash('sha256').update(raw.reveal()).digest('hex')
  })
}
