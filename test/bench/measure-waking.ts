/**
 * What waking and branches cost: from connect() to the answer of the first `select 1`, with the
 * workspace and the database a round trip of 0, 20 and 40 ms away. The emulator is the Lakebase;
 * `direct` shows what it takes for itself, to a client that knows the host and has a token.
 */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createSecureContext } from 'node:tls'
import { type Branch, demoInventory, demoUser, project } from '../../src/emulator/inventory.js'
import { type Emulator, startEmulator } from '../support/emulator-control.js'
import type { Bench } from './bench.js'
import { startRelay } from './measure-cold.js'
import { freePort, Process, run } from './processes.js'
import { printAcross } from './samples.js'
import { ask, type Login, openSession } from './sessions.js'
import { PROXY_PROGRAM, startProxyProcess } from './ways.js'

/** The emulator's own, on purpose. It copies a branch's data meanwhile, which takes up to 2 s. */
const WAKE_MS = 500
const MAKE_MS = 3_000

const ROUND_TRIPS_MS = [0, 20, 40]
const DATABASE = 'databricks_postgres'
const PROJECT = 'projects/bench'
const MAIN = `${PROJECT}/branches/main`

export async function measureWaking(bench: Bench): Promise<void> {
  if (!bench.ways.includes('proxy')) return
  const now = Date.now()
  const unopened = ROUND_TRIPS_MS.flatMap((ms) =>
    Array.from({ length: bench.rounds }, (_, round) => unopenedId(ms, round)),
  )
  const branches = ['main', ...unopened].map((id) => ({ id }))
  const inventory = { ...demoInventory(now), projects: [project('bench', now, branches)] }
  const emulator = await startEmulator({ inventory, transitionMs: MAKE_MS })
  try {
    emulator.control.behaviour.wakeMs = WAKE_MS
    emulator.control.behaviour.maxUnarchivedBranches = branches.length + 3 * bench.rounds
    for (const ms of ROUND_TRIPS_MS) await measureAt(ms, bench, emulator)
    printAcross(bench.samples, 'waking', ['direct', 'proxy'])
  } finally {
    await emulator.close()
  }
}

const unopenedId = (roundTripMs: number, round: number): string => `b-${roundTripMs}-${round}`

async function measureAt(roundTripMs: number, bench: Bench, emulator: Emulator): Promise<void> {
  const { folder, rounds, samples } = bench
  const { control } = emulator
  const apiPort = Number(new URL(emulator.workspaceUrl).port)
  const front = await startRelay(folder, emulator.frontPort, roundTripMs)
  const api = await startRelay(folder, apiPort, roundTripMs)
  const env = {
    ...emulator.env,
    DATABRICKS_HOST: `http://127.0.0.1:${api.port}`,
    LAKEBASE_PROXY_UPSTREAM_PORT: `${front.port}`,
  }
  const routing = await startRouting(folder, env)
  const following = await startFollowing(folder, env)
  const secureContext = createSecureContext({ ca: emulator.caPem })
  const direct = ({ endpoints: [endpoint] }: Branch): Login => ({
    ...{ port: front.port, user: demoUser.userName, database: DATABASE },
    password: control.mintToken(demoUser).text,
    tls: { host: endpoint!.host, secureContext },
  })
  const proxied = (user = 'any'): Login => ({ port: routing.port, user, database: DATABASE })
  const add = (way: 'direct' | 'proxy', what: string, ms: number): void =>
    samples.add(`waking@${roundTripMs} ms`, way, { [`${what}, ms`]: ms })
  const main = control.branch(MAIN)
  try {
    for (const login of [direct(main), proxied()]) await untilAnswered(login)
    for (let round = 0; round < rounds; round++) {
      add('direct', 'already open', await untilAnswered(direct(main)))
      add('proxy', 'already open', await untilAnswered(proxied()))

      const asleep = `asleep (held ${WAKE_MS} ms)`
      for (const [way, login] of [
        ['direct', direct(main)],
        ['proxy', proxied()],
      ] as const) {
        await control.suspendEndpoint(`${MAIN}/endpoints/primary`)
        add(way, asleep, await untilAnswered(login))
      }
      await control.suspendEndpoint(`${MAIN}/endpoints/primary`)
      control.behaviour.whileWaking = 'starting up'
      add('proxy', `asleep (refused for ${WAKE_MS} ms)`, await untilAnswered(proxied()))
      control.behaviour.whileWaking = 'hold'

      const unopened = `${PROJECT}/branches/${unopenedId(roundTripMs, round)}`
      add('direct', 'not opened yet', await untilAnswered(direct(control.branch(unopened))))
      add('proxy', 'not opened yet', await untilAnswered(proxied(unopened)))

      const name = `new-${roundTripMs}-${round}`
      const startedAt = performance.now()
      const made = await control.createBranch(PROJECT, `${name}-direct`)
      const makingMs = performance.now() - startedAt
      const loginMs = await untilAnswered(direct(made))
      add('direct', `branches create (made in ${MAKE_MS} ms)`, makingMs)
      add('direct', 'first login on it', loginMs)
      add('direct', `follow-git=create (made in ${MAKE_MS} ms)`, makingMs + loginMs)

      add('proxy', `branches create (made in ${MAKE_MS} ms)`, await createByCommand(name, env))
      add('proxy', 'first login on it', await untilAnswered(proxied(`${PROJECT}/branches/${name}`)))

      await following.checkOut(`work-${roundTripMs}-${round}`)
      const followed = await untilAnswered({ port: following.port, database: DATABASE })
      add('proxy', `follow-git=create (made in ${MAKE_MS} ms)`, followed)
    }
  } finally {
    for (const each of [routing, following]) await each.process.stop('SIGKILL')
    for (const relay of [front, api]) await relay.process.stop()
    await purgeNew(emulator)
  }
}

/** In ms, from connect() to the answer of the first query. */
async function untilAnswered(login: Login): Promise<number> {
  const startedAt = performance.now()
  const socket = await openSession(login)
  await ask(socket, 'select 1')
  const ms = performance.now() - startedAt
  socket.destroy()
  return ms
}

interface RunningProxy {
  readonly port: number
  readonly process: Process
}

/** For all branches of the project. */
async function startRouting(folder: string, env: Record<string, string>): Promise<RunningProxy> {
  const port = await freePort()
  const args = ['--route', 'on', '--port', `${port}`, '--no-admin']
  const process = startProxyProcess([PROJECT, `${PROJECT}/branches/*`, ...args], folder, env)
  await process.listening(port)
  return { port, process }
}

/** For the branch that is checked out in a folder of its own. */
async function startFollowing(
  folder: string,
  env: Record<string, string>,
): Promise<RunningProxy & { checkOut(gitBranch: string): Promise<void> }> {
  const port = await freePort()
  const cwd = join(folder, `work-${port}`)
  await mkdir(join(cwd, '.git'), { recursive: true })
  const checkOut = (gitBranch: string): Promise<void> =>
    writeFile(join(cwd, '.git', 'HEAD'), `ref: refs/heads/${gitBranch}\n`)
  await checkOut('main')
  const args = [`${PROJECT}?follow-git=create`, '--port', `${port}`, '--no-admin']
  const command = [process.execPath, PROXY_PROGRAM, 'start', ...args]
  const options = { cwd, env: { ...process.env, ...env } }
  const proxy = new Process(command, join(folder, 'proxy.log'), options)
  await proxy.listening(port)
  return { port, process: proxy, checkOut }
}

async function createByCommand(id: string, env: Record<string, string>): Promise<number> {
  const startedAt = performance.now()
  const args = ['branches', 'create', id, '--from', PROJECT, '--ttl', '1h']
  await run([process.execPath, PROXY_PROGRAM, ...args], env)
  return performance.now() - startedAt
}

/** Each branch that was made runs a PostgreSQL. */
async function purgeNew({ control, workspaceUrl, env }: Emulator): Promise<void> {
  const headers = { authorization: `Bearer ${env.DATABRICKS_TOKEN}` }
  for (const { name, source } of [...control.branches(PROJECT)]) {
    if (source === undefined) continue
    const url = `${workspaceUrl}/api/2.0/postgres/${name}?purge=true`
    const { status } = await fetch(url, { method: 'DELETE', headers })
    if (status !== 200) throw new Error(`could not delete ${name}: ${status}`)
  }
}
