/**
 * The times of a measure by how often each came: kept in steps of 4%, so that a million of them
 * are some hundred numbers in bench.json, and the rounds of a way add up.
 */

import type { WayName } from './ways.js'

/** By µs, rising: how many times were about that long. */
export type Counts = Readonly<Record<string, number>>

export interface Histogram {
  readonly measure: string
  readonly way: WayName
  readonly counts: Counts
}

const LOG_STEP = Math.log(1.04)

export class Histograms {
  readonly #counts = new Map<string, Map<number, number>>()

  add(measure: string, way: WayName, times: readonly number[]): void {
    const key = `${measure}\t${way}`
    const counts = this.#counts.get(key) ?? new Map<number, number>()
    this.#counts.set(key, counts)
    for (const time of times) {
      const µs = Math.round(Math.exp(Math.round(Math.log(time) / LOG_STEP) * LOG_STEP))
      counts.set(µs, (counts.get(µs) ?? 0) + 1)
    }
  }

  toJSON(): Histogram[] {
    return [...this.#counts].map(([key, counts]) => {
      const [measure, way] = key.split('\t') as [string, WayName]
      return { measure, way, counts: Object.fromEntries(counts) } // integer keys come in their order
    })
  }
}

/** How long the quickest `share` of the times were, at most. */
export function quantile(counts: Counts, share: number): number {
  let left = share * total(counts)
  let last = 0
  for (const [µs, count] of Object.entries(counts)) {
    last = Number(µs)
    left -= count
    if (left <= 0) break
  }
  return last
}

export function total(counts: Counts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}
