/** What a person sees when the proxy has started: each target, where to connect, as whom, what to paste. */

import type { ProxySettings, TargetSettings } from '../config/settings.js'
import { authority, localAddress } from './local-address.js'
import { psqlCommand } from './url.js'

export interface Started {
  readonly targets: readonly {
    readonly settings: TargetSettings
    readonly listener: { readonly port: number; readonly addresses: readonly string[] }
  }[]
  readonly localCaFile: string | undefined
}

/** Whole lines, for a terminal. */
export function banner(started: Started, settings: ProxySettings): string {
  const lines: string[] = ['']
  for (const { settings: target, listener } of started.targets) {
    const address = localAddress(target, settings, listener.port)
    const sockets = listener.addresses.filter((each) => each.startsWith('/'))
    lines.push(
      `  ${target.name}`,
      `    connect to  ${[authority(address), ...sockets].join(', ')}`,
      `    as          ${asWhom(target)}`,
      `    password    ${target.localAuth === 'password' ? 'the local one' : 'none'}`,
      `    paste       ${psqlCommand(address)}`,
      '',
    )
  }
  if (started.localCaFile !== undefined) {
    lines.push(`  TLS with a certificate of the CA in ${started.localCaFile}`, '')
  }
  return `${lines.join('\n')}\n`
}

function asWhom({ user, group, target }: TargetSettings): string {
  if (user === 'client') return 'the user each client names'
  if (group !== undefined) return `group ${group}`
  if (user !== 'identity') return user
  return target.kind === 'static' ? target.user : 'the identity signed in to the workspace'
}
