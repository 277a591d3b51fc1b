/**
 * A new connection and one query, by psql, with the server 0, 20 and 40 ms away: through nothing that
 * was opened before, and through the proxy with spare connections.
 */

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import type { Bench } from './bench.js'
import { findProgram, freePort, Process, run } from './processes.js'
import { inTurns } from './turns.js'
import type { Way, WayName } from './ways.js'

const SPARES_PATIENCE_MS = 1_000

export async function measureCold(bench: Bench): Promise<void> {
  const psql = (await findProgram('psql'))!
  const ask = (way: Way): Promise<string> =>
    run([psql, '-X', '-c', 'select 1'], { ...bench.far.env, ...way.env })
  const ways: readonly WayName[] = bench.ways.includes('proxy')
    ? [...bench.ways, 'warm']
    : bench.ways
  for (const roundTripMs of [0, 20, 40]) {
    const relay = await startRelay(bench.folder, bench.far.port, roundTripMs)
    try {
      await inTurns(
        { ...bench, ways },
        `cold@${roundTripMs}ms`,
        async (way) => {
          const startedAt = performance.now()
          await ask(way)
          return { ms: performance.now() - startedAt }
        },
        {
          to: { ...bench.far, port: relay.port },
          warmUp: async (way) => {
            if (way.name !== 'warm') return
            await ask(way) // the spare connections are made like this one
            await new Promise((resolve) => setTimeout(resolve, SPARES_PATIENCE_MS))
          },
        },
      )
    } finally {
      await relay.process.stop()
    }
  }
}

const DISTANCE = fileURLToPath(new URL('distance.js', import.meta.url))

/** A port that leads to this one, over a distance. */
export async function startRelay(
  folder: string,
  farPort: number,
  roundTripMs: number,
): Promise<{ readonly port: number; readonly process: Process }> {
  const port = await freePort()
  const args = [port, farPort, roundTripMs].map(String)
  const relay = new Process([process.execPath, DISTANCE, ...args], join(folder, 'distance.log'))
  await relay.listening(port)
  return { port, process: relay }
}
