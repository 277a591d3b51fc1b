/**
 * `demo`: the emulator with a proxy in front of it, in one process, to try everything without an account.
 * With `once` it proves the point instead: queries through the proxy, each on a connection of its
 * own, while tokens of a few seconds expire under it.
 */

import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { ProxyError } from '../../core/errors.js'
import { type RunningProxy, startProxy } from '../../daemon/start-proxy.js'
import { type Emulator, startEmulator } from '../../emulator/emulator.js'
import { simpleQuery } from '../../emulator/simple-query.js'
import { Announcement } from '../running/announcement.js'
import type { FolderPlace } from '../running/running-folder.js'

export interface DemoOptions {
  /** Query across several token expiries, say what happened, and end. */
  once: boolean
  stdout: { write(text: string): unknown }
  /** Where `status`, `url` and `shutdown` look for it; left out: they do not find it. */
  place?: FolderPlace
  /** Ends the command, in order. */
  signal: AbortSignal
}

const DATABASE = 'databricks_postgres'
const TARGET = 'demo-instance'
const PROJECT = 'projects/demo'
// PostgreSQL's own, so that `psql -h localhost` is enough, and the admin port's default.
const PORTS = { port: 5432, adminPort: 9090 }
/** Short enough to see them change on the status page. */
const TOKEN_TTL_MS = 60_000

const ONCE_TOKEN_TTL_MS = 3_000
const ONCE_PAUSE_MS = 700
const ONCE_TOKENS = 4
const ONCE_LIMIT_MS = 60_000

/** Resolves to the exit code. Errors: kind `config` when PostgreSQL is not installed or cannot run here. */
export async function runDemo(options: DemoOptions): Promise<number> {
  const { once: isOnce, signal, stdout } = options
  stdout.write('Starting PostgreSQL, a Lakebase workspace in front of it, and the proxy…\n')
  let latestToken: number | undefined
  const emulator = await startEmulator({
    tokenTtlMs: isOnce ? ONCE_TOKEN_TTL_MS : TOKEN_TTL_MS,
    onPhase(phase, { tokenNumber }) {
      if (phase === 'login') latestToken = tokenNumber
    },
  })
  let proxy: RunningProxy | undefined
  let announcement: Announcement | undefined
  try {
    const branch = isOnce ? undefined : await makeBranch(emulator)
    proxy = await startDemoProxy(emulator, branch)
    const { port } = proxy.addresses[0]!
    if (branch === undefined) return await queryAcrossExpiries(() => latestToken, port, options)
    await changeBranch(port, branch)
    announcement = await announce(proxy, emulator.workspaceUrl, options.place)
    stdout.write(guide(port, branch, proxy.adminUrl))
    if (!signal.aborted) await once(signal, 'abort')
    return 0
  } finally {
    await announcement?.remove()
    await proxy?.close()
    await emulator.close()
  }
}

/**
 * Nothing of the user's own settings gets in: the environment is the emulator's alone. Where the
 * usual ports are taken already, free ones serve; to prove the point, any port will do.
 */
async function startDemoProxy(
  emulator: Emulator,
  branch: string | undefined,
): Promise<RunningProxy> {
  const targets = branch === undefined ? [TARGET] : [TARGET, branch]
  const start = (ports: { port: number; adminPort?: number }) =>
    startProxy({ targets, route: 'on', env: emulator.env, ...ports })
  if (branch === undefined) return start({ port: 0 })
  const tries = [PORTS, { ...PORTS, adminPort: 0 }, { ...PORTS, port: 0 }]
  for (const ports of tries) {
    try {
      return await start(ports)
    } catch (error) {
      if (!(error instanceof ProxyError && error.kind === 'config')) throw error
    }
  }
  return start({ port: 0, adminPort: 0 })
}

/** Never rejects. */
async function announce(
  { addresses, adminUrl: admin }: RunningProxy,
  workspace: string,
  place: FolderPlace | undefined,
): Promise<Announcement | undefined> {
  if (place === undefined) return undefined
  const shown = { host: 'localhost', database: DATABASE, sslmode: 'disable' as const }
  const targets = addresses.map(({ target: name, port }) => ({
    name,
    workspace,
    address: { ...shown, port, user: name, userMatters: true },
  }))
  return Announcement.make(place, { admin, targets })
}

/** Its name. It begins with what the project holds, a table with one row. */
async function makeBranch(emulator: Emulator): Promise<string> {
  const { postgres, inventory, branches } = emulator.parts
  await postgres.query(`create table greeting as select 'hello from production' as text`)
  const project = inventory.projects.find(({ name }) => name === PROJECT)!
  const { branch, made } = branches.create(project, {
    ...{ id: 'feature', source: undefined, isProtected: false, expiry: { noExpiry: true } },
  })
  await made
  return branch.name
}

/** From here on the branch has another row than the project. */
async function changeBranch(port: number, branch: string): Promise<void> {
  await simpleQuery({
    ...{ socket: connect(port, '127.0.0.1'), user: branch, database: DATABASE },
    sql: `update greeting set text = 'hello from the branch'`,
  })
}

async function queryAcrossExpiries(
  latestToken: () => number | undefined,
  port: number,
  { stdout, signal }: DemoOptions,
): Promise<number> {
  const say = (text: string) => stdout.write(`${text}\n`)
  say(`Tokens live ${ONCE_TOKEN_TTL_MS / 1000} s. Each query is on a new connection:\n`)
  const startedAt = Date.now()
  const used = new Set<number | undefined>()
  for (let query = 1; used.size < ONCE_TOKENS; query++) {
    const elapsedMs = Date.now() - startedAt
    try {
      signal.throwIfAborted()
      if (elapsedMs > ONCE_LIMIT_MS) throw new Error(`only ${used.size} tokens were used`)
      const socket = connect(port, '127.0.0.1')
      const login = { socket, user: 'anyone', database: DATABASE }
      const [row] = await simpleQuery({ ...login, sql: 'select current_user' })
      const tokenNumber = latestToken()
      used.add(tokenNumber)
      const at = `${(elapsedMs / 1000).toFixed(1)} s`.padStart(7)
      say(`${at}  query ${query}: logged in as ${row?.[0]} with token ${tokenNumber}`)
    } catch (error) {
      say(`\nFailed at query ${query}: ${error instanceof Error ? error.message : error}`)
      return 1
    }
    await delay(ONCE_PAUSE_MS, undefined, { signal }).catch(() => {})
  }
  say(`\nDone: ${used.size} tokens were used as they came and went, and no query failed.`)
  return 0
}

function guide(port: number, branch: string, adminUrl: string | undefined): string {
  return `
The proxy is at localhost:${port}. Paste into another terminal:

  psql -h localhost -p ${port}

DBeaver, or any other tool: a new PostgreSQL connection with

  Host      localhost
  Port      ${port}
  Database  ${DATABASE}
  Username  anything
  Password  (leave it empty)

A branch with its own copy of the data is at the same port. The user name chooses it:

  psql -h localhost -p ${port} -c 'select * from greeting'
  psql -h localhost -p ${port} -U ${branch} -c 'select * from greeting'

Status page: ${adminUrl}/

Behind it, tokens live ${TOKEN_TTL_MS / 1000} s, and no session notices. Ctrl-C ends it all.
`
}
