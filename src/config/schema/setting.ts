/** What the table says of one setting, and what an implicit `.env` may do with it. */

import { isLoopback } from '../../core/loopback.js'
import type { Kind } from './values.js'

export interface Setting<
  T,
  Option,
  Default extends string | undefined = string | undefined,
  PerTarget extends boolean = boolean,
> {
  readonly kind: Kind<T, Option>
  /** As a user would write it. */
  readonly default: Default
  /** May stand in a TARGET's query, and in a map of the file's `targets`. */
  readonly perTarget: PerTarget
  readonly help: string
  readonly dotenv: DotenvRule
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

type Row<T, Option, Default extends string | undefined> = Omit<
  Setting<T, Option, Default>,
  'perTarget'
>

export function perTarget<T, Option, const Default extends string | undefined>(
  row: Row<T, Option, Default>,
): Setting<T, Option, Default, true> {
  return { ...row, perTarget: true }
}

/** A setting of the whole process. */
export function once<T, Option, const Default extends string | undefined>(
  row: Row<T, Option, Default>,
): Setting<T, Option, Default, false> {
  return { ...row, perTarget: false }
}
