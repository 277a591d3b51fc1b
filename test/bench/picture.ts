/**
 * The picture of docs/speed.md, an SVG drawn from the histograms of bench.json: how long the
 * quickest share of queries and of connections took at most, by way, for 1, 16 and 64 clients.
 */

import { type Counts, type Histogram, quantile, total } from './histogram.js'
import type { WayName } from './ways.js'

export interface PictureSource {
  readonly node: string
  readonly cpus: number
  readonly cpu: string
  readonly histograms: readonly Histogram[]
}

/** Told apart by colour, and by dashes for those who see no difference in it. */
const LINES: Partial<
  Record<WayName, { name: string; light: string; dark: string; dashes: string }>
> = {
  direct: { name: 'direct TLS', light: '#57606a', dark: '#9198a1', dashes: '2 3' },
  stunnel: { name: 'stunnel', light: '#b35900', dark: '#f0a04b', dashes: '9 3' },
  pgbouncer: { name: 'PgBouncer', light: '#0969da', dark: '#58a6ff', dashes: '9 3 2 3' },
  proxy: { name: 'lakebase-proxy', light: '#bf3989', dark: '#f778ba', dashes: '' },
}
const WAYS = Object.keys(LINES) as WayName[]
const CLIENTS = [1, 16, 64]
const ROWS = [
  { measure: 'query', title: 'A small query (pgbench -S)' },
  { measure: 'connect', title: 'A connection, from connect() to ReadyForQuery' },
]

const WIDTH = 860
const LEFT = 76
const RIGHT = 26
const GAP = 28
const TOP = 106
const PANEL = { width: (WIDTH - LEFT - RIGHT - 2 * GAP) / 3, height: 170, pitch: 262 }
const HEIGHT = TOP + 2 * PANEL.pitch - 18
/** Each step to the right is ten times as rare. */
const SHARES = { '0': 0, p50: 0.5, p90: 0.9, p99: 0.99, 'p99.9': 0.999 }
const LAST_SHARE = 0.999
const POINTS = 90

/** Needs the histograms of `tail`. */
export function drawPicture({ histograms, node, cpus, cpu }: PictureSource): string {
  const rows = ROWS.map((row, at) => drawRow(row, histograms, TOP + at * PANEL.pitch))
  const subtitle = `to a PostgreSQL on the same machine, TLS with an RSA chain; ${cpus} cores (${cpu}), Node.js ${node.slice(1)}; both axes are logarithmic`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-labelledby="t d" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="12">
<title id="t">Latency by percentile: queries and connections, by direct TLS, stunnel, PgBouncer and lakebase-proxy</title>
<desc id="d">Six panels. The upper row shows the time of a query for 1, 16 and 64 clients, the lower row that of a connection, each up to the slowest of a thousand.</desc>
<style>${style()}</style>
<rect width="${WIDTH}" height="${HEIGHT}" rx="8" class="ground"/>
<text x="16" y="28" font-size="16" font-weight="600">Latency by percentile</text>
<text x="16" y="46" class="dim">${escaped(subtitle)}</text>
${legend()}
${rows.join('\n')}
</svg>
`
}

/** The same in figures, for those who cannot see it: a row for each panel. */
export function picturedFigures({ histograms }: PictureSource): [string[], string[][]] {
  const head = ['p50, p99, p99.9', ...WAYS.map((way) => LINES[way]!.name)]
  const rows = ROWS.flatMap(({ measure }) =>
    CLIENTS.map((clients) => {
      const cells = WAYS.map((way) => {
        const found = histograms.find(
          (each) => each.measure === `${measure} c${clients}` && each.way === way,
        )
        if (found === undefined) return '–'
        return [0.5, 0.99, 0.999].map((share) => inWords(quantile(found.counts, share))).join(', ')
      })
      return [`${measure}, ${clientsInWords(clients)}`, ...cells]
    }),
  )
  return [head, rows]
}

function style(): string {
  const scheme = (of: 'light' | 'dark', ground: string, text: string, dim: string, rule: string) =>
    `.ground{fill:${ground}}text{fill:${text}}.dim{fill:${dim}}.rule{stroke:${rule}}` +
    WAYS.map((way) => `.${way}{stroke:${LINES[way]![of]}}`).join('')
  const lines = WAYS.map((way) => `.${way}{stroke-dasharray:${LINES[way]!.dashes || 'none'}}`)
  return `${lines.join('')}.line{fill:none;stroke-width:1.75}.proxy{stroke-width:2.75}${scheme(
    ...(['light', '#ffffff', '#1f2328', '#57606a', '#d8dee4'] as const),
  )}@media(prefers-color-scheme:dark){${scheme(
    ...(['dark', '#0d1117', '#e6edf3', '#9198a1', '#30363d'] as const),
  )}}`
}

function legend(): string {
  return WAYS.map((way, at) => {
    const x = 16 + at * 140
    return `<path class="line ${way}" d="M${x} 66h34"/><text x="${x + 42}" y="70">${LINES[way]!.name}</text>`
  }).join('\n')
}

/** Three panels with one scale. */
function drawRow(
  { measure, title }: (typeof ROWS)[number],
  histograms: readonly Histogram[],
  top: number,
): string {
  const of = (clients: number): Histogram[] =>
    histograms.filter(
      (each) => each.measure === `${measure} c${clients}` && WAYS.includes(each.way),
    )
  const scale = scaleOf(CLIENTS.flatMap(of), top)
  const panels = CLIENTS.map((clients, at) => {
    const left = LEFT + at * (PANEL.width + GAP)
    const curves = of(clients).map(({ way, counts }) => {
      return `<path class="line ${way}" d="${curve(counts, left, scale)}"/>`
    })
    return [
      `<text x="${left}" y="${top + 22}" class="dim">${clientsInWords(clients)}</text>`,
      ...axes(left, scale, at === 0),
      ...curves,
    ].join('\n')
  })
  const axis = `<text transform="translate(20 ${scale.y(Math.sqrt(scale.from * scale.to))}) rotate(-90)" text-anchor="middle" class="dim">time</text>`
  return `<text x="16" y="${top}" font-size="14" font-weight="600">${title}</text>\n${axis}\n${panels.join('\n')}`
}

interface Scale {
  readonly from: number
  readonly to: number
  readonly bottom: number
  y(µs: number): number
}

function scaleOf(histograms: readonly Histogram[], top: number): Scale {
  const from = Math.min(...histograms.map(({ counts }) => quantile(counts, 0.005))) / 1.15
  const to = Math.max(...histograms.map(({ counts }) => quantile(counts, LAST_SHARE))) * 1.15
  const bottom = top + 32 + PANEL.height
  const y = (µs: number): number =>
    bottom - (Math.log(µs / from) / Math.log(to / from)) * PANEL.height
  return { from, to, bottom, y }
}

function axes(left: number, scale: Scale, isFirst: boolean): string[] {
  const right = left + PANEL.width
  const digits = scale.to / scale.from > 300 ? [1] : [1, 2, 5]
  const ticks = digits
    .flatMap((digit) => [10, 100, 1_000, 10_000, 100_000, 1_000_000].map((unit) => digit * unit))
    .filter((µs) => µs >= scale.from && µs <= scale.to)
  const across = ticks.flatMap((µs) => {
    const y = scale.y(µs).toFixed(1)
    const label = `<text x="${left - 8}" y="${Number(y) + 4}" text-anchor="end">${inWords(µs)}</text>`
    return [
      `<path class="rule" d="M${left.toFixed(1)} ${y}H${right.toFixed(1)}"/>`,
      ...(isFirst ? [label] : []),
    ]
  })
  const down = Object.entries(SHARES).flatMap(([name, share]) => {
    const x = (left + xOf(share)).toFixed(1)
    return [
      `<path class="rule" d="M${x} ${scale.bottom}v${-PANEL.height}"/>`,
      ...(share === 0
        ? []
        : [`<text x="${x}" y="${scale.bottom + 17}" text-anchor="middle">${name}</text>`]),
    ]
  })
  const label = `<text x="${(left + right) / 2}" y="${scale.bottom + 34}" text-anchor="middle" class="dim">percentile</text>`
  return [...across, ...down, label]
}

function xOf(share: number): number {
  return (Math.log10(1 - share) / Math.log10(1 - LAST_SHARE)) * PANEL.width
}

/** As far as the times are enough: the slowest of 100 says nothing about p99.9. */
function curve(counts: Counts, left: number, scale: Scale): string {
  const steps = Math.min(1, Math.log10(total(counts)) / -Math.log10(1 - LAST_SHARE))
  const points = Array.from({ length: POINTS + 1 }, (_, at) => {
    const share = 1 - (1 - LAST_SHARE) ** ((at / POINTS) * steps)
    const µs = Math.max(scale.from, quantile(counts, Math.max(0.005, share)))
    return `${(left + xOf(share)).toFixed(1)} ${scale.y(µs).toFixed(1)}`
  })
  return `M${points.join(' ')}`
}

function clientsInWords(clients: number): string {
  return clients === 1 ? '1 client' : `${clients} clients`
}

function inWords(µs: number): string {
  const [value, unit] =
    µs < 1_000 ? [µs, 'µs'] : µs < 1_000_000 ? [µs / 1e3, 'ms'] : [µs / 1e6, 's']
  return `${value >= 10 ? value.toFixed(0) : Number(value.toFixed(1))} ${unit}`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
