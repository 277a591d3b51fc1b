/** Small queries by pgbench: CPU a query, latency added, and CPU a connection. */

import type { Bench } from './bench.js'
import { startFarServer, startTicketFront } from './far-server.js'
import { findProgram, run } from './processes.js'
import { inTurns } from './turns.js'
import type { Way, WayName } from './ways.js'

const SCALE = 5

export async function measureQueries(bench: Bench): Promise<void> {
  await fill(bench)
  await inTurns(bench, 'queries', async (way) => {
    const { transactions, perSecond, cpuMs } = await pgbench(bench, way, ['-S', '-c', '16'])
    return {
      'queries/s': perSecond,
      ...(cpuMs !== undefined && { 'CPU µs/query': (cpuMs * 1000) / transactions }),
    }
  })
}

export async function measureLatency(bench: Bench): Promise<void> {
  await fill(bench)
  await inTurns(bench, 'latency', async (way) => {
    const { transactions, latencyMs, cpuMs } = await pgbench(bench, way, ['-S', '-c', '1'])
    return {
      µs: latencyMs * 1000,
      ...(cpuMs !== undefined && { 'CPU µs/query': (cpuMs * 1000) / transactions }),
    }
  })
}

// A proxy runs for weeks, and V8 compiles for its first thousand connections or two.
const WARM_UP_CONNECTIONS = 1_500

/**
 * A connection for each query, in front of the servers that decide what a handshake costs: an RSA
 * chain without and with session tickets, and P-256 for comparison.
 */
export async function measureConnections(bench: Bench): Promise<void> {
  await fill(bench)
  const front = await startTicketFront(bench.far, bench.folder)
  const p256 = await startFarServer(bench.folder, 'p256')
  try {
    await fill({ far: p256 })
    const ways: readonly WayName[] = bench.ways.includes('proxy')
      ? [...bench.ways, 'floor']
      : bench.ways
    const servers = { rsa: bench.far, tickets: front, p256 }
    for (const [name, far] of Object.entries(servers)) {
      if (far === undefined) continue
      const args = ['-S', '-C', '-c', '4']
      await inTurns(
        { ...bench, ways },
        `connections@${name}`,
        async (way) => {
          const { transactions, perSecond, cpuMs } = await pgbench({ ...bench, far }, way, args)
          return {
            'connections/s': perSecond,
            ...(cpuMs !== undefined && { 'CPU ms/connection': cpuMs / transactions }),
          }
        },
        {
          to: far,
          warmUp: (way) => {
            const each = String(WARM_UP_CONNECTIONS / 4)
            return runPgbench({ far }, way, [...args, '-t', bench.quick ? '10' : each])
          },
        },
      )
    }
  } finally {
    await front?.stop()
    await p256.stop()
  }
}

const filled = new Set<number>()

export async function fill({ far }: Pick<Bench, 'far'>): Promise<void> {
  if (filled.has(far.port)) return
  filled.add(far.port)
  const program = (await findProgram('pgbench'))!
  const where = { PGHOST: '127.0.0.1', PGPORT: String(far.port), PGSSLMODE: 'require' }
  await run([program, '-i', '-q', '-s', String(SCALE)], { ...far.env, ...where })
}

export interface PgbenchResult {
  readonly transactions: number
  readonly perSecond: number
  readonly latencyMs: number
  /** Of the proxy. */
  readonly cpuMs: number | undefined
}

async function runPgbench(
  { far }: Pick<Bench, 'far'>,
  way: Pick<Way, 'env'>,
  args: readonly string[],
): Promise<string> {
  const program = (await findProgram('pgbench'))!
  return run([program, '-n', ...args], { ...far.env, ...way.env })
}

export async function pgbench(
  bench: Bench,
  way: Pick<Way, 'env' | 'process'>,
  args: readonly string[],
): Promise<PgbenchResult> {
  const before = way.process?.cpuMs ?? 0
  const output = await runPgbench(bench, way, ['-T', bench.quick ? '2' : '5', ...args])
  const after = way.process?.cpuMs
  const number = (pattern: RegExp): number => Number(pattern.exec(output)?.[1])
  return {
    transactions: number(/actually processed: (\d+)/),
    perSecond: number(/tps = ([\d.]+)/),
    latencyMs: number(/latency average = ([\d.]+)/),
    cpuMs: after === undefined ? undefined : after - before,
  }
}
