/** `.env`: variables for this process alone. Nothing is written to the environment. */

import { statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

import { readWhole } from '../../core/secret-file.js'
import type { Variables } from './sources.js'

export interface EnvFile extends Variables {
  readonly path: string
  readonly values: Readonly<Record<string, string>>
}

/** The file that was named, which must exist, or the working folder's `.env`, which may. */
export async function readEnvFile(
  named: string | undefined,
  cwd: string,
): Promise<EnvFile | undefined> {
  const path = resolve(cwd, named ?? '.env')
  // A folder of that name is a Python environment.
  if (named === undefined && !statSync(path, { throwIfNoEntry: false })?.isFile()) return undefined
  const text = readWhole(path)
  const { default: dotenv } = await import('dotenv')
  const lines = text.split('\n')
  return {
    path,
    folder: dirname(path),
    values: dotenv.parse(text),
    where(variable) {
      const assigns = new RegExp(`^\\s*(export\\s+)?${variable}\\s*[=:]`)
      const line = lines.findLastIndex((each) => assigns.test(each)) + 1
      return `${variable} (${named ?? '.env'}${line === 0 ? '' : `:${line}`})`
    },
  }
}
