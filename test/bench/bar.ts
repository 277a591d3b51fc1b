/** The bar: what the benchmark is to show, line by line. A line is there when it was measured. */

import { type BarLine, median, type Samples } from './samples.js'
import type { WayName } from './ways.js'

export function barLines(samples: Samples): BarLine[] {
  const { ratios, get } = { ratios: samples.ratios.bind(samples), get: samples.get.bind(samples) }
  const MB = 1024 * 1024
  const KB = 1024
  const lines = [
    atLeast(0.95, 'bulk: throughput against direct TLS', ratios('bulk', 'MB/s', 'proxy', 'direct')),
    atMost(
      1.2,
      'bulk: CPU per GB against stunnel',
      ratios('bulk', 'CPU ms/GB', 'proxy', 'stunnel'),
    ),
    atMost(
      1.1,
      'pgbench -S -c 16: CPU per query against stunnel',
      ratios('queries', 'CPU µs/query', 'proxy', 'stunnel'),
    ),
    atMost(
      1.2,
      'pgbench -S -c 1: latency added, against that of stunnel',
      addedLatencyRatios(samples),
    ),
    atMost(
      1.1,
      'p99 of -c 16 latency, against stunnel',
      ratios('tail@c16', 'p99 µs', 'proxy', 'stunnel'),
    ),
    atMost(1.5, 'p99.9 at -c 1 while scraped and tokens roll, against alone', busyRatios(samples)),
    ...connectionLines(ratios),
    atMost(
      0.9,
      'psql at 40 ms, cold, against direct TLS',
      ratios('cold@40ms', 'ms', 'proxy', 'direct'),
    ),
    atMost(
      0.25,
      'psql at 40 ms with warm=2, against direct TLS',
      ratios('cold@40ms', 'ms', 'warm', 'direct'),
    ),
    atLeast(1_000, '1,000 clients at once: served', get('crowd', 'served of 1,000', 'proxy')),
    atMost(1, '1,000 clients at once: credential calls', get('crowd', 'credential calls', 'proxy')),
    atMost(75, 'memory at rest, MB', scaled(get('memory', 'bytes at rest', 'proxy'), MB)),
    atMost(
      55,
      'memory per idle session at 1,000, KB',
      scaled(get('memory', 'bytes/session at 1,000', 'proxy'), KB),
    ),
    atMost(
      55,
      'memory per idle session at 2,000, KB',
      scaled(get('memory', 'bytes/session at 2,000', 'proxy'), KB),
    ),
    atMost(300, 'process start to listening, ms', get('start', 'ms', 'proxy')),
    atLeast(
      0.9,
      'rate beside 5,000 idle sessions, of the rate without',
      get('beside', 'rate of rate without', 'proxy'),
    ),
  ]
  return lines.filter((line) => line.values.length > 0)
}

function connectionLines(ratios: Samples['ratios']): BarLine[] {
  const limits = {
    rsa: { title: 'RSA chain, no tickets', floor: 1.15, stunnel: 1.8 },
    tickets: { title: 'RSA chain, tickets', floor: 1.15, stunnel: 2.3 },
  }
  const cpu = Object.entries(limits).flatMap(([server, { title, floor, stunnel }]) => {
    const against = (way: WayName): number[] =>
      ratios(`connections@${server}`, 'CPU ms/connection', 'proxy', way)
    return [
      atMost(floor, `CPU per connection, ${title}: against the floor`, against('floor')),
      atMost(stunnel, `CPU per connection, ${title}: against stunnel`, against('stunnel')),
    ]
  })
  const rate = (way: WayName): number[] => ratios('connections@rsa', 'connections/s', 'proxy', way)
  return [
    ...cpu,
    atLeast(1, 'connections/s, RSA chain: against the floor', rate('floor')),
    atLeast(0.9, 'connections/s, RSA chain: against stunnel', rate('stunnel')),
  ]
}

function addedLatencyRatios(samples: Samples): number[] {
  const direct = samples.get('latency', 'µs', 'direct')
  const stunnel = samples.get('latency', 'µs', 'stunnel')
  return samples
    .get('latency', 'µs', 'proxy')
    .slice(0, Math.min(direct.length, stunnel.length))
    .map((proxy, round) => (proxy - direct[round]!) / (stunnel[round]! - direct[round]!))
}

function busyRatios(samples: Samples): number[] {
  const alone = samples.get('tail@c1, alone', 'p99.9 µs', 'proxy')
  const busy = samples.get('tail@c1, tokens and scrapes', 'p99.9 µs', 'proxy')
  return busy.map((value, round) => value / alone[round]!)
}

function scaled(values: readonly number[], unit: number): number[] {
  return values.map((value) => value / unit)
}

function atMost(limit: number, title: string, values: readonly number[]): BarLine {
  return { title, toReach: `≤ ${limit}`, values, reached: median(values) <= limit }
}

function atLeast(limit: number, title: string, values: readonly number[]): BarLine {
  return { title, toReach: `≥ ${limit}`, values, reached: median(values) >= limit }
}
