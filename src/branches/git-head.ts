/**
 * What is checked out in a folder, read from git's own files: the folder itself or the nearest one
 * above that holds `.git`, which is a folder, or in worktrees and submodules a file that names one.
 * No program is started, so that it can be read for every client. A repository of another user counts
 * for nothing, as with git: its owner would choose the branch.
 * https://git-scm.com/docs/gitrepository-layout
 */

import type { Stats } from 'node:fs'
import { lstat, open, readlink, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'

import { isForeign } from '../core/secret-file.js'

export type GitHead =
  | { readonly is: 'branch'; readonly branch: string }
  /** A commit is checked out, as during a rebase. */
  | { readonly is: 'detached' }
  /** No repository, or none whose HEAD says what git would write there. */
  | { readonly is: 'missing' }
  /** The repository belongs to another user of the machine. */
  | { readonly is: 'foreign'; readonly path: string }
  /** Git, or an editor, is writing it: it has no line break yet. */
  | { readonly is: 'unfinished' }

/** Longer than any name that a file system takes for a branch. */
const MAX_BYTES = 4096

/** Never rejects. */
export async function readGitHead(folder: string): Promise<GitHead> {
  const found = await locate(folder)
  if (found === undefined) return { is: 'missing' }
  const head = join(found.gitFolder, 'HEAD')
  const foreign = found.foreign ?? (await foreignOf(head))
  if (foreign !== undefined) return { is: 'foreign', path: foreign }
  // Very old repositories have a symbolic link here.
  const link = await readlink(head).catch(() => undefined)
  return parseHead(link === undefined ? await readStart(head) : `ref: ${link}\n`)
}

/** The folder of HEAD; undefined outside of a repository, and in one of another user. */
export async function findGitFolder(folder: string): Promise<string | undefined> {
  const found = await locate(folder)
  return found?.foreign === undefined ? found?.gitFolder : undefined
}

interface Located {
  readonly gitFolder: string
  /** What belongs to another user on the way to it. */
  readonly foreign: string | undefined
}

async function locate(folder: string): Promise<Located | undefined> {
  for (let at = resolve(folder); ; at = dirname(at)) {
    const path = join(at, '.git')
    const found = await lstat(path).catch(() => undefined)
    if (found?.isFile()) {
      const text = await readStart(path)
      const named = /^gitdir: ([^\n]+)/.exec(text ?? '')?.[1]?.trimEnd()
      if (named === undefined) return undefined
      const gitFolder = resolve(at, named)
      return { gitFolder, foreign: (await foreignOf(path)) ?? (await foreignOf(gitFolder)) }
    }
    if (found !== undefined) return { gitFolder: path, foreign: await foreignOf(path) }
    if (at === dirname(at)) return undefined
  }
}

/** The path itself, if it or what it leads to belongs to another user. Windows has no such owners. */
async function foreignOf(path: string): Promise<string | undefined> {
  if (process.geteuid === undefined) return undefined
  const owners: (Stats | undefined)[] = await Promise.all(
    [lstat(path), stat(path)].map((each) => each.catch(() => undefined)),
  )
  return owners.some((each) => each !== undefined && isForeign(each)) ? path : undefined
}

function parseHead(text: string | undefined): GitHead {
  if (text === undefined) return { is: 'missing' }
  const [line = '', ...rest] = text.split('\n')
  if (rest.length === 0) {
    return { is: text.length < MAX_BYTES ? 'unfinished' : 'missing' }
  }
  // A name does not go on in another line: to git, such a HEAD is broken.
  if (rest.join('').trim() !== '') return { is: 'missing' }
  const branch = /^ref:\s*refs\/heads\/(.+)$/.exec(line.trimEnd())?.[1]
  // What repositories in the reftable format have here, whose HEAD is in another file.
  if (branch === '.invalid') return { is: 'missing' }
  if (branch !== undefined) return { is: 'branch', branch }
  return { is: /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(line.trimEnd()) ? 'detached' : 'missing' }
}

/** Undefined when it does not exist or is not a file. */
async function readStart(path: string): Promise<string | undefined> {
  const found = await lstat(path).catch(() => undefined)
  if (found?.isFile() !== true) return undefined // a pipe would keep us waiting
  const file = await open(path, 'r').catch(() => undefined)
  if (file === undefined) return undefined
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_BYTES), 0, MAX_BYTES, 0)
    return textOf(buffer.subarray(0, bytesRead))
  } catch {
    return undefined
  } finally {
    await file.close()
  }
}

/** Git does not say how a name is encoded. Two names in another encoding must not become one. */
function textOf(bytes: Buffer): string {
  const text = bytes.toString('utf8')
  return Buffer.from(text).equals(bytes) ? text : bytes.toString('latin1')
}
