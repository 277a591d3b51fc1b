/**
 * `npm run chaos -- [--seconds 60] [--seed N] [--clients 24]`: many clients of several kinds, faults
 * all the time, tokens of seconds. Ends with a table, and with 1 when it found a wrong byte, a hang,
 * an unhandled error, something left behind, or a client that failed though no fault touched it.
 */

import { setMaxListeners } from 'node:events'
import { parseArgs } from 'node:util'

import { startEmulator } from '../../src/emulator/emulator.js'
import { type ChildState, ProxyProcess } from './proxy-process.js'
import { Random } from './random.js'
import { Relay, type RelayedConnection, type RelayFault } from './relay.js'
import { type ClientKind, clients, WrongByte } from './soak-clients.js'
import { badWeather, connectionFaults, rest } from './soak-faults.js'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: `${Date.now() % 1_000_000}` },
    clients: { type: 'string', default: '24' },
  },
})
const seconds = Number(values.seconds)
const random = new Random(Number(values.seed))
console.log(`chaos: ${seconds} s, ${values.clients} clients at once, seed ${values.seed}`)

/** Longer than connect-timeout, and than a black hole is left open. */
const SESSION_BOUND_MS = 45_000
const BLACK_HOLE_MS = 3_000

const counts = new Map<string, number>()
const violations: string[] = []
const totals = { queries: 0, rows: 0, bytes: 0 }

function did(what: string, times = 1): void {
  counts.set(what, (counts.get(what) ?? 0) + times)
}

const emulator = await startEmulator({ tokenTtlMs: 8_000, maxConnections: 400 })
const { control } = emulator
const upstream = await Relay.start({ to: { port: emulator.frontPort } })
const upstreamRandom = random.fork()
upstream.plan = () => connectionFaults(upstreamRandom, 'upstream')
upstream.onMet = endBlackHole
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
const [cleanPort, faultyPort] = proxy.ports as [number, number]
const before = await proxy.state()

const stopping = new AbortController()
setMaxListeners(0, stopping.signal)
const weather = badWeather({
  ...{ control, proxy, hosts, random: random.fork(), signal: stopping.signal, did },
})
const stop = setTimeout(() => stopping.abort(), seconds * 1000)
process.once('SIGINT', () => stopping.abort())
await Promise.all(
  Array.from({ length: Number(values.clients) }, (_, i) => clientAfterClient(i, random.fork())),
)
clearTimeout(stop)
stopping.abort()
await weather
control.clearFaults()
await leftBehind()
await upstream.close()
await emulator.close()
report()
// A driver whose connection was broken may keep this process alive; the proxy's has ended.
process.exit(violations.length === 0 ? 0 : 1)

/** A third of them have nothing between them and the proxy, nor between it and the server. */
async function clientAfterClient(index: number, mine: Random): Promise<void> {
  const isClean = index % 3 === 0
  const kinds: ClientKind[] = ['pg', 'postgres', 'raw', 'raw', 'pg', 'psql']
  for (let n = 0; !stopping.signal.aborted && !proxy.hasExited; n++) {
    const kind = mine.pick(kinds)
    const name = `${kind}-${index}-${n}`
    await (isClean ? cleanSession(kind, name, mine) : faultySession(kind, name, mine))
    await rest(mine.between(0, 100), stopping.signal)
  }
}

async function cleanSession(kind: ClientKind, name: string, mine: Random): Promise<void> {
  const error = await session(kind, name, cleanPort, mine)
  did(`sessions without a fault: ${kind}`)
  if (error !== undefined) violations.push(`${name}, which no fault touched: ${error}`)
}

async function faultySession(kind: ClientKind, name: string, mine: Random): Promise<void> {
  const faults = connectionFaults(mine, 'client')
  const relay = await Relay.start({
    to: { port: faultyPort },
    plan: (index) => (index === 0 ? faults : []),
  })
  relay.onMet = endBlackHole
  const from = upstream.connections.length
  const error = await session(kind, name, relay.port, mine)
  await relay.close()
  const own = relay.connections.flatMap(({ met }) => met)
  for (const { how } of own) did(`client leg: ${how}`)
  // Its own server connection; and those that never got as far as to bear a name.
  const named = new Set(control.logins.map(({ remotePort }) => remotePort))
  const ports = control.logins
    .filter(({ parameters }) => parameters.get('application_name') === name)
    .map(({ remotePort }) => remotePort)
  const touched = upstream.connections.slice(Math.max(0, from - 50)).some(({ met, targetPort }) => {
    return met.length > 0 && (ports.includes(targetPort) || !named.has(targetPort))
  })
  did(`sessions with faults: ${kind}`)
  if (error === undefined) return
  did(own.length + Number(touched) > 0 ? 'failed, touched by a fault' : 'failed, untouched')
  if (own.length === 0 && !touched) violations.push(`${name}, untouched: ${error}`)
}

/** How it failed, if it did. */
async function session(
  kind: ClientKind,
  name: string,
  port: number,
  mine: Random,
): Promise<string | undefined> {
  const bound = new AbortController()
  const hang = rest(SESSION_BOUND_MS, bound.signal).then(() => {
    if (bound.signal.aborted) return
    violations.push(`${name}: hangs for ${SESSION_BOUND_MS / 1000} s`)
    throw new Error('hangs')
  })
  const job = {
    ...{ port, name, random: mine },
    answered(rows: number, bytes: number) {
      totals.queries++
      totals.rows += rows
      totals.bytes += bytes
    },
  }
  try {
    await Promise.race([clients[kind](job), hang])
    return undefined
  } catch (error) {
    if (error instanceof WrongByte) violations.push(`${name}: wrong bytes: ${error.message}`)
    return error instanceof Error ? `${error.name} ${error.message}` : String(error)
  } finally {
    bound.abort()
  }
}

/** A black hole that is never ended is a client that waits for ever, as it should. */
function endBlackHole(connection: RelayedConnection, { how }: RelayFault): void {
  if (how === 'black-hole') setTimeout(() => connection.reset(), BLACK_HOLE_MS).unref()
}

async function leftBehind(): Promise<void> {
  for (const connection of upstream.connections)
    for (const { how } of connection.met) did(`upstream leg: ${how}`)
  let state = before
  const until = performance.now() + 35_000
  do {
    await rest(250, new AbortController().signal)
    state = await proxy.state().catch(() => before)
  } while (isMore(state) && performance.now() < until)
  if (state.sessions > 0) violations.push(`${state.sessions} sessions are left`)
  if (isMore(state)) violations.push(`left open: ${JSON.stringify({ before, state })}`)
  for (const bug of state.bugs) violations.push(`logged as a bug: ${bug}`)
  const megabytes = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(0)} MB`
  console.log(`memory: ${megabytes(before.rssBytes)} before, ${megabytes(state.rssBytes)} after`)
  for (const [what, times] of Object.entries(state.said)) did(`log: ${what}`, times)
  const { left, exit } = await proxy.close()
  const sockets = Object.entries(left.resources).filter(([name]) => /TCP|TLS|Timeout/.test(name))
  if (sockets.length > 0) violations.push(`after close: ${JSON.stringify(sockets)}`)
  if (exit !== 0) violations.push(`its process ended with ${exit}`)
}

/** One connection to the workspace may be kept alive. */
function isMore(state: ChildState): boolean {
  const timers = (each: ChildState): number => each.resources.Timeout ?? 0
  const files = state.files !== undefined && state.files > before.files! + 1
  return state.sessions > 0 || files || timers(state) > timers(before) + 3
}

function report(): void {
  for (const [what, times] of [...counts].sort()) console.log(`${`${times}`.padStart(8)}  ${what}`)
  const { queries, rows, bytes } = totals
  console.log(
    `${`${queries}`.padStart(8)}  queries, ${rows} rows, ${bytes} bytes, every one checked`,
  )
  for (const violation of violations.slice(0, 50)) console.error(`VIOLATION ${violation}`)
  console.log(violations.length === 0 ? 'clean' : `${violations.length} violations`)
}
