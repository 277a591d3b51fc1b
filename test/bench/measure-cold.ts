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

const RELAY = fileURLToPath(new URL('relay.js', import.meta.url))

const SPARES_PATIENCE_MS = 1_000

export async function measureCold(bench: Bench): Promise<void> {
  const psql = (await findProgram('psql'))!
  const ask = (way: Way): Promise<string> =>
    run([psql, '-X', '-c', 'select 1'], { ...bench.far.env, ...way.env })
  const ways: readonly WayName[] = bench.ways.includes('proxy')
    ? [...bench.ways, 'warm']
    : bench.ways
  for (const roundTripMs of [0, 20, 40]) {
    const port = await freePort()
    const args = [port, bench.far.port, roundTripMs].map(String)
    const relay = new Process([process.execPath, RELAY, ...args], join(bench.folder, 'relay.log'))
    try {
      await relay.listening(port)
      const primed = new Set<Way>()
      await inTurns(
        { ...bench, ways },
        `cold@${roundTripMs}ms`,
        async (way) => {
          if (way.name === 'warm' && !primed.has(way)) {
            primed.add(way)
            await ask(way) // what the spares are to be like
            await new Promise((resolve) => setTimeout(resolve, SPARES_PATIENCE_MS))
          }
          const startedAt = performance.now()
          await ask(way)
          return { ms: performance.now() - startedAt }
        },
        { ...bench.far, port },
      )
    } finally {
      await relay.stop()
    }
  }
}
