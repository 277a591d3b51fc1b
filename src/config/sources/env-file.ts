/**
 * `.env`: variables for this process alone. They are not put into the environment of this process or
 * of a program that it starts. A file that the user did not name is read only when no other user can
 * have written it.
 */

import { closeSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

import { ProxyError } from '../../core/errors.js'
import { isForeign } from '../../core/secret-file.js'
import { decodeText, readText } from '../../core/text-file.js'
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
  const text = named === undefined ? readOwn(path, place) : readText(path)
  const { default: dotenv } = await import('dotenv')
  const lines = text.split('\n')
  const starts = startsOf(lines)
  const placeOf = (variable: string, line: number) => `${variable} (${shown}:${line + 1})`
  return {
    path,
    isImplicit: named === undefined,
    folder: dirname(path),
    values: dotenv.parse(text),
    where(variable) {
      const last = starts.get(variable)?.at(-1)
      return last === undefined ? `${variable} (${shown})` : placeOf(variable, last)
    },
    assignments(variable) {
      const own = starts.get(variable) ?? []
      return own
        .map((start, index) => ({
          text: dotenv.parse(lines.slice(start, own[index + 1]).join('\n'))[variable] ?? '',
          where: placeOf(variable, start),
        }))
        .reverse()
    },
  }
}

/** The lines that assign each variable. One pass: a file may have as many variables as lines. */
function startsOf(lines: readonly string[]): ReadonlyMap<string, readonly number[]> {
  const starts = new Map<string, number[]>()
  for (const [at, line] of lines.entries()) {
    const variable = /^\s*(?:export\s+)?([\w.-]+)\s*[=:]/.exec(line)?.[1]
    if (variable === undefined) continue
    const known = starts.get(variable)
    if (known === undefined) starts.set(variable, [at])
    else known.push(at)
  }
  return starts
}

/** The file is checked as it was opened, so that it cannot be exchanged in between. */
function readOwn(path: string, { uid, platform }: EnvFilePlace): string {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch {
    return readText(path)
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
