/** A new connection and one query, by psql, with the server 0, 20 and 40 ms away. */

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import type { Bench } from './bench.js'
import { findProgram, freePort, Process, run } from './processes.js'
import { inTurns } from './turns.js'

const RELAY = fileURLToPath(new URL('relay.js', import.meta.url))

export async function measureCold(bench: Bench): Promise<void> {
  const psql = (await findProgram('psql'))!
  for (const roundTripMs of [0, 20, 40]) {
    const port = await freePort()
    const args = [port, bench.far.port, roundTripMs].map(String)
    const relay = new Process([process.execPath, RELAY, ...args], join(bench.folder, 'relay.log'))
    try {
      await relay.listening(port)
      await inTurns(
        bench,
        `cold@${roundTripMs}ms`,
        async (way) => {
          const startedAt = performance.now()
          await run([psql, '-X', '-c', 'select 1'], { ...bench.far.env, ...way.env })
          return { ms: performance.now() - startedAt }
        },
        { ...bench.far, port },
      )
    } finally {
      await relay.stop()
    }
  }
}
