/**
 * What the chaos run does to the proxy's surroundings, all by chance: the plan of each connection
 * through a relay, and a bad time for the workspace, DNS, the front door and the clock.
 */

import type { EmulatorControl } from '../support/emulator-control.js'
import type { ApiFault, FrontFault } from '../support/emulator-faults.js'
import type { ProxyProcess } from './proxy-process.js'
import type { Random } from './random.js'
import type { Direction, RelayFault } from './relay.js'

/**
 * None, one or two faults of one connection. On the upstream leg, which is TLS, a byte may be corrupted
 * too: the proxy must notice it.
 */
export function connectionFaults(random: Random, leg: 'client' | 'upstream'): RelayFault[] {
  if (random.chance(0.4)) return []
  const faults = [connectionFault(random, leg)]
  if (random.chance(0.2)) faults.push(connectionFault(random, leg))
  return faults
}

function connectionFault(random: Random, leg: 'client' | 'upstream'): RelayFault {
  const direction = random.pick<Direction>(['up', 'down'])
  const kinds = ['delay', 'slice', 'throttle', 'reset', 'black-hole', 'half-close'] as const
  const how = random.pick(leg === 'upstream' ? [...kinds, 'corrupt' as const] : kinds)
  switch (how) {
    case 'delay':
      return { how, direction, ms: random.between(1, 40) }
    case 'slice':
      return { how, direction, bytes: random.between(50, 1_400) }
    case 'throttle':
      return { how, direction, bytesPerSecond: random.between(500_000, 5_000_000) }
    default:
      return { how, direction, atByte: place(random, leg) }
  }
}

/** Half of the faults come while the connection is made, the others later. */
function place(random: Random, leg: 'client' | 'upstream'): number {
  const handshakeBytes = leg === 'client' ? 500 : 4_000
  return random.chance(0.5) ? random.between(0, handshakeBytes) : random.between(4_000, 300_000)
}

const JUMP_MS = 3 * 3_600_000

// Requests for credentials that are answered without a fault: after each fault, after the clock was
// set forward, and after it was set back.
const QUIET_CALLS = 3
const CALLS_AFTER_JUMP = 2
const CALLS_AFTER_BACK = 12

const HANG_EVERY_MS = 15_000

export interface SurroundingsOptions {
  control: EmulatorControl
  proxy: ProxyProcess
  hosts: readonly string[]
  random: Random
  signal: AbortSignal
  /** Counts what was done. */
  did: (what: string) => void
}

/**
 * Faults of the proxy's surroundings, until `signal` aborts. A client whose connections are whole must
 * notice none of them. Those of the workspace and of the front door follow what the proxy does, so that
 * a slow machine has no more of them for a connection. DNS fails by the clock, and two hangs of the
 * front door are at least 15 s apart.
 */
export async function faultsAround(options: SurroundingsOptions): Promise<void> {
  await Promise.all([workspace(options), frontDoor(options), dns(options)])
}

const apiFaults: Record<string, { fault: ApiFault; times: number }> = {
  '500': { fault: { status: 500 }, times: 3 },
  '429': { fault: { status: 429, headers: { 'retry-after': '1' } }, times: 1 },
  '503': { fault: { status: 503 }, times: 1 },
  reset: { fault: { how: 'reset' }, times: 3 },
  garbage: { fault: { how: 'garbage' }, times: 1 },
  'expired answer': { fault: { how: 'expired' }, times: 1 },
  slow: { fault: { delayMs: 1_000 }, times: 2 },
  hang: { fault: { how: 'hang' }, times: 1 },
}

/**
 * One kind of fault for one refresh; then each target gets its token undisturbed. In between the machine
 * sleeps three hours now and then, or its clock is set right again.
 */
async function workspace({
  control,
  proxy,
  random,
  signal,
  did,
}: SurroundingsOptions): Promise<void> {
  const called = async (times: number): Promise<void> => {
    const until = control.callCount('credentials') + times
    while (control.callCount('credentials') < until && !signal.aborted) await rest(50, signal)
  }
  let aheadMs = 0
  while (!signal.aborted) {
    const name = random.pick(Object.keys(apiFaults))
    const { fault, times } = apiFaults[name]!
    control.failApi('credentials', fault, times)
    await called(times)
    did(`workspace: ${name}`)
    await called(QUIET_CALLS)
    if (signal.aborted || proxy.hasExited || random.chance(0.5)) continue
    // The proxy replaces a refused token at most once in 30 s. So the clock is set back only after
    // three jumps forward, and many requests for tokens pass after that.
    const isBack = aheadMs >= 3 * JUMP_MS
    aheadMs = isBack ? 0 : aheadMs + JUMP_MS
    await proxy.setClock(aheadMs)
    did(isBack ? 'clock: set back nine hours' : 'clock: three hours on')
    await called(isBack ? CALLS_AFTER_BACK : CALLS_AFTER_JUMP)
  }
}

/**
 * A fault every few connections. It comes before the server has let the client in, so the proxy dials
 * again and no client may notice. A server that hangs costs half of connect-timeout, so no client may
 * get two of them.
 */
async function frontDoor({ control, random, signal, did }: SurroundingsOptions): Promise<void> {
  const phases = ['accept', 'ssl-request', 'tls', 'startup', 'password'] as const
  let hangAgainAt = 0
  while (!signal.aborted) {
    let fault: FrontFault = { at: random.pick(phases), how: random.pick(['reset', 'close']) }
    if (random.chance(0.1) && performance.now() > hangAgainAt) {
      fault = { at: random.pick(['accept', 'ssl-request', 'tls']), how: 'hang' }
      hangAgainAt = performance.now() + HANG_EVERY_MS
    }
    control.failFront(fault, 1)
    did(`front door: ${fault.how} at ${fault.at}`)
    const until = control.acceptedCount + random.between(5, 20)
    while (control.acceptedCount < until && !signal.aborted) await rest(50, signal)
  }
}

async function dns({ control, hosts, random, signal, did }: SurroundingsOptions): Promise<void> {
  while (!signal.aborted) {
    const failure = random.pick(['NXDOMAIN', 'SERVFAIL', 'REFUSED', 'silence'] as const)
    for (const host of hosts) control.setDns(host, { addresses: [], failure })
    did(`DNS: ${failure}`)
    await rest(random.between(500, 4_000), signal)
    for (const host of hosts) control.setDns(host, { addresses: ['127.0.0.1'], ttlSeconds: 1 })
    await rest(random.between(1_000, 4_000), signal)
  }
}

/** Ends early, and never rejects, when `signal` aborts. */
export function rest(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
    function done(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    if (signal.aborted) done()
  })
}
