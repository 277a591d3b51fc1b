/** A proxy's metrics as an independent parser of Prometheus' text format reads them. */

import { createRequire } from 'node:module'

import { ask } from './http.js'

interface Series {
  labels?: Record<string, string>
  value: string
}

interface Family {
  name: string
  help: string
  type: 'COUNTER' | 'GAUGE' | 'HISTOGRAM' | 'SUMMARY' | 'UNTYPED'
  metrics: Series[]
}

// It brings no types.
const parse = createRequire(import.meta.url)('parse-prometheus-text-format') as (
  text: string,
) => Family[]

export class Scrape {
  /** As it came. */
  readonly text: string
  readonly families: readonly Family[]

  constructor(text: string) {
    this.text = text
    // The parser would merge the series of a histogram although their labels differ. As untyped, each is kept.
    this.families = parse(text.replaceAll(/^# TYPE (\S+) histogram$/gm, '# TYPE $1 untyped'))
  }

  static async of(adminUrl: string): Promise<Scrape> {
    return new Scrape((await ask(`${adminUrl}/metrics`)).body)
  }

  /** The value of the one series with these labels; NaN for none. */
  value(name: string, labels: Record<string, string> = {}): number {
    const wanted = Object.entries(labels)
    const found = this.series(name).filter((each) =>
      wanted.every(([label, value]) => each.labels?.[label] === value),
    )
    if (found.length > 1) throw new Error(`${found.length} series of ${name} match`)
    return Number(found[0]?.value ?? Number.NaN)
  }

  series(name: string): readonly Series[] {
    return this.families.filter((family) => family.name === name).flatMap(({ metrics }) => metrics)
  }
}
