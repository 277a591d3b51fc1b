/** What all targets have in common. What a reload leaves as it was is used again. */

import type { ProxySettings } from '../config/resolve/settings.js'
import { Resolver } from '../endpoints/resolver.js'
import type { LocalTls, LocalTlsOptions } from '../listener/local-tls.js'
import { isSameSetting } from './reload-plan.js'

export interface SharedParts {
  readonly settings: ProxySettings
  readonly resolver: Resolver
  readonly localTls: LocalTls | undefined
}

type Tools = Pick<LocalTlsOptions, 'stateDir' | 'clock' | 'log'>

export async function shareParts(
  settings: ProxySettings,
  before: SharedParts | undefined,
  tools: Tools,
): Promise<SharedParts> {
  const same = (name: 'resolver' | 'localTls'): boolean =>
    before !== undefined && isSameSetting(before.settings[name], settings[name])
  const addresses = settings.targets.flatMap(({ listen }) => listen.addresses)
  if (same('localTls')) await before!.localTls?.refresh(addresses)
  return {
    settings,
    resolver: same('resolver')
      ? before!.resolver
      : new Resolver({ servers: settings.resolver, clock: tools.clock }),
    localTls: same('localTls')
      ? before!.localTls
      : await openLocalTls(settings.localTls, { addresses, ...tools }),
  }
}

/** Its code is loaded only where clients may ask for TLS. */
async function openLocalTls(
  setting: ProxySettings['localTls'],
  options: Tools & Pick<LocalTlsOptions, 'addresses'>,
): Promise<LocalTls | undefined> {
  if (setting === 'off') return undefined
  const { LocalTls } = await import('../listener/local-tls.js')
  const localTls = await LocalTls.open({ setting, ...options })
  if (localTls?.caFile !== undefined) {
    options.log.info({ sslrootcert: localTls.caFile }, 'clients may verify local TLS with this CA')
  }
  return localTls
}
