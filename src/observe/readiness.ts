/**
 * Which targets can take new clients, and whether the process can. One target that fails does not
 * make the process unready: the clients of the others must still be sent here.
 */

import type { Journal, TargetNotes } from './journal.js'
import type { ObservedProxy, ObservedTarget } from './observed-proxy.js'

export interface Readiness {
  readonly ready: boolean
  /** Why not. */
  readonly reasons: readonly string[]
}

/** Of the process: it listens, does not stop, and at least one target is usable. */
export function readiness(proxy: ObservedProxy, journal: Journal): Readiness {
  const reason = phaseReason(proxy)
  if (reason !== undefined) return { ready: false, reasons: [reason] }
  const missing = proxy.targets.map((target) => missingFor(target, proxy, journal))
  const ready = missing.some((why) => why === undefined)
  return { ready, reasons: ready ? [] : missing.flatMap((why) => why ?? []) }
}

/** Of one target; undefined when none has this name. */
export function targetReadiness(
  name: string,
  proxy: ObservedProxy,
  journal: Journal,
): Readiness | undefined {
  const target = proxy.targets.find(({ settings }) => settings.name === name)
  if (target === undefined) return undefined
  const why = phaseReason(proxy) ?? missingFor(target, proxy, journal)
  return { ready: why === undefined, reasons: why === undefined ? [] : [why] }
}

/**
 * Why there is no usable credential; undefined when there is one, when the workspace has not
 * answered yet, and when the last one expired while no client needed it.
 */
export function missingCredential(target: ObservedTarget, notes: TargetNotes): string | undefined {
  if (hasCredential(target)) return undefined
  return (notes.refreshFailure ?? notes.trouble)?.message
}

/** A token or password, and the role to use it with. */
export function hasCredential({ settings, identity, credentials }: ObservedTarget): boolean {
  if (credentials.state === 'expired') return false
  return settings.login.as !== 'identity' || identity !== undefined
}

function phaseReason({ phase }: ObservedProxy): string | undefined {
  switch (phase) {
    case 'starting':
      return 'starting: not everything is set up yet'
    case 'stopping':
      return 'stopping: sessions are being let go'
    case 'running':
      return undefined
  }
}

function missingFor(
  target: ObservedTarget,
  { unreadyWhenFull }: ObservedProxy,
  journal: Journal,
): string | undefined {
  const { name, maxConnections } = target.settings
  if (unreadyWhenFull && target.sessions.isFull) {
    return `target "${name}" has all the ${maxConnections} sessions of max-connections`
  }
  const missing = missingCredential(target, journal.notes(name))
  return missing === undefined ? undefined : `target "${name}": ${missing}`
}
