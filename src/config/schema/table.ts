/**
 * The one table of settings. Flags, variables, file keys, the options of a TARGET's query, the
 * library's options, their types, the help text and the table of docs/settings.md all come from it.
 * Its rows are in the files `*-settings.ts`.
 */

import { CLIENT_SETTINGS } from './client-settings.js'
import { BRANCH_SETTINGS, LAKEBASE_SETTINGS } from './lakebase-settings.js'
import { LIMIT_SETTINGS } from './limit-settings.js'
import { PROCESS_SETTINGS } from './process-settings.js'
import type { Setting } from './setting.js'
import type { Kind } from './values.js'

/** The settings by section, in the order of the help text. */
export const SECTIONS = {
  'Where clients connect': CLIENT_SETTINGS,
  Lakebase: LAKEBASE_SETTINGS,
  Branches: BRANCH_SETTINGS,
  'Limits and time-outs': LIMIT_SETTINGS,
  'The process': PROCESS_SETTINGS,
}

export const SETTINGS = {
  ...CLIENT_SETTINGS,
  ...LAKEBASE_SETTINGS,
  ...BRANCH_SETTINGS,
  ...LIMIT_SETTINGS,
  ...PROCESS_SETTINGS,
}

export type SettingName = keyof typeof SETTINGS

type ValueOf<S extends Setting> =
  S['kind'] extends Kind<infer T, never> ? (S['default'] extends string ? T : T | undefined) : never

/** The parsed value of every setting. */
export type Values = { readonly [Name in SettingName]: ValueOf<(typeof SETTINGS)[Name]> }

export type TargetSettingName = {
  [Name in SettingName]: (typeof SETTINGS)[Name]['perTarget'] extends true ? Name : never
}[SettingName]

export const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[]

export const TARGET_SETTING_NAMES = SETTING_NAMES.filter((name) => SETTINGS[name].perTarget)

export function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(SETTINGS, name)
}

/** `drain-timeout` is `LAKEBASE_PROXY_DRAIN_TIMEOUT`. */
export function variableOf(name: string): string {
  return `LAKEBASE_PROXY_${name.replaceAll('-', '_').toUpperCase()}`
}
