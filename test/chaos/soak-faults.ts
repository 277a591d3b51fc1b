/**
 * What the soak does to the proxy's surroundings, all by chance: the plan of each connection
 * through a relay, and a bad time for the workspace, DNS, the front door and the clock.
 */

import type { EmulatorControl } from '../../src/emulator/control.js'
import type { FrontFault } from '../../src/emulator/front-faults.js'
import type { ApiFault } from '../../src/emulator/workspace-api.js'
import type { ProxyProcess } from './proxy-process.js'
import type { Random } from './random.js'
import type { Direction, RelayFault } from './relay.js'

/** Faults of one connection, mostly none. On TLS a byte may be spoilt too: it must be noticed. */
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

/** Half of them while the connection is made, the others further on. */
function place(random: Random, leg: 'client' | 'upstream'): number {
  const handshakeBytes = leg === 'client' ? 500 : 4_000
  return random.chance(0.5) ? random.between(0, handshakeBytes) : random.between(4_000, 300_000)
}

const HOUR_MS = 3_600_000

export interface WeatherOptions {
  control: EmulatorControl
  proxy: ProxyProcess
  hosts: readonly string[]
  random: Random
  signal: AbortSignal
  /** Counts what was done. */
  did: (what: string) => void
}

/**
 * Until `signal` aborts. None of it may be noticed by a client whose connections are whole: it goes
 * by what the proxy does, not by the clock, so that a slow machine has no worse weather.
 */
export async function badWeather(options: WeatherOptions): Promise<void> {
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
 * One kind for one refresh; then each target gets its token in peace. In between the machine sleeps
 * three hours now and then, or its clock is set right again.
 */
async function workspace({ control, proxy, random, signal, did }: WeatherOptions): Promise<void> {
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
    await called(3)
    if (signal.aborted || proxy.hasExited || random.chance(0.5)) continue
    // Only once in a long while: a refused token is replaced at most once in 30 s.
    const isBack = aheadMs >= 9 * HOUR_MS
    aheadMs = isBack ? 0 : aheadMs + 3 * HOUR_MS
    await proxy.setClock(aheadMs)
    did(isBack ? 'clock: set back nine hours' : 'clock: three hours on')
    await called(isBack ? 12 : 2)
  }
}

/**
 * Every few connections. Before a client has been let in, it is dialled again: no client may notice. A
 * server that hangs costs half of connect-timeout, so no client may get two of them.
 */
async function frontDoor({ control, random, signal, did }: WeatherOptions): Promise<void> {
  const phases = ['accept', 'ssl-request', 'tls', 'startup', 'password'] as const
  let hangAgainAt = 0
  while (!signal.aborted) {
    let fault: FrontFault = { at: random.pick(phases), how: random.pick(['reset', 'close']) }
    if (random.chance(0.1) && performance.now() > hangAgainAt) {
      fault = { at: random.pick(['accept', 'ssl-request', 'tls']), how: 'hang' }
      hangAgainAt = performance.now() + 15_000
    }
    control.failFront(fault, 1)
    did(`front door: ${fault.how} at ${fault.at}`)
    const until = control.acceptedCount + random.between(5, 20)
    while (control.acceptedCount < until && !signal.aborted) await rest(50, signal)
  }
}

async function dns({ control, hosts, random, signal, did }: WeatherOptions): Promise<void> {
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
