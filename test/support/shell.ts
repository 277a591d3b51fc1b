/** A shell with the command on its PATH, as after an installation, and nothing else of this process. */

import { execFile, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { MAIN } from './cli.js'
import type { Ran } from './proxy.js'

const LIMIT_MS = 60_000

export interface Shell {
  /** Both output streams are in `stdout`, in the order they were written. */
  run(script: string): Promise<Ran>
}

/** Scripts run in `folder`, which is also the home folder. */
export function shellIn(folder: string, env: Readonly<Record<string, string>>): Shell {
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  const command = join(bin, 'lakebase-proxy')
  writeFileSync(command, `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`)
  chmodSync(command, 0o755)
  const environment = { HOME: folder, PATH: `${bin}:${process.env.PATH}`, LC_ALL: 'C', ...env }
  return {
    run: (script) =>
      new Promise((resolve) => {
        const child = execFile(
          'sh',
          ['-ec', `exec 2>&1\n${script}`],
          { cwd: folder, env: environment, timeout: LIMIT_MS },
          (error, stdout, stderr) => {
            const code = typeof error?.code === 'number' ? error.code : error === null ? 0 : -1
            resolve({ code, stdout, stderr })
          },
        )
        child.stdin?.end()
      }),
  }
}

/** A terminal of their own is what such tests have from Python's standard library. */
export const needsPty: string | false =
  spawnSync('python3', ['-c', 'import pty, os; os.waitstatus_to_exitcode']).status !== 0 &&
  'there is no python3 with pty here'
