/**
 * Limits what a `.env` may set that the user did not name, because it may come with a cloned
 * repository. The rules are in the tables of `schema/`.
 */

import type { Restricted } from '../schema/setting.js'
import { SETTINGS, type SettingName, variableOf } from '../schema/table.js'
import { VARIABLES } from '../schema/variables.js'
import type { EnvFile } from '../sources/env-file.js'
import type { Problems } from '../sources/problems.js'
import type { Found, KnownTarget } from '../sources/sources.js'

type Environment = Readonly<Record<string, string | undefined>>

/** Adds a problem when an implicit `.env` may not choose this value. */
export function checkImplicit(
  name: SettingName,
  value: unknown,
  found: Found,
  target: KnownTarget | undefined,
  problems: Problems,
): void {
  const rule = SETTINGS[name].dotenv
  if (!found.isImplicit || rule === 'free' || rule.allows(value)) return
  // A URL that holds its own password may say where that password goes.
  if (found.isOwn && target?.target.kind === 'static') return
  refuse(name, found.where, rule, `--${name} or ${variableOf(name)} in the environment`, problems)
}

/** The variables of `.env` that are used; adds a problem for each that is not allowed there. */
export function usableVariables(
  file: EnvFile,
  environment: Environment,
  problems: Problems,
): Readonly<Record<string, string>> {
  if (!file.isImplicit) return file.values
  const usable: Record<string, string> = {}
  for (const [name, value] of Object.entries(file.values)) {
    const rule = VARIABLES.get(name)?.dotenv
    if (rule === undefined || value === '') continue
    if (rule === 'free') usable[name] = value
    else if ((environment[name] ?? '') === '') {
      refuse(name, file.where(name), rule, `${name} in the environment`, problems)
    }
  }
  return usable
}

function refuse(
  name: string,
  where: string,
  { reason }: Restricted,
  instead: string,
  problems: Problems,
): void {
  problems.add(
    where,
    `${name} may not stand in a .env that --env-file does not name: ${reason}`,
    `Set ${instead}, or name the file: --env-file .env`,
  )
}
