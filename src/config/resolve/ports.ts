/** Which port each target listens at, and whether two of them, or one and the admin port, clash. */

import type { Problems } from '../sources/problems.js'

export interface PortRequest {
  readonly name: string
  readonly where: string
  readonly address: readonly string[]
  /**
   * The port that was set for this target alone; undefined takes the next of `firstPort`, `firstPort`
   * + 1, …
   */
  readonly own: number | undefined
}

/** The ports in the order of `requests`. Numbers that others ask for by name are passed over. */
export function assignPorts(
  requests: readonly PortRequest[],
  firstPort: number,
  problems: Problems,
): readonly number[] {
  const asked = new Set(requests.map((request) => request.own))
  let next = firstPort
  const ports = requests.map((request) => {
    if (request.own !== undefined) return request.own
    if (firstPort === 0) return 0
    while (asked.has(next)) next += 1
    next += 1
    return next - 1
  })
  for (const [index, port] of ports.entries()) {
    const { name, where, address } = requests[index]!
    if (port > 65_535) problems.add(where, `no port is left for target "${name}"`)
    const earlier = requests.findIndex(
      (other, at) =>
        at < index && port !== 0 && ports[at] === port && addressesClash(other.address, address),
    )
    if (earlier === -1) continue
    problems.add(
      where,
      `port ${port} of target "${name}" is also the port of target "${requests[earlier]!.name}"`,
      'Give one of them another port, such as my-instance?port=5433.',
    )
  }
  return ports
}

/** Whether a socket that listens at one of `some` blocks a socket at one of `others`. */
export function addressesClash(some: readonly string[], others: readonly string[]): boolean {
  return some.some((one) =>
    others.some(
      (other) =>
        one === other ||
        // `::` takes IPv4 too.
        [one, other].includes('::') ||
        (one === '0.0.0.0' && other.includes('.')) ||
        (other === '0.0.0.0' && one.includes('.')),
    ),
  )
}
