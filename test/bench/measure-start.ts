/** From the start of the process to the first connection it accepts. */

import type { Bench } from './bench.js'
import { startWay } from './ways.js'

export async function measureStart(bench: Bench): Promise<void> {
  for (let round = 0; round < bench.rounds; round++) {
    for (const name of bench.ways) {
      if (name === 'direct') continue
      const startedAt = performance.now()
      const way = await startWay(name, bench.far, bench.folder)
      bench.samples.add('start', name, { ms: performance.now() - startedAt })
      await way.process?.stop()
    }
  }
}
