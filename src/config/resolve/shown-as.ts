/** Where clients connect, and what a user of this machine types to get there. */

import { isLoopback } from '../../core/loopback.js'
import type { Listen, LocalPassword, ProxySettings, ShownAs, TargetSettings } from './settings.js'

type Called = Pick<TargetSettings, 'name' | 'text' | 'target' | 'reach' | 'listen' | 'localAuth'>

export function shownAs(
  { name, text, target, reach, listen, localAuth }: Called,
  localTls: ProxySettings['localTls'],
): ShownAs {
  const { addresses, port } = listen
  const chosen = target.kind === 'branches' ? text.replace('*', 'BRANCH') : name
  const user = reach === 'own port' && target.kind !== 'branches' ? undefined : chosen
  return { host: localHost(addresses), port, sslmode: sslmodeFor(localAuth, localTls), user }
}

/**
 * A certificate made here is good for every address shown, and its CA is on this machine. Of another
 * one, neither is known; but a secret that is good for the workspace is sent to a verified server only.
 */
function sslmodeFor(
  localAuth: TargetSettings['localAuth'],
  localTls: ProxySettings['localTls'],
): ShownAs['sslmode'] {
  if (localTls === 'off') return 'disable'
  return localTls === 'auto' || localAuth === 'databricks' ? 'verify-full' : 'require'
}

/** `localhost` is both loopback addresses, so that one of them alone is named by itself. */
function localHost(addresses: readonly string[]): string {
  const has = (address: string): boolean => addresses.includes(address)
  if (has('::') || has('0.0.0.0') || (has('127.0.0.1') && has('::1'))) return 'localhost'
  return addresses.find(isLoopback) ?? addresses[0] ?? 'localhost'
}

/** The settings of a proxy for one program: a free port, a password of its own, and nothing else open. */
export function privateSettings(
  settings: ProxySettings,
  target: TargetSettings,
  localPassword: LocalPassword | undefined,
): ProxySettings {
  const listen: Listen = { addresses: ['127.0.0.1', '::1'], port: 0, unixSocket: undefined }
  // TLS on loopback protects from nothing, and libpq may want to verify it (~/.postgresql/root.crt).
  const localTls = 'off'
  const alone = { ...target, ...asOneUser(target), listen, reach: 'own port' } as const
  const own = { ...alone, shownAs: shownAs(alone, localTls) }
  return { ...settings, targets: [own], admin: undefined, localTls, localPassword }
}

/** The program is one client, and has no credential of its own to show to a gateway. */
function asOneUser({ login }: TargetSettings): Partial<TargetSettings> {
  if (login.as !== 'person') return {}
  return { login: { as: 'identity' }, localAuth: 'password', maxConnectionsPerUser: 0 }
}
