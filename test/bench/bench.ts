/**
 * npm run bench: this proxy beside what a user would pick instead, in one run, round by round in
 * turns, because machines are noisy. Prints a table, and the bar with what was reached of it, and
 * writes bench.json.
 */

import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { barLines } from './bar.js'
import { startFarServer } from './far-server.js'
import { Histograms } from './histogram.js'
import { measureBulk } from './measure-bulk.js'
import { measureCold } from './measure-cold.js'
import { measureCrowd } from './measure-crowd.js'
import { measureGateway } from './measure-gateway.js'
import { measureBeside, measureMemory } from './measure-idle.js'
import { measureConnections, measureLatency, measureQueries } from './measure-pgbench.js'
import { measureStart } from './measure-start.js'
import { measureTail } from './measure-tail.js'
import { measureWaking } from './measure-waking.js'
import { drawPicture, type PictureSource, picturedFigures } from './picture.js'
import { findProgram } from './processes.js'
import { printBar, printComparison, printSamples, printTable, Samples } from './samples.js'
import { HOW_TO_INSTALL, type WayName } from './ways.js'

export interface Bench {
  readonly folder: string
  readonly far: Awaited<ReturnType<typeof startFarServer>>
  readonly rounds: number
  readonly quick: boolean
  readonly ways: readonly WayName[]
  readonly samples: Samples
  readonly histograms: Histograms
}

const MEASURES: Record<string, (bench: Bench) => Promise<void>> = {
  bulk: measureBulk,
  queries: measureQueries,
  latency: measureLatency,
  connections: measureConnections,
  gateway: measureGateway,
  tail: measureTail,
  cold: measureCold,
  waking: measureWaking,
  crowd: measureCrowd,
  memory: measureMemory,
  start: measureStart,
  beside: measureBeside,
}
const HELP = `npm run bench -- [--only ${Object.keys(MEASURES).join(',')}] [--ways direct,stunnel,pgbouncer,proxy] [--rounds 5] [--quick] [--compare FILE]
--compare prints the ratios of the medians to those of an earlier bench.json.
npm run bench -- --picture FILE
measures nothing: it draws the tail of the last run, from bench.json, as an SVG, and prints its figures.`

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    ways: { type: 'string', default: 'direct,stunnel,pgbouncer,proxy' },
    rounds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    compare: { type: 'string' },
    picture: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(HELP)
} else if (values.picture !== undefined) {
  await writePicture(values.picture)
} else if (process.platform !== 'linux') {
  console.error('The benchmark reads /proc: it runs on Linux only.')
  process.exitCode = 2
} else {
  await main()
}

async function main(): Promise<void> {
  const names = values.only?.split(',') ?? Object.keys(MEASURES)
  const unknown = names.filter((name) => !(name in MEASURES))
  if (unknown.length > 0) {
    console.error(`No measure "${unknown.join(', ')}". ${HELP}`)
    process.exitCode = 2
    return
  }
  const ways = await installedWays(values.ways.split(',') as WayName[])
  if (ways === undefined) {
    process.exitCode = 1
    return
  }
  // Read first: the run writes a bench.json of its own.
  const earlier = values.compare === undefined ? undefined : await readFile(values.compare, 'utf8')
  const folder = await mkdtemp(join(tmpdir(), 'lakebase-proxy-bench-'))
  await chmod(folder, 0o755) // PostgreSQL and PgBouncer run as another user when we are root
  const samples = new Samples()
  const histograms = new Histograms()
  const far = await startFarServer(folder)
  try {
    const quick = values.quick
    const rounds = Number(values.rounds ?? (quick ? 3 : 5))
    for (const name of names) {
      console.error(`${name} …`)
      await MEASURES[name]!({ folder, far, rounds, quick, ways, samples, histograms })
      printSamples(samples, name)
    }
    const bar = barLines(samples)
    printBar(bar)
    const [cpu] = cpus()
    const machine = { node: process.version, cpus: cpus().length, cpu: cpu?.model ?? 'unknown' }
    console.log(`${machine.cpus} cores (${machine.cpu}), Node.js ${machine.node}`)
    const at = new Date().toISOString()
    const result = { ...machine, at, rounds, quick, bar, samples, histograms }
    if (earlier !== undefined) printComparison(samples, earlier)
    await writeFile('bench.json', `${JSON.stringify(result, null, 1)}\n`)
  } finally {
    await far.stop()
    await rm(folder, { recursive: true })
  }
}

async function writePicture(path: string): Promise<void> {
  const last = JSON.parse(await readFile('bench.json', 'utf8')) as PictureSource
  if (last.histograms.length > 0) {
    await writeFile(path, drawPicture(last))
    printTable(...picturedFigures(last))
    return
  }
  console.error(
    'The last run measured no tail, which is what is drawn: npm run bench -- --only tail',
  )
  process.exitCode = 2
}

/** Says what is missing and how to get it; undefined when nothing can be measured without it. */
async function installedWays(wanted: readonly WayName[]): Promise<WayName[] | undefined> {
  const isMissing = async (program: string): Promise<boolean> => {
    const found = await findProgram(program, `${program}4`)
    if (found === undefined)
      console.error(`${program} is not installed: ${HOW_TO_INSTALL[program]}`)
    return found === undefined
  }
  const essential = [await isMissing('psql'), await isMissing('pgbench')]
  if (essential.some(Boolean)) return undefined
  const ways: WayName[] = []
  for (const way of wanted) {
    if ((way === 'stunnel' || way === 'pgbouncer') && (await isMissing(way))) continue
    ways.push(way)
  }
  return ways
}
