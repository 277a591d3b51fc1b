/** Bulk: `copy … to stdout` throughput and the proxy's CPU per GB. */

import type { Bench } from './bench.js'
import { findProgram, run } from './processes.js'
import { inTurns } from './turns.js'

const GB = 1024 ** 3
const ROW_BYTES = 1024

export async function measureBulk(bench: Bench): Promise<void> {
  const psql = (await findProgram('psql'))!
  const bytes = bench.quick ? GB / 4 : GB
  const rows = bytes / ROW_BYTES
  const down = `copy (select repeat('x', ${ROW_BYTES - 1}) from generate_series(1, ${rows})) to stdout`
  await inTurns(bench, 'bulk', async (way) => {
    const before = way.process?.cpuMs ?? 0
    const startedAt = performance.now()
    await run([psql, '-X', '-o', '/dev/null', '-c', down], { ...bench.far.env, ...way.env })
    const seconds = (performance.now() - startedAt) / 1000
    const cpuMs = (way.process?.cpuMs ?? 0) - before
    return {
      'MB/s': bytes / 1024 ** 2 / seconds,
      ...(way.process && { 'CPU ms/GB': (cpuMs * GB) / bytes }),
    }
  })
}
