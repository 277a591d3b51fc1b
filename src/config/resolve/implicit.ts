/**
 * Limits what a `.env` may set that the user did not name, because it may come with a cloned
 * repository. The rules are in the tables of `schema/`.
 */

import type { Restricted } from '../schema/setting.js'
import { SETTINGS, type SettingName, variableOf } from '../schema/table.js'
import { ValueError } from '../schema/values.js'
import { VARIABLES } from '../schema/variables.js'
import { readWorkspaceUrl } from '../schema/workspace-url.js'
import type { EnvFile } from '../sources/env-file.js'
import type { Problems } from '../sources/problems.js'
import type { Written } from '../sources/sources.js'
import type { Found, KnownTarget } from './known-target.js'

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

export interface HostCheck {
  readonly targets: readonly KnownTarget[]
  /** The value of `databricks-host` for a target. */
  readonly hostOf: (target: KnownTarget | undefined) => Found | undefined
  readonly file: EnvFile | undefined
  readonly environment: Environment
}

/**
 * DATABRICKS_HOST is read as `databricks-host` is, and a secret of the environment must not be sent
 * to a host that only an implicit `.env` names.
 */
export function checkHosts(check: HostCheck, problems: Problems): void {
  const { targets, hostOf, file, environment } = check
  const asking = targets.filter(({ target }) => target.kind !== 'static')
  const credential = [...VARIABLES].find(
    ([name, { isCredential }]) => isCredential && (environment[name] ?? '') !== '',
  )
  for (const target of targets.length === 0 ? [undefined] : asking) {
    const host = hostOf(target) ?? hostVariable(file, environment)
    if (host === undefined) continue
    try {
      readWorkspaceUrl(host.text)
    } catch (error) {
      if (!(error instanceof ValueError)) throw error
      const name = hostOf(target) === undefined ? 'DATABRICKS_HOST' : 'databricks-host'
      problems.add(host.where, `${name} ${error.message}`, error.hint)
    }
    if (host.isImplicit && credential !== undefined) {
      problems.add(
        host.where,
        `${credential[0]} of the environment would be sent to a host that only .env names`,
        'Set DATABRICKS_HOST in the environment too, or name the file: --env-file .env',
      )
    }
  }
}

function hostVariable(file: EnvFile | undefined, environment: Environment): Written | undefined {
  const name = 'DATABRICKS_HOST'
  const set = environment[name] ?? ''
  if (set !== '') return { text: set, where: name, folder: '' }
  const text = file?.values[name] ?? ''
  if (file === undefined || text === '') return undefined
  return {
    text,
    where: file.where(name),
    folder: file.folder,
    isImplicit: file.isImplicit ?? false,
  }
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
