/** The bar: what the benchmark is to show, line by line. A line is there when it was measured. */

import { type BarLine, median, type Samples } from './samples.js'

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
      1.3,
      'pgbench -S -c 1: latency added, against that of stunnel',
      addedLatencyRatios(samples),
    ),
    atMost(
      1.3,
      'pgbench -S -C: CPU per connection against stunnel',
      ratios('connections', 'CPU ms/connection', 'proxy', 'stunnel'),
    ),
    atMost(
      1.02,
      'psql at 40 ms, cold, against direct TLS',
      ratios('cold@40ms', 'ms', 'proxy', 'direct'),
    ),
    atMost(
      0.35,
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

function addedLatencyRatios(samples: Samples): number[] {
  const direct = samples.get('latency', 'µs', 'direct')
  const stunnel = samples.get('latency', 'µs', 'stunnel')
  return samples
    .get('latency', 'µs', 'proxy')
    .slice(0, Math.min(direct.length, stunnel.length))
    .map((proxy, round) => (proxy - direct[round]!) / (stunnel[round]! - direct[round]!))
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
