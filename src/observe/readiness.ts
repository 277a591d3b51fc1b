/**
 * Which targets can take new clients, and whether the process can. One target that fails does not
 * make the process unready: the clients of the others must still be sent here. A load balancer asks
 * whether clients may come; a script that waits asks for more, `confirmed`: that the credential is
 * there and the database is not stopped, so that the next client is served.
 */

import { isBranchIn } from '../config/resolve/routing.js'
import type { Journal, TargetNotes } from './journal.js'
import type { ObservedProxy, ObservedTarget } from './observed-proxy.js'

export interface Readiness {
  readonly ready: boolean
  /** Why it is not ready. */
  readonly reasons: readonly string[]
}

export interface ReadinessQuestion {
  /** A target's name; undefined for the process. */
  readonly target?: string | undefined
  readonly confirmed?: boolean
}

/** The reason of a proxy that drains: it will not be ready again. */
export const STOPPING = 'stopping: sessions are being let go'

/** Readiness of the process: it listens, does not stop, and at least one target is usable. */
export function readiness(
  proxy: ObservedProxy,
  journal: Journal,
  { confirmed = false }: ReadinessQuestion = {},
): Readiness {
  const reason = phaseReason(proxy)
  if (reason !== undefined) return { ready: false, reasons: [reason] }
  const missing = proxy.targets.map((target) => missingFor(target, proxy, journal, confirmed))
  const ready = missing.some((why) => why === undefined)
  return { ready, reasons: ready ? [] : missing.flatMap((why) => why ?? []) }
}

/**
 * Readiness of one target; undefined when none has this name. A branch that is not open yet, of a target that
 * serves every branch of a project, is as ready as that target.
 */
export function targetReadiness(
  name: string,
  proxy: ObservedProxy,
  journal: Journal,
  { confirmed = false }: ReadinessQuestion = {},
): Readiness | undefined {
  const target =
    proxy.targets.find(({ settings }) => settings.name === name) ??
    proxy.targets.find(({ settings }) => settings.text === name || isBranchIn(settings, name))
  if (target === undefined) return undefined
  const why = phaseReason(proxy) ?? missingFor(target, proxy, journal, confirmed)
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

/** Why the next client might not be served; undefined when all that is known says that it will. */
export function unconfirmed(target: ObservedTarget): string | undefined {
  if (target.following?.refusal !== undefined) return target.following.refusal.message
  if (!hasCredential(target)) return 'the workspace has not answered yet'
  const { database, settings } = target
  switch (database?.state) {
    case 'stopped':
      return settings.autoStart ? undefined : 'the database is stopped'
    case 'disabled':
      return 'the endpoint is disabled'
    case 'deleting':
      return 'the database is being deleted'
    default:
      return undefined
  }
}

/** A token or password, and the role to use it with. A gateway's clients bring their own. */
export function hasCredential(target: ObservedTarget): boolean {
  const { settings, identity, credentials } = target
  if (settings.login.as === 'person') return target.database !== undefined
  if (credentials.state === 'expired') return false
  return settings.login.as !== 'identity' || identity !== undefined
}

function phaseReason({ phase }: ObservedProxy): string | undefined {
  switch (phase) {
    case 'starting':
      return 'starting: not everything is set up yet'
    case 'stopping':
      return STOPPING
    case 'running':
      return undefined
  }
}

function missingFor(
  target: ObservedTarget,
  { unreadyWhenFull }: ObservedProxy,
  journal: Journal,
  confirmed: boolean,
): string | undefined {
  const { name, maxConnections } = target.settings
  if (unreadyWhenFull && target.sessions.isFull) {
    return `target "${name}" has as many sessions as max-connections allows (${maxConnections})`
  }
  const missing =
    missingCredential(target, journal.notes(name)) ?? (confirmed ? unconfirmed(target) : undefined)
  return missing === undefined ? undefined : `target "${name}": ${missing}`
}
