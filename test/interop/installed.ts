/**
 * The tools that `test/interop/setup` installed, and how a test runs one: with nothing of our
 * environment but PATH, in a folder of its own. A tool that is missing skips its tests.
 */

import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'

import type { Emulator } from '../support/emulator-control.js'

const FOLDER =
  process.env.LAKEBASE_INTEROP ??
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'lakebase-proxy-interop')

const DRIVERS = '/etc/odbcinst.ini'

/** A tool may compile, migrate or install; none of them needs longer. */
const LIMIT_MS = 150_000

/** One of setup's groups, and the file in it that shows that it was installed. */
export interface Tool {
  readonly path: string
  /** For `test(name, { skip }, …)`. */
  readonly skip: false | string
}

export function installed(group: string, file: string): Tool {
  const path = join(FOLDER, group, file)
  const skip = existsSync(path) ? false : `not installed: run test/interop/setup ${group}`
  return { path, skip }
}

/** The ODBC driver, which the system's own list names. */
export function installedOdbc(): Pick<Tool, 'skip'> {
  const drivers = existsSync(DRIVERS) ? readFileSync(DRIVERS, 'utf8') : ''
  const isThere = drivers.includes('[PostgreSQL Unicode]')
  return { skip: isThere ? false : 'not installed: run test/interop/setup debian' }
}

/** A script of test/interop/node, put where Node.js finds the packages that it imports. */
export function nodeScript(name: string): string {
  const path = join(FOLDER, 'node', name)
  copyFileSync(join('test/interop/node', name), path)
  return path
}

/** Removed when all tests of the file are done. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'lakebase-proxy-interop-'))
  after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly input?: string
}

/** Its standard output. Rejects with all that it printed when it fails. */
export function runTool(
  program: string,
  args: readonly string[],
  { env = {}, cwd = '/', input }: RunOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      ...{ cwd, timeout: LIMIT_MS, maxBuffer: 64 * 1024 * 1024 },
      env: { PATH: process.env.PATH, HOME: cwd, LANG: 'C.UTF-8', ...env },
    }
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new Error(`${program} failed: ${error.message}\n${stdout}\n${stderr}`))
    })
    child.stdin?.end(input)
  })
}

/** How libpq reaches the emulator's front door, whose names only the emulator's DNS server knows. */
export function frontEnv(emulator: Emulator): Record<string, string> {
  return {
    PGHOSTADDR: '127.0.0.1',
    PGPORT: `${emulator.frontPort}`,
    PGSSLMODE: 'verify-full',
    PGSSLROOTCERT: emulator.caFile,
  }
}
