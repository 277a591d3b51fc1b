/** The library before an emulator for one whole test file, and what tests ask through it. */

import { execFile } from 'node:child_process'
import { after } from 'node:test'
import { promisify } from 'node:util'

import pg from 'pg'

import {
  type RunningProxy,
  type StartProxyOptions,
  startProxy,
} from '../../src/daemon/start-proxy.js'
import type { Emulator } from './emulator-control.js'

export interface ProxyForTests {
  readonly proxy: RunningProxy
  /** The port of the first target. */
  readonly port: number
}

/** Closed when all tests of the file are done, unless closed before. */
export async function proxyForTests(
  emulator: Emulator,
  options: Partial<StartProxyOptions> = {},
): Promise<ProxyForTests> {
  const proxy = await startProxy({
    targets: ['demo-instance'],
    port: 0,
    env: emulator.env,
    ...options,
  })
  after(() => proxy.close())
  return { proxy, port: proxy.addresses[0]!.port }
}

/** Not yet connected. */
export function pgClient(port: number, config: pg.ClientConfig = {}): pg.Client {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'anybody', ...config })
  client.on('error', () => {}) // a connection cut on purpose
  return client
}

/** Connects, asks, leaves. */
export async function ask(
  port: number,
  sql: string,
  config: pg.ClientConfig = {},
): Promise<pg.QueryResult> {
  const client = pgClient(port, config)
  await client.connect()
  try {
    return await client.query(sql)
  } finally {
    await client.end()
  }
}

export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program of PostgreSQL's against the proxy; never rejects. */
export async function run(
  port: number,
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Ran> {
  const settings = { PATH: process.env.PATH, PGHOST: 'localhost', PGPORT: `${port}`, ...env }
  try {
    const { stdout, stderr } = await promisify(execFile)(command, [...args], {
      env: settings,
      maxBuffer: 256 * 1024 * 1024,
    })
    return { code: 0, stdout, stderr }
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { code, stdout, stderr }
  }
}
