/**
 * The long tail: what the slowest of a thousand queries, and the slowest of the connections, wait;
 * alone, and while the proxy has other things to do. Latencies are those of pgbench's own log.
 */

import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { createSecureContext } from 'node:tls'
import { TERMINATE } from '../../src/wire/frontend.js'
import { startEmulator } from '../support/emulator-control.js'
import type { Bench } from './bench.js'
import { withGreeter } from './measure-idle.js'
import { fill } from './measure-pgbench.js'
import { findProgram, freePort, run } from './processes.js'
import { type Login, openSession, openSessions } from './sessions.js'
import { inTurns } from './turns.js'
import { type Destination, startProxyProcess, type Way } from './ways.js'

const QUANTILES = { p50: 0.5, p95: 0.95, p99: 0.99, 'p99.9': 0.999 } as const
const IDLE_SESSIONS = 2_000
const TOKEN_TTL_MS = 3_000
const EVERY_MS = 1_000

export async function measureTail(bench: Bench): Promise<void> {
  await fill(bench)
  for (const clients of [1, 16, 64]) {
    await inTurns(bench, `tail@c${clients}`, async (way) => {
      const times = await latencies(bench, way, clients)
      bench.histograms.add(`query c${clients}`, way.name, times)
      return quantiles(times)
    })
  }
  const secureContext = createSecureContext({ ca: await readFile(bench.far.sslrootcert) })
  const direct = { port: bench.far.port, tls: { host: bench.far.host, secureContext } }
  for (const clients of [1, 16, 64]) {
    await inTurns(bench, `tail@connect c${clients}`, async (way) => {
      const login = way.name === 'direct' ? direct : { port: way.port }
      const count = bench.quick ? 200 : 1_000
      const times = await connectTimes({ ...login, password: bench.far.password }, clients, count)
      bench.histograms.add(`connect c${clients}`, way.name, times)
      return quantiles(times)
    })
  }
  if (bench.ways.includes('proxy')) await measureBusyProxy(bench)
}

/** The same queries at -c 1, while the proxy is also busy with something else. */
async function measureBusyProxy(bench: Bench): Promise<void> {
  const emulator = await startEmulator({ tokenTtlMs: TOKEN_TTL_MS })
  try {
    await withGreeter(bench, async (greeter) => {
      for (let round = 0; round < bench.rounds; round++) {
        const proxy = await startBusyProxy(bench, greeter, emulator.env)
        const sockets: Socket[] = []
        const scene = async (name: string, during?: () => Promise<() => void>): Promise<void> => {
          const stop = await during?.()
          const times = await latencies(bench, proxy.way, 1)
          stop?.()
          bench.samples.add(`tail@c1, ${name}`, 'proxy', quantiles(times))
        }
        try {
          await scene('alone')
          await scene('tokens and scrapes', async () => {
            const scrape = (): void => void fetch(`${proxy.admin}/metrics`).then((r) => r.text())
            const visit = (): void => void openSessions(proxy.tokenPort, 1, sockets)
            const timers = [setInterval(scrape, EVERY_MS), setInterval(visit, EVERY_MS)]
            return () => timers.forEach(clearInterval)
          })
          await scene(`${IDLE_SESSIONS} idle sessions`, async () => {
            await openSessions(proxy.idlePort, IDLE_SESSIONS, sockets)
            return () => {}
          })
          // Idle sessions go at once at a drain, this one goes on: its first second is measured.
          const drained = latencies(bench, proxy.way, 1, ['-T', '1'])
          setTimeout(() => process.kill(proxy.way.process!.pid, 'SIGTERM'), 100)
          const times = await drained.catch((error: Error) => {
            console.error(`not counted: a drain that ended pgbench too: ${error.message}`)
          })
          if (times) bench.samples.add('tail@c1, drain of others', 'proxy', quantiles(times))
        } finally {
          for (const socket of sockets) socket.destroy()
          await proxy.way.process?.stop('SIGKILL')
        }
      }
    })
  } finally {
    await emulator.close()
  }
}

interface BusyProxy {
  readonly way: Way
  readonly idlePort: number
  readonly tokenPort: number
  readonly admin: string
}

/** Three targets: the server that is measured, one for idle sessions, one whose tokens roll. */
async function startBusyProxy(
  { far, folder }: Bench,
  greeter: Destination,
  env: Readonly<Record<string, string>>,
): Promise<BusyProxy> {
  const ports = [await freePort(), await freePort(), await freePort(), await freePort()] as const
  const [port, idlePort, tokenPort, adminPort] = ports
  const own = ({ port: farPort }: Destination): string =>
    `postgresql://${far.user}:${encodeURIComponent(far.password)}@${far.host}:${farPort}/${far.database}`
  const near = { hostaddr: '127.0.0.1', sslrootcert: far.sslrootcert }
  const targets = [
    { target: own(far), port, ...near },
    { target: own(greeter), port: idlePort, ...near },
    { target: 'demo-instance', port: tokenPort },
  ]
  const config = join(folder, `busy-${port}.yaml`)
  await writeFile(config, JSON.stringify({ 'admin-port': adminPort, targets }), { mode: 0o600 })
  const process = startProxyProcess(['--config', config], folder, env)
  await Promise.all(ports.map((each) => process.listening(each)))
  const local = { PGHOST: '127.0.0.1', PGPORT: String(port), PGSSLMODE: 'disable' }
  const way: Way = { name: 'proxy', env: local, port, process }
  return { way, idlePort, tokenPort, admin: `http://127.0.0.1:${adminPort}` }
}

/** In µs, of each query of `pgbench -S`: as many of each way. */
async function latencies(
  bench: Bench,
  way: Pick<Way, 'env'>,
  clients: number,
  length = ['-t', String((bench.quick ? 16_000 : 96_000) / clients)],
): Promise<number[]> {
  const program = (await findProgram('pgbench'))!
  const folder = await mkdtemp(join(bench.folder, 'latencies-'))
  try {
    const args = ['-n', '-S', ...length, '-c', String(clients)]
    const log = ['--log', '--log-prefix', join(folder, 'log')]
    await run([program, ...args, ...log], { ...bench.far.env, ...way.env })
    const files = await readdir(folder)
    const texts = await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')))
    // client_id transaction_no time …
    return texts.flatMap((text) =>
      text
        .trimEnd()
        .split('\n')
        .map((line) => Number(line.split(' ', 3)[2])),
    )
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** In µs, from connect() to a whole greeting. */
async function connectTimes(login: Login, atOnce: number, count: number): Promise<number[]> {
  const times: number[] = []
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const startedAt = performance.now()
      const socket = await openSession(login)
      times.push((performance.now() - startedAt) * 1000)
      socket.end(TERMINATE)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  return times
}

function quantiles(times: readonly number[]): Record<string, number> {
  const sorted = [...times].sort((a, b) => a - b)
  return Object.fromEntries(
    Object.entries(QUANTILES).map(([name, share]) => [
      `${name} µs`,
      sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!,
    ]),
  )
}
