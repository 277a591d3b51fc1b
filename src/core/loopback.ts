/** Which hosts are this machine: what may be spoken to in the clear, and what must not be dialled. */

import { isIP } from 'node:net'

/** An address of the loopback interface, or a name of it. IPv6 with or without brackets. */
export function isLoopback(host: string): boolean {
  const bare = host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
  if (bare === 'localhost' || bare.endsWith('.localhost')) return true
  if (isIP(bare) === 4) return bare.startsWith('127.')
  if (isIP(bare) !== 6) return false
  // The URL parser writes every spelling of an IPv6 address in one way.
  const spelt = new URL(`http://[${bare.split('%', 1)[0]}]`).hostname
  return spelt === '[::1]' || /^\[::ffff:7f[0-9a-f]{2}:[0-9a-f]{1,4}\]$/.test(spelt)
}

/** The same, and also true of this machine's own name, with or without its domain, and of 0.0.0.0 and ::. */
export function isThisMachine(host: string, hostname: string): boolean {
  const bare = host.toLowerCase().replace(/\.$/, '')
  const own = hostname.toLowerCase()
  if (isLoopback(bare) || bare === '0.0.0.0' || bare === '::') return true
  return own !== '' && (bare === own || bare === own.split('.')[0])
}
