/** Round by round, each way in turn, and another first in each round: noise hits all of them alike. */

import type { Bench } from './bench.js'
import { type Destination, startWay, type Way } from './ways.js'

export async function inTurns(
  bench: Bench,
  measure: string,
  round: (way: Way) => Promise<Readonly<Record<string, number>>>,
  {
    to = bench.far,
    warmUp,
  }: {
    readonly to?: Destination
    /** Run for each way before the first round, and not counted. */
    readonly warmUp?: (way: Way) => Promise<unknown>
  } = {},
): Promise<void> {
  const ways: Way[] = []
  try {
    for (const name of bench.ways) ways.push(await startWay(name, to, bench.folder))
    if (warmUp !== undefined) for (const way of ways) await warmUp(way)
    for (let count = 0; count < bench.rounds; count++) {
      const first = count % ways.length
      for (const way of [...ways.slice(first), ...ways.slice(0, first)]) {
        bench.samples.add(measure, way.name, await round(way))
      }
    }
  } finally {
    for (const way of ways) await way.process?.stop()
  }
}
