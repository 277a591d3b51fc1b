/** The settings as a program writes them: the table's names in camelCase, for `startProxy`. */

import { homedir, hostname, platform } from 'node:os'
import { resolve } from 'node:path'

import { didYouMean } from '../../core/nearest.js'
import type { Setting } from '../schema/setting.js'
import { type CamelCase, camelCase } from '../schema/setting-keys.js'
import {
  isSettingName,
  SETTINGS,
  type SettingName,
  type TargetSettingName,
} from '../schema/table.js'
import { targetOption } from '../schema/targets.js'
import type { Kind } from '../schema/values.js'
import { Problems } from '../sources/problems.js'
import {
  fromVariables,
  localPasswordOf,
  type Source,
  type Written,
  type WrittenTarget,
} from '../sources/sources.js'
import { resolveSettings } from './resolve.js'
import { SettingLookup } from './setting-lookup.js'
import type { ProxySettings } from './settings.js'

type OptionOf<S extends Setting> = S['kind'] extends Kind<unknown, infer Option> ? Option : never

type OptionsFor<Names extends SettingName> = {
  readonly [Name in Names as CamelCase<Name>]?: OptionOf<(typeof SETTINGS)[Name]> | undefined
}

/** A target with settings of its own. A duration is a text such as `'30s'`, or milliseconds. */
export type TargetOptions = { readonly target: string } & OptionsFor<TargetSettingName>

/** Settings of the proxy and, where a target does not say otherwise, of each target. */
export type ProxyOptions = {
  readonly targets: readonly (string | TargetOptions)[]
  /** With `localAuth: 'password'`, instead of `localPasswordFile`. */
  readonly localPassword?: string | undefined
} & OptionsFor<Exclude<SettingName, 'targets' | 'config' | 'env-file'>>

/**
 * Options over the variables in `env`; no file is read but those that a setting names. There is
 * no admin port unless an option asks for one. Errors: one, of kind `config`, with every problem.
 */
export function settingsFromOptions(
  options: ProxyOptions,
  env: Readonly<Record<string, string | undefined>>,
): ProxySettings {
  const problems = new Problems()
  const folder = resolve('.')
  const machine = {
    cwd: folder,
    homeDir: homedir(),
    hostname: hostname(),
    platform: platform(),
    isTerminal: false,
  }
  const environment = { values: env, where: (name: string) => name, folder }
  const variables = fromVariables(environment, [])
  const { targets, localPassword, ...rest } = options
  const source = readOptions(rest, folder, problems)
  const lookup = new SettingLookup({ sources: [source, variables], machine, problems })
  const settings = resolveSettings(
    lookup,
    lookup.targets(targets.map((target) => readTarget(target, folder, problems))),
    localPassword === undefined
      ? localPasswordOf(environment)
      : { text: localPassword, where: 'localPassword', folder },
  )
  if (settings.targets.length === 0) problems.add('targets', 'no target is named')
  problems.throwIfAny()
  return settings
}

function readOptions(options: object, folder: string, problems: Problems): Source {
  const settings = new Map<SettingName, Written>()
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined) continue
    const name = kebabCase(key)
    if (isSettingName(name) && !['targets', 'config', 'env-file'].includes(name)) {
      settings.set(name, { text: write(name, value), where: key, folder })
    } else {
      const known = Object.keys(SETTINGS).map(camelCase)
      problems.add(key, 'is not an option', didYouMean(key, known))
    }
  }
  const asked = [
    ...(['admin-port', 'admin-address', 'admin-host', 'admin-socket', 'no-admin'] as const),
  ]
  if (!asked.some((name) => settings.has(name))) {
    settings.set('no-admin', { text: 'true', where: 'noAdmin', folder })
  }
  return settings
}

function readTarget(
  target: string | TargetOptions,
  folder: string,
  problems: Problems,
): WrittenTarget {
  const options = new Map<TargetSettingName, Written>()
  if (typeof target === 'string') return { text: target, where: 'targets', folder, options }
  const { target: text, ...rest } = target
  for (const [key, value] of Object.entries(rest)) {
    if (value === undefined) continue
    const where = `targets: ${key}`
    const name = problems.catch(where, () => targetOption(kebabCase(key), 'a target'))
    if (name !== undefined) options.set(name, { text: write(name, value), where, folder })
  }
  return { text: String(text), where: 'targets', folder, options }
}

function write(name: SettingName, value: unknown): string {
  const kind = SETTINGS[name].kind as { readonly write?: (option: unknown) => string }
  return kind.write?.(value) ?? String(value)
}

function kebabCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}
