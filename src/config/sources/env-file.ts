/**
 * `.env`: variables for this process alone. They are not put into the environment of this process or
 * of a program that it starts. A file that the user did not name is read only when no other user can
 * have written it.
 */

import { closeSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

import { ProxyError } from '../../core/errors.js'
import { decodeText, isForeign, readWhole } from '../../core/secret-file.js'
import type { Variables } from './sources.js'

export interface EnvFile extends Variables {
  readonly path: string
  readonly values: Readonly<Record<string, string>>
  readonly assignments: NonNullable<Variables['assignments']>
}

export interface EnvFilePlace {
  /** By `--env-file` or its variable. Undefined: `.env` of the working folder, where there is one. */
  readonly named: string | undefined
  /** The path as the user gave it. */
  readonly shown: string
  readonly cwd: string
  /** Whom this process runs as. */
  readonly uid: number
  readonly platform: string
}

/** Errors: kind `config`, when a named file cannot be read, and when the file is not the user's. */
export async function readEnvFile(place: EnvFilePlace): Promise<EnvFile | undefined> {
  const { named, shown, cwd } = place
  const path = resolve(cwd, named ?? '.env')
  // A folder of that name is a Python environment.
  if (named === undefined && !statSync(path, { throwIfNoEntry: false })?.isFile()) return undefined
  const text = named === undefined ? readOwn(path, place) : readWhole(path)
  const { default: dotenv } = await import('dotenv')
  const lines = text.split('\n')
  const assignments = (variable: string) => {
    const assigns = new RegExp(`^\\s*(export\\s+)?${variable}\\s*[=:]`)
    const starts = lines.flatMap((line, at) => (assigns.test(line) ? [at] : []))
    return starts
      .map((start, index) => {
        const own = lines.slice(start, starts[index + 1]).join('\n')
        return {
          text: dotenv.parse(own)[variable] ?? '',
          where: `${variable} (${shown}:${start + 1})`,
        }
      })
      .reverse()
  }
  return {
    path,
    isImplicit: named === undefined,
    folder: dirname(path),
    values: dotenv.parse(text),
    assignments,
    where: (variable) => assignments(variable)[0]?.where ?? `${variable} (${shown})`,
  }
}

/** The file is checked as it was opened, so that it cannot be exchanged in between. */
function readOwn(path: string, { uid, platform }: EnvFilePlace): string {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch {
    return readWhole(path)
  }
  try {
    const found = fstatSync(file)
    const foreign = isForeign(found, uid)
    const writable = (found.mode & 0o022) !== 0
    // Windows keeps neither.
    if (platform === 'win32' || (!foreign && !writable)) return decodeText(readFileSync(file), path)
    throw new ProxyError(
      'config',
      foreign ? `${path} belongs to another user` : `${path} can be written by other users`,
      { hint: foreign ? `To use it all the same: --env-file ${path}` : `Type: chmod go-w ${path}` },
    )
  } finally {
    closeSync(file)
  }
}
