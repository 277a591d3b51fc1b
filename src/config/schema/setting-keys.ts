/**
 * What the program calls a setting: the table's name in camelCase, with its unit, such as
 * `connectTimeoutMs`. The types of the settings and of the library's options come from here, so that
 * a row of the table is all that a new setting needs.
 */

import type { Setting } from './setting.js'
import { SETTING_NAMES, SETTINGS, type SettingName, type Values } from './table.js'

export type CamelCase<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name

type UnitOf<S> = S extends { readonly kind: { readonly unit: infer Unit extends string } }
  ? Unit
  : ''

type KeyOf<Name extends SettingName> = `${CamelCase<Name>}${UnitOf<(typeof SETTINGS)[Name]>}`

/** Whose value a setting is: each target has its own, or the process has one. */
type Scope = 'target' | 'process'

type PlainName<Of extends Scope> = {
  [Name in SettingName]: (typeof SETTINGS)[Name] extends { readonly into: string }
    ? never
    : (typeof SETTINGS)[Name]['perTarget'] extends (Of extends 'target' ? true : false)
      ? Name
      : never
}[SettingName]

/** The settings that no decision takes up, each under its own name. */
export type PlainSettings<Of extends Scope> = {
  readonly [Name in PlainName<Of> as KeyOf<Name>]: Values[Name]
}

export function plainSettings<Of extends Scope>(values: Values, of: Of): PlainSettings<Of> {
  const names = SETTING_NAMES.filter((name) => {
    const setting: Setting = SETTINGS[name]
    return setting.perTarget === (of === 'target') && setting.into === undefined
  })
  const entries = names.map((name) => [keyOf(name), values[name]])
  return Object.fromEntries(entries) as PlainSettings<Of>
}

/** Where the value of a setting is to be found in the resolved settings. */
export function keyOf(name: SettingName): string {
  const { into, kind }: Setting = SETTINGS[name]
  return into ?? `${camelCase(name)}${kind.unit ?? ''}`
}

export function camelCase(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
}
