/** One emulator for a test file, and other people's clients pointed at its front door. */

import { execFile } from 'node:child_process'
import { after, beforeEach } from 'node:test'
import { promisify } from 'node:util'

import pg from 'pg'

import type { EmulatorOptions } from '../../src/emulator/emulator.js'
import { type Emulator, startEmulator } from './emulator-control.js'
import { endWhenFailed } from './ending.js'

/** Closed when all tests of the file are done, and without faults when each begins. Call it at the top of the file. */
export async function emulatorForTests(options: EmulatorOptions = {}): Promise<Emulator> {
  const emulator = await startEmulator(options)
  endWhenFailed()
  after(() => emulator.close())
  beforeEach(() => emulator.control.clearFaults()) // those of a test that failed
  return emulator
}

export interface LoginOptions {
  host: string
  user: string
  password: string
  database?: string
}

/** A `pg` client for the front door itself, not yet connected. */
export function frontClient(emulator: Emulator, login: LoginOptions): pg.Client {
  const client = new pg.Client({
    host: '127.0.0.1',
    port: emulator.frontPort,
    user: login.user,
    password: login.password,
    database: login.database ?? 'databricks_postgres',
    ssl: { ca: emulator.caPem, servername: login.host },
  })
  client.on('error', () => {}) // a connection cut on purpose
  return client
}

/** psql against the front door, verify-full; rejects with psql's stderr in the error. */
export async function frontPsql(
  emulator: Emulator,
  login: LoginOptions,
  ...args: string[]
): Promise<string> {
  const parameters = {
    host: login.host,
    hostaddr: '127.0.0.1',
    port: emulator.frontPort,
    user: `'${login.user}'`,
    dbname: login.database ?? 'databricks_postgres',
    sslmode: 'verify-full',
    sslrootcert: emulator.caFile,
  }
  const conninfo = Object.entries(parameters).map(([name, value]) => `${name}=${value}`)
  const run = promisify(execFile)
  const { stdout } = await run('psql', ['-XAt', '-d', conninfo.join(' '), ...args], {
    env: { PATH: process.env.PATH, PGPASSWORD: login.password },
  })
  return stdout
}

export const hasPsql: boolean = await promisify(execFile)('psql', ['--version']).then(
  () => true,
  () => false,
)

/** For `test(name, { skip: needsPsql }, …)`. */
export const needsPsql: false | string = hasPsql ? false : 'psql is not installed'
