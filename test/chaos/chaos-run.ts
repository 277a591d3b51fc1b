/**
 * Many clients of several kinds, faults all the time, tokens of seconds. Must find no wrong byte, no
 * hang, no unhandled error, nothing left behind, and no client that failed though no fault touched it.
 */

import { setMaxListeners } from 'node:events'

import { type Emulator, startEmulator } from '../support/emulator-control.js'
import { type ClientKind, clients, WrongByte } from './chaos-clients.js'
import { connectionFaults, faultsAround, rest } from './chaos-faults.js'
import { type ChildState, ProxyProcess } from './proxy-process.js'
import { Random } from './random.js'
import { Relay, type RelayedConnection, type RelayFault } from './relay.js'

export interface ChaosOptions {
  readonly seconds: number
  readonly seed: number
  /** At once. */
  readonly clients: number
}

/** In which nothing moves; longer than connect-timeout, and than a black hole is left open. */
const HANG_MS = 45_000
const SILENCE_MS = 3_000
/** Half-closed connections are silent for 30 s before they are given up. */
const LEAVING_BOUND_MS = 35_000

/** Prints its table; what it returns must not be. */
export async function runChaos(options: ChaosOptions): Promise<readonly string[]> {
  const { seconds, seed } = options
  console.log(`chaos: ${seconds} s, ${options.clients} clients at once, seed ${seed}`)
  const random = new Random(seed)
  const emulator = await startEmulator({ tokenTtlMs: 8_000, maxConnections: 400 })
  const { control } = emulator
  const upstream = await Relay.start({ to: { port: emulator.frontPort } })
  const upstreamRandom = random.fork()
  upstream.plan = () => connectionFaults(upstreamRandom, 'upstream')
  upstream.onMet = endSilence
  const hosts = [
    control.instance('demo-instance').readWriteHost,
    control.endpoint('projects/demo/branches/production/endpoints/primary').host,
  ]
  for (const host of hosts) control.setDns(host, { addresses: ['127.0.0.1'], ttlSeconds: 1 })
  const proxy = await ProxyProcess.start({
    env: emulator.env,
    targets: [
      { target: 'demo-instance', port: 0 },
      { target: 'projects/demo', port: 0, upstreamPort: upstream.port },
    ],
  })
  const before = await proxy.state()
  const run = new ChaosRun(emulator, proxy, upstream)
  const { signal } = run.stopping
  const did = (what: string): void => run.did(what)
  const surroundings = faultsAround({ control, proxy, hosts, random: random.fork(), signal, did })
  const stop = setTimeout(() => run.stopping.abort(), seconds * 1000)
  process.once('SIGINT', () => run.stopping.abort())
  const loops = Array.from({ length: options.clients }, (_, i) =>
    run.clientAfterClient(i, random.fork()),
  )
  await Promise.all(loops)
  clearTimeout(stop)
  run.stopping.abort()
  await surroundings
  control.clearFaults()
  await run.assertNothingLeft(before)
  await upstream.close()
  await emulator.close()
  run.report()
  return run.violations
}

class ChaosRun {
  readonly stopping = new AbortController()
  readonly violations: string[] = []
  readonly #counts = new Map<string, number>()
  readonly #totals = { queries: 0, rows: 0, bytes: 0 }
  readonly #control: Emulator['control']
  readonly #proxy: ProxyProcess
  readonly #upstream: Relay

  constructor({ control }: Emulator, proxy: ProxyProcess, upstream: Relay) {
    this.#control = control
    this.#proxy = proxy
    this.#upstream = upstream
    setMaxListeners(0, this.stopping.signal)
  }

  did(what: string, times = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + times)
  }

  /** A third of them have nothing between them and the proxy, nor between it and the server. */
  async clientAfterClient(index: number, random: Random): Promise<void> {
    const isClean = index % 3 === 0
    const kinds: ClientKind[] = ['pg', 'postgres', 'raw', 'raw', 'pg', 'psql']
    for (let n = 0; !this.stopping.signal.aborted && !this.#proxy.hasExited; n++) {
      const kind = random.pick(kinds)
      const name = `${kind}-${index}-${n}`
      await (isClean ? this.#clean(kind, name, random) : this.#faulty(kind, name, random))
      await rest(random.between(0, 100), this.stopping.signal)
    }
  }

  async #clean(kind: ClientKind, name: string, random: Random): Promise<void> {
    const error = await this.#session(kind, name, this.#proxy.ports[0]!, random)
    this.did(`sessions without a fault: ${kind}`)
    if (error !== undefined) this.violations.push(`${name}, which no fault touched: ${error}`)
  }

  async #faulty(kind: ClientKind, name: string, random: Random): Promise<void> {
    const faults = connectionFaults(random, 'client')
    const relay = await Relay.start({
      to: { port: this.#proxy.ports[1]! },
      plan: (index) => (index === 0 ? faults : []),
    })
    relay.onMet = endSilence
    const since = this.#now()
    const error = await this.#session(kind, name, relay.port, random, relay)
    await relay.close()
    const own = relay.connections.flatMap(({ met }) => met)
    for (const { how } of own) this.did(`client leg: ${how}`)
    this.did(`sessions with faults: ${kind}`)
    if (error === undefined) return
    const touched = own.length > 0 || this.#metUpstream(name, since).length > 0
    this.did(touched ? 'failed, touched by a fault' : 'failed, untouched')
    if (!touched) this.violations.push(`${name}, untouched: ${error}`)
  }

  #now(): Moment {
    const { connections } = this.#upstream
    return { connections: connections.length, logins: this.#control.logins.length }
  }

  /**
   * By its own server connection; or by one that never got as far as to bear a name. Ports are used
   * again by later connections: what was before does not count.
   */
  #metUpstream(name: string, since: Moment): RelayFault[] {
    const logins = this.#control.logins.slice(since.logins)
    const named = new Set(logins.map(({ remotePort }) => remotePort))
    const own = logins
      .filter(({ parameters }) => parameters.get('application_name') === name)
      .map(({ remotePort }) => remotePort)
    return this.#upstream.connections
      .slice(since.connections)
      .filter(({ targetPort: port }) => port && (own.includes(port) || !named.has(port)))
      .flatMap(({ met }) => met)
  }

  /** How it failed, if it did. */
  async #session(
    kind: ClientKind,
    name: string,
    port: number,
    random: Random,
    relay?: Relay,
  ): Promise<string | undefined> {
    const over = new AbortController()
    const since = this.#now()
    const hang = hangs(over.signal, relay).then(() => {
      if (over.signal.aborted) return
      const own = relay?.connections.map(({ met, passed }) => ({ met, passed }))
      const met = JSON.stringify({ own, upstream: this.#metUpstream(name, since) })
      this.violations.push(`${name}: hangs: nothing moves for ${HANG_MS / 1000} s: ${met}`)
      throw new Error('hangs')
    })
    const answered = (rows: number, bytes: number): void => {
      this.#totals.queries++
      this.#totals.rows += rows
      this.#totals.bytes += bytes
    }
    try {
      await Promise.race([clients[kind]({ port, name, random, answered }), hang])
      return undefined
    } catch (error) {
      if (error instanceof WrongByte) {
        this.violations.push(`${name}: wrong bytes: ${error.message}`)
      }
      return error instanceof Error ? `${error.name} ${error.message}` : String(error)
    } finally {
      over.abort()
    }
  }

  async assertNothingLeft(before: ChildState): Promise<void> {
    const { violations } = this
    for (const { met } of this.#upstream.connections) {
      for (const { how } of met) this.did(`upstream leg: ${how}`)
    }
    if (this.#proxy.hasExited) {
      violations.push(`the proxy has ended: ${await this.#proxy.exited}`)
      return
    }
    let state = before
    const until = performance.now() + LEAVING_BOUND_MS
    do {
      await rest(250, new AbortController().signal)
      state = await this.#proxy.state()
    } while (holdsMore(state, before) && performance.now() < until)
    if (state.sessions > 0) violations.push(`${state.sessions} sessions are left`)
    if (holdsMore(state, before)) {
      violations.push(`left open: ${JSON.stringify({ before, state })}`)
    }
    for (const bug of state.bugs) violations.push(`logged as a bug: ${bug}`)
    const megabytes = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(0)} MB`
    console.log(`memory: ${megabytes(before.rssBytes)} before, ${megabytes(state.rssBytes)} after`)
    for (const [what, times] of Object.entries(state.said)) this.did(`log: ${what}`, times)
    const { left, exit } = await this.#proxy.close()
    const open = Object.entries(left.resources).filter(([name]) => /TCP|TLS|Timeout/.test(name))
    if (open.length > 0) violations.push(`after close: ${JSON.stringify(open)}`)
    if (exit !== 0) violations.push(`its process ended with ${exit}`)
  }

  report(): void {
    const line = (count: number, what: string): void =>
      console.log(`${`${count}`.padStart(8)}  ${what}`)
    for (const [what, times] of [...this.#counts].sort()) line(times, what)
    const { queries, rows, bytes } = this.#totals
    line(queries, `queries, ${rows} rows, ${bytes} bytes, every one checked`)
  }
}

/** How many there had been. */
interface Moment {
  readonly connections: number
  readonly logins: number
}

/** Returns when nothing has moved for too long, or all is over. */
async function hangs(over: AbortSignal, relay: Relay | undefined): Promise<void> {
  const moved = (): number =>
    relay?.connections.reduce((sum, { passed }) => sum + passed.up + passed.down, 0) ?? 0
  let before: number
  do {
    before = moved()
    await rest(HANG_MS, over)
  } while (!over.aborted && moved() > before)
}

/**
 * A black hole that is never ended is a client that waits for ever, as it should. So is a corrupt byte
 * that says how long a TLS record is: its reader waits for more than will come.
 */
function endSilence(connection: RelayedConnection, { how }: RelayFault): void {
  const isSilent = how === 'black-hole' || how === 'corrupt'
  if (isSilent) setTimeout(() => connection.reset(), SILENCE_MS).unref()
}

/** One connection to the workspace may be kept alive. */
function holdsMore(state: ChildState, before: ChildState): boolean {
  const timers = (each: ChildState): number => each.resources.Timeout ?? 0
  const files = state.files !== undefined && state.files > before.files! + 1
  return state.sessions > 0 || files || timers(state) > timers(before) + 3
}
