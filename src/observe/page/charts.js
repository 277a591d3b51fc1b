// @ts-check
/** Three charts of the last 15 minutes: sessions, bytes per second, and connect time by phase. */

import { fromTemplate, part, put } from './parts.js'
import { ago, inBytes, inTime, timeOfDay } from './words.js'

/** @typedef {import('../history.js').Sample} Sample */
/** @typedef {{ name: string, colour: string, of: (s: Sample) => number | undefined }} Line */
/** `least`: the smallest top of the scale; `whole`: there are no fractions. @typedef {{ title: string, say: (value: number) => string, least: number, whole?: boolean, stacked?: boolean, lines: readonly Line[] }} Chart */

const SPAN_MS = 15 * 60_000
const MIN_SPAN_MS = 2 * 60_000
const EVERY_MS = 5_000
const KEPT = SPAN_MS / EVERY_MS
// A sample this much older than the next, or than now, has a gap after it.
const GAP_MS = 2.5 * EVERY_MS
const HEIGHT = 170
// As the alpha of a #rrggbb colour, for the area under a line.
const WASH = '24'

/** @type {readonly Chart[]} */
const CHARTS = [
  {
    title: 'Sessions',
    say: (value) => value.toFixed(0),
    least: 4,
    whole: true,
    lines: [{ name: 'open', colour: '--chart-1', of: (s) => s.sessions }],
  },
  {
    title: 'Bytes per second',
    say: (value) => `${inBytes(value)}/s`,
    least: 1_000,
    lines: [
      { name: 'down', colour: '--chart-1', of: (s) => s.bytesDownPerSecond },
      { name: 'up', colour: '--chart-2', of: (s) => s.bytesUpPerSecond },
    ],
  },
  {
    title: 'Connect time by phase',
    say: inTime,
    least: 20,
    stacked: true,
    lines: [
      { name: 'token, address', colour: '--chart-1', of: (s) => s.connectMs.resolve },
      { name: 'dial', colour: '--chart-2', of: (s) => s.connectMs.dial },
      { name: 'TLS', colour: '--chart-3', of: (s) => s.connectMs.tls },
      { name: 'login', colour: '--chart-4', of: (s) => s.connectMs.login },
      { name: 'start', colour: '--chart-5', of: (s) => s.connectMs['start-instance'] },
    ],
  },
]

/** With an empty one, whose numbers are unknown, in each gap. @typedef {{ at: number, sample: Sample | undefined }} Point */

/** @type {Sample[]} */
let samples = []
/** @type {Point[]} */
let points = []
/** The proxy's time. */
let now = 0
/** @type {Plot[]} */
let plots = []

/** @param {readonly Sample[]} history */
export function showHistory(history) {
  samples = [...history]
  points = withGaps(samples)
  now = Math.max(now, samples.at(-1)?.at ?? (now === 0 ? Date.now() : 0))
  if (plots.length === 0) {
    const list = /** @type {HTMLElement} */ (document.getElementById('charts'))
    plots = CHARTS.map((chart) => new Plot(chart, list))
    const scheme = matchMedia('(prefers-color-scheme: dark)')
    scheme.addEventListener('change', () => {
      for (const plot of plots) plot.draw()
    })
  }
  for (const plot of plots) plot.update()
}

/** The time axis goes on, also when no sample comes: then it shows the gap. @param {number} time */
export function tickCharts(time) {
  now = time
  for (const plot of plots) plot.update()
}

/** @param {Sample} sample */
export function addSample(sample) {
  showHistory([...samples, sample].slice(-KEPT))
}

class Plot {
  /** @type {any} uPlot, which brings types for modules only */
  #plot

  /** @param {Chart} chart @param {HTMLElement} list */
  constructor(chart, list) {
    this.chart = chart
    const { root, parts } = fromTemplate('chart-figure')
    put(part(parts, 'title'), chart.title)
    this.when = part(parts, 'when')
    this.place = part(parts, 'plot')
    this.values = chart.lines.map((line) => legendEntry(part(parts, 'legend'), line))
    list.append(root)
    this.draw()
    new ResizeObserver(() => {
      this.#plot.setSize({ width: this.place.clientWidth, height: HEIGHT })
    }).observe(this.place)
  }

  /** From the start: colours are read when it is built. */
  draw() {
    this.#plot?.destroy()
    const { chart, place } = this
    const colour = (/** @type {string} */ name) =>
      getComputedStyle(place).getPropertyValue(name).trim()
    const grid = { stroke: colour('--line'), width: 1 }
    const axis = {
      stroke: colour('--muted'),
      font: '11px system-ui, sans-serif',
      ticks: { show: false },
    }
    const { paths } = /** @type {any} */ (globalThis).uPlot
    const bars = paths.bars({ size: [1, 6, 2], align: -1 })
    const series = chart.lines.map(({ name, colour: of }) => ({
      label: name,
      stroke: colour(of),
      fill: chart.stacked ? colour(of) : `${colour(of)}${WASH}`,
      width: chart.stacked ? 0 : 1.6,
      points: { show: false },
      ...(chart.stacked ? { paths: bars } : {}),
    }))
    this.#plot = new /** @type {any} */ (globalThis).uPlot(
      {
        width: place.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        padding: [8, 18, 0, 0],
        cursor: {
          y: false,
          drag: { x: false, y: false },
          points: { show: !chart.stacked, size: 6 },
        },
        scales: {
          x: { time: true, range: () => span() },
          y: {
            range: (
              /** @type {any} */ _u,
              /** @type {number} */ _min,
              /** @type {number} */ max,
            ) => [0, Math.max(max * 1.15, chart.least)],
          },
        },
        axes: [
          {
            ...axis,
            grid: { show: false },
            gap: 9,
            size: 30,
            space: 70,
            values: (/** @type {any} */ _u, /** @type {number[]} */ at) =>
              at.map((s) => timeOfDay(s * 1000)),
          },
          {
            ...axis,
            grid,
            size: 62,
            space: 36,
            ...(chart.whole ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] } : {}),
            values: (/** @type {any} */ _u, /** @type {number[]} */ ys) => ys.map(chart.say),
          },
        ],
        series: [{}, ...(chart.stacked ? series.toReversed() : series)],
        hooks: { setCursor: [(/** @type {any} */ u) => this.#say(u.cursor.idx)] },
      },
      this.#data(),
      place,
    )
    this.#say(undefined)
  }

  update() {
    this.#plot.setData(this.#data())
    this.#say(this.#plot.cursor.idx)
  }

  /** A stack is drawn from its whole down to its lowest part, each over the previous one. */
  #data() {
    const { lines, stacked } = this.chart
    const times = points.map(({ at }) => at / 1000)
    const drawn = stacked
      ? lines.map((_line, index) => lines.slice(0, index + 1)).toReversed()
      : lines.map((line) => [line])
    return [times, ...drawn.map((sum) => points.map(({ sample }) => sumOf(sum, sample)))]
  }

  /** The values under the pointer, else those of now. @param {number | null | undefined} index */
  #say(index) {
    const { lines, say, title, stacked } = this.chart
    const pointed = index === null || index === undefined ? undefined : points[index]
    const last = stacked ? samples.findLast((each) => sumOf(lines, each) !== null) : samples.at(-1)
    const isLive = last !== undefined && now - last.at < GAP_MS
    // The latest logins are worth knowing also when they are old, with their age.
    const sample = pointed?.sample ?? (isLive || stacked ? last : undefined)
    const when =
      pointed !== undefined
        ? timeOfDay(pointed.at)
        : last === undefined || isLive
          ? ''
          : stacked
            ? ago(last.at, now)
            : `no data since ${timeOfDay(last.at)}`
    put(this.when, when)
    const said = lines.map(({ name, of }, line) => {
      const value = sample === undefined ? undefined : of(sample)
      const text = value === undefined ? '–' : say(value)
      const entry = /** @type {{ root: HTMLElement, value: HTMLElement }} */ (this.values[line])
      put(entry.value, text)
      // Few instances are ever started by a client.
      entry.root.hidden = name === 'start' && !samples.some((each) => of(each) !== undefined)
      return entry.root.hidden ? '' : `${name} ${text}`
    })
    const age = when === '' ? '' : `, ${when}`
    this.place.ariaLabel = `${title}: ${said.filter(Boolean).join(', ')}${age}`
  }
}

/** Null where there is nothing to draw. @param {readonly Line[]} lines @param {Sample | undefined} sample */
function sumOf(lines, sample) {
  if (sample === undefined) return null
  const values = lines.map(({ of }) => of(sample)).filter((value) => value !== undefined)
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0)
}

/** The part of the last 15 minutes that has samples, up to now, in seconds. */
function span() {
  const known = now - (samples[0]?.at ?? now)
  return [(now - Math.min(SPAN_MS, Math.max(MIN_SPAN_MS, known))) / 1000, now / 1000]
}

/** @param {readonly Sample[]} known @returns {Point[]} */
function withGaps(known) {
  return known.flatMap((sample, index) => {
    const { at } = sample
    const previous = known[index - 1]
    const isGap = previous !== undefined && at - previous.at > GAP_MS
    return [...(isGap ? [{ at: at - EVERY_MS, sample: undefined }] : []), { at, sample }]
  })
}

/** @param {HTMLElement} legend @param {Line} line */
function legendEntry(legend, { name, colour }) {
  const root = document.createElement('li')
  const mark = document.createElement('span')
  mark.className = 'mark'
  mark.style.background = `var(${colour})`
  const value = document.createElement('b')
  root.append(mark, `${name} `, value)
  legend.append(root)
  return { root, value }
}
