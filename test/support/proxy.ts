/** A proxy before an emulator, in the process of the test, and other people's clients pointed at it. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { promisify } from 'node:util'

import pg from 'pg'
import { gitRunner } from '../../src/branches/repository.js'
import { type ProxyOptions, settingsFromOptions } from '../../src/config/resolve/options.js'
import type { ProxySettings } from '../../src/config/resolve/settings.js'
import { type Clock, systemClock } from '../../src/core/clock.js'
import { Daemon } from '../../src/daemon/daemon.js'
import { workspaceOpener } from '../../src/daemon/workspace-opener.js'
import type { Emulator } from './emulator-control.js'
import { FakeClock } from './fake-clock.js'
import { type RecordedLog, recordedLog } from './recorded-log.js'
import { connect, readAll } from './sockets.js'

export interface TestProxy {
  readonly daemon: Daemon
  /** The port of the first target. */
  readonly port: number
  readonly log: RecordedLog
  readonly stateDir: string
  /** Settings as this proxy's were made, for a reload. */
  settings(options?: Partial<ProxyOptions>): ProxySettings
}

export interface TestProxyOptions extends Partial<ProxyOptions> {
  clock?: Clock
  stateDir?: string
}

/** Closed when the test ends. One target, `demo-instance`, at a free port, unless told otherwise. */
export async function proxyBefore(
  t: TestContext,
  emulator: Emulator,
  { clock = systemClock, stateDir, ...options }: TestProxyOptions = {},
): Promise<TestProxy> {
  const log = recordedLog()
  const folder = stateDir ?? (await temporaryFolder(t))
  const settings = (more: Partial<ProxyOptions> = {}): ProxySettings =>
    settingsFromOptions({ targets: ['demo-instance'], port: 0, ...options, ...more }, emulator.env)
  const daemon = await Daemon.start({
    settings: settings(),
    openWorkspace: workspaceOpener({
      env: emulator.env,
      programEnv: {},
      homeDir: folder,
      clock,
      log,
    }),
    runGit: gitRunner({ programEnv: process.env, homeDir: folder, platform: process.platform }),
    stateDir: folder,
    log,
    clock,
  })
  // A test that failed has moved its clock no further, and left sessions that wait for it.
  t.after(() => (clock instanceof FakeClock ? clock.runUntil(daemon.close()) : daemon.close()))
  return { daemon, port: daemon.targets[0]!.listener.port, log, stateDir: folder, settings }
}

/** Gone when the test ends. */
export async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lakebase-proxy-test-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** A connected `pg` client; any user, no password, unless told otherwise. Ended when the test ends. */
export async function connectedClient(
  t: TestContext,
  port: number,
  config: pg.ClientConfig = {},
): Promise<pg.Client> {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'anyone', ...config })
  client.on('error', () => {}) // a connection cut on purpose
  await client.connect()
  t.after(() => client.end().catch(() => {}))
  return client
}

/** A CancelRequest for what the client does, by its own connection, as drivers send it. */
export async function cancel(port: number, client: pg.Client): Promise<void> {
  // `pg` keeps what BackendKeyData said.
  const { processID, secretKey } = client as pg.Client & { processID: number; secretKey: number }
  const request = Buffer.from('0000001004d2162e0000000000000000', 'hex')
  request.writeInt32BE(processID, 8)
  request.writeInt32BE(secretKey, 12)
  const socket = await connect(port)
  socket.end(request)
  assert.equal((await readAll(socket)).length, 0)
}

export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A program with nothing of our environment but PATH; never rejects, and is ended after 30 s. */
export async function run(
  program: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Ran> {
  const options = { env: { PATH: process.env.PATH, LC_ALL: 'C', ...env }, timeout: 30_000 }
  try {
    const { stdout, stderr } = await promisify(execFile)(program, args, options)
    return { code: 0, stdout, stderr }
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as Partial<Ran>
    return { code: typeof code === 'number' ? code : -1, stdout, stderr: stderr || String(error) }
  }
}

/** psql with a connection string, such as `host=127.0.0.1 port=5432`. */
export function psql(
  conninfo: string,
  sql: string,
  env: Record<string, string> = {},
): Promise<Ran> {
  return run('psql', ['-XAtq', '-w', '-d', conninfo, '-c', sql], env)
}
