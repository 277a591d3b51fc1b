/**
 * Names of the branches that this tool makes: whose they are and for which git branch, in what the
 * API allows (`[a-z][a-z0-9-]*`, at most 63 characters), and a hash that keeps repositories, users
 * and git branches apart that look the same when they are made fit.
 */

import { createHash, randomBytes } from 'node:crypto'

import type { GitHead } from './git-head.js'

export interface Owner {
  /** The workspace identity: an e-mail, or a service principal's application id. */
  readonly identity: string
  /** A text that differs between repositories. */
  readonly repository: string
  readonly head: GitHead
}

const MAX_LENGTH = 63
const HASH_LENGTH = 8
const UNIQUE_LENGTH = 6
const MAX_USER_LENGTH = 20
/** The hyphens too. */
const MAX_WORDS_LENGTH = MAX_LENGTH - HASH_LENGTH - UNIQUE_LENGTH - 2
/** A name in use or reserved has the next free number after it. */
const MAX_SUFFIX = 9

/** `ada-fix-login-1a2b3c4d`; room for a suffix is left. */
export function ownBranchId({ identity, repository, head }: Owner): string {
  const git = head.is === 'branch' ? head.branch : ''
  const hash = createHash('sha256')
    .update(JSON.stringify([repository, identity, git]))
    .digest('hex')
  const user = words(identity.replace(/@.*/s, '')).slice(0, MAX_USER_LENGTH)
  const text = [user, words(git)].filter(Boolean).join('-')
  return `${beginning(text, MAX_WORDS_LENGTH)}-${hash.slice(0, HASH_LENGTH)}`
}

/** A git branch's name as a branch of Lakebase can have it. */
export function fitBranchId(gitBranch: string): string {
  return beginning(words(gitBranch), MAX_LENGTH)
}

/**
 * The branch of Lakebase that has the name of the git branch. Undefined where too little of the name is
 * left to tell git branches apart: no letter or digit of it, or it is cut.
 */
export function sharedBranchId(gitBranch: string): string | undefined {
  const text = words(gitBranch)
  const id = fitBranchId(gitBranch)
  return text !== '' && id.endsWith(text) ? id : undefined
}

/** The name itself, then with `-2`, `-3`, … */
export function* numberedIds(id: string): Generator<string> {
  yield id
  for (let suffix = 2; suffix <= MAX_SUFFIX; suffix += 1) yield `${id}-${suffix}`
}

/** Names for a case where many are made at once: each of them is most likely free. */
export function* uniqueIds(id: string): Generator<string> {
  for (let tries = 0; tries < 5; tries += 1) {
    yield `${id}-${randomBytes(UNIQUE_LENGTH / 2).toString('hex')}`
  }
}

/** Whether `id` is one of `numberedIds(ownId)`. */
export function isNumbered(id: string, ownId: string): boolean {
  return id === ownId || (id.startsWith(`${ownId}-`) && /^-[2-9]$/.test(id.slice(ownId.length)))
}

/** Whether the name is one that this tool gives. */
export function isMadeByUs(id: string): boolean {
  return /^[a-z][a-z0-9-]*-[0-9a-f]{8}(-[0-9a-f]{6}|-[2-9])?$/.test(id)
}

/** `b` of `projects/p/branches/b`. */
export function branchIdOf(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1)
}

function words(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
}

/** Makes a valid id of a text: it begins with a letter, and does not end with a hyphen. */
function beginning(text: string, maxLength: number): string {
  const whole = /^[a-z]/.test(text) ? text : `b-${text}`
  return whole.slice(0, maxLength).replace(/-$/, '') // no two hyphens stand side by side
}
