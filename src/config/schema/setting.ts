/** What a row of the table says: what the setting is, where it ends up, and which rules it has. */

import { isLoopback } from '../../core/loopback.js'
import type { Kind } from './values.js'

interface Row {
  readonly kind: Kind<unknown, never>
  /** The default, as a user would write it. */
  readonly default?: string
  readonly help: string
  readonly dotenv: DotenvRule
  /**
   * The decision that takes it up, together with others or with what is known of the machine.
   * Without one, the value is passed on as it is, under the setting's own name in camelCase.
   */
  readonly into?: Decision
}

/** `sources`: a setting that names where other settings are read from. */
type Decision =
  | ('name' | 'listen' | 'login' | 'verify' | 'proxyProtocolFrom' | 'followGit')
  | ('localPassword' | 'localTls' | 'resolver' | 'admin' | 'logFormat')
  | ('newBranch' | 'targets' | 'sources')

/**
 * What a reload does when the setting has changed. `target`: the targets whose settings differ are
 * built again. `all targets`: every target is. `at once`: the new value counts from then on.
 * `restart`: it counts from the next start.
 */
type Reload = 'target' | 'all targets' | 'at once' | 'restart'

/** May stand in a TARGET's query, and in a map of the file's `targets`. */
export function perTarget<const R extends Row>(
  row: R,
): R & { readonly perTarget: true; readonly reload: 'target' } {
  return { ...row, perTarget: true, reload: 'target' }
}

/** A setting of the whole process. */
export function once<const R extends Row & { readonly reload: Reload }>(
  row: R,
): R & { readonly perTarget: false } {
  return { ...row, perTarget: false }
}

/** A row of the table, whichever it is. */
export interface Setting extends Row {
  readonly perTarget: boolean
  readonly reload: Reload
}

/**
 * What the working folder's `.env` may set when `--env-file` does not name it. The file may have
 * come with a cloned repository, so that it is trusted less than the user.
 */
export type DotenvRule = 'free' | Restricted

export interface Restricted {
  /** Reads on from "it": `it chooses an address to dial`. */
  readonly reason: string
  /** The parsed values that are allowed all the same. */
  readonly allows: (value: unknown) => boolean
}

export const FREE = 'free'
export const DIALS = restricted('it chooses an address to dial')
export const TRUST = restricted('it chooses whose certificates are trusted')
export const PROGRAM = restricted('it chooses a program to run')
export const FILE = restricted('it chooses a file of settings')
export const SECRET = restricted('it chooses which secret is sent')
export const PROTECTION = restricted('it can switch a protection off')

/** A protection that `.env` may switch on, or leave as it is by default. */
export function only(safe: unknown): Restricted {
  return { reason: PROTECTION.reason, allows: (value) => value === safe }
}

export const LOOPBACK_ONLY: Restricted = {
  reason: 'it would listen beyond this machine',
  allows: (value) => [value].flat().every((address) => isLoopback(String(address))),
}

export const DEFAULT_PORT_ONLY: Restricted = {
  reason: DIALS.reason,
  allows: (value) => value === 5432,
}

function restricted(reason: string): Restricted {
  return { reason, allows: () => false }
}
