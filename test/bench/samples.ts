/** What was measured: numbers by measure, unit and way, round after round; medians, ranges, tables. */

import type { WayName } from './ways.js'

export interface BarLine {
  readonly title: string
  readonly toReach: string
  /** One a round. */
  readonly values: readonly number[]
  readonly reached: boolean
}

export class Samples {
  readonly #rounds = new Map<string, number[]>()

  add(measure: string, way: WayName, numbers: Readonly<Record<string, number>>): void {
    for (const [unit, value] of Object.entries(numbers)) {
      const key = `${measure}\t${unit}\t${way}`
      const values = this.#rounds.get(key)
      if (values === undefined) this.#rounds.set(key, [value])
      else values.push(value)
    }
  }

  get(measure: string, unit: string, way: WayName): readonly number[] {
    return this.#rounds.get(`${measure}\t${unit}\t${way}`) ?? []
  }

  /** Round by round, so that what slows a whole round down cancels out. */
  ratios(measure: string, unit: string, way: WayName, to: WayName): number[] {
    const others = this.get(measure, unit, to)
    return this.get(measure, unit, way)
      .slice(0, others.length)
      .map((value, round) => value / others[round]!)
  }

  *rows(): Generator<{ measure: string; unit: string; way: WayName; values: readonly number[] }> {
    for (const [key, values] of this.#rounds) {
      const [measure, unit, way] = key.split('\t') as [string, string, WayName]
      yield { measure, unit, way, values }
    }
  }

  toJSON(): unknown {
    return [...this.rows()].map((row) => ({ ...row, median: median(row.values) }))
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export function printSamples(samples: Samples, measure: string): void {
  const rows = [...samples.rows()].filter((row) => row.measure.split('@')[0] === measure)
  const cells = rows.map((row) => [row.measure, row.unit, row.way, ...spread(row.values)])
  printTable(['measure', 'unit', 'way', 'median', 'range'], cells)
}

/** The medians of a measure's parts side by side, as docs/speed.md shows them. */
export function printAcross(samples: Samples, measure: string, ways: readonly WayName[]): void {
  const rows = [...samples.rows()].filter((row) => row.measure.startsWith(`${measure}@`))
  const parts = [...new Set(rows.map((row) => row.measure))]
  const columns = ways.flatMap((way) => parts.map((part) => ({ part, way })))
  const titles = columns.map(({ part, way }) => {
    const title = part.slice(measure.length + 1)
    return ways.length === 1 ? title : `${way}, ${title}`
  })
  const units = [...new Set(rows.map((row) => row.unit))]
  const cells = units.map((unit) => [
    unit,
    ...columns.map(({ part, way }) => {
      const values = samples.get(part, unit, way)
      return values.length === 0 ? '–' : shown(median(values))
    }),
  ])
  printTable(['', ...titles], cells)
}

export function printBar(lines: readonly BarLine[]): void {
  const cells = lines.map((line) => [
    line.title,
    ...spread(line.values),
    line.toReach,
    line.reached ? 'reached' : 'NOT REACHED',
  ])
  printTable(['the bar', 'median', 'range', 'to reach', ''], cells)
}

/** `json` is the bench.json of an earlier run: the medians of both, and this one's as a ratio to it. */
export function printComparison(samples: Samples, json: string): void {
  const { samples: earlier } = JSON.parse(json) as {
    samples: { measure: string; unit: string; way: string; median: number }[]
  }
  const cells = [...samples.rows()].flatMap(({ measure, unit, way, values }) => {
    const before = earlier.find(
      (row) => row.measure === measure && row.unit === unit && row.way === way,
    )
    if (before === undefined) return []
    const now = median(values)
    return [
      [measure, unit, way, shown(before.median), shown(now), (now / before.median).toFixed(2)],
    ]
  })
  printTable(['measure', 'unit', 'way', 'earlier', 'now', 'ratio'], cells)
}

function spread(values: readonly number[]): [string, string] {
  const range = `${shown(Math.min(...values))}–${shown(Math.max(...values))}`
  return [shown(median(values)), range]
}

/** Three digits that matter. */
function shown(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3)
}

export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]!.length)),
  )
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`
  console.log(line(head))
  console.log(`|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`)
  for (const row of rows) console.log(line(row))
  console.log()
}
