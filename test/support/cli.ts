/** The command line as a user runs it: the built program, in an environment of the test's own. */

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'

import type { Ran } from './proxy.js'

export const MAIN: string = fileURLToPath(new URL('../../src/main.js', import.meta.url))

const LIMIT_MS = 60_000

/** Never rejects. Nothing of our environment but PATH gets in, and HOME is an empty folder. */
export function cli(args: readonly string[], env: Record<string, string> = {}): Promise<Ran> {
  const settings = { PATH: process.env.PATH, HOME: '/nonexistent', ...env }
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [MAIN, ...args],
      { env: settings, timeout: LIMIT_MS },
      (error, stdout, stderr) => {
        const code = typeof error?.code === 'number' ? error.code : error === null ? 0 : -1
        resolve({ code, stdout, stderr })
      },
    )
  })
}
