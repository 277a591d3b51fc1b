/**
 * What a setting is, when several places may say it: what a target says of itself, else the
 * strongest of the sources.
 */

import { existsSync } from 'node:fs'
import { resolve } from 'node:path'

import { mayHoldSecret } from '../../core/plain-text.js'
import type { Setting } from '../schema/setting.js'
import { SETTING_NAMES, SETTINGS, type SettingName, type Values } from '../schema/table.js'
import { parseTarget } from '../schema/targets.js'
import { ValueError } from '../schema/values.js'
import type { Problems } from '../sources/problems.js'
import type { Source, Written, WrittenTarget } from '../sources/sources.js'
import { checkImplicit } from './implicit.js'
import type { Found, KnownTarget } from './known-target.js'

export class SettingLookup {
  readonly #sources: readonly Source[]
  readonly #homeDir: string
  readonly #problems: Problems

  /** `sources`: the strongest first. */
  constructor(sources: readonly Source[], homeDir: string, problems: Problems) {
    this.#sources = sources
    this.#homeDir = homeDir
    this.#problems = problems
  }

  /** Undefined, and a problem noted, when the text names no target. */
  target(written: WrittenTarget): KnownTarget | undefined {
    const parsed = this.#problems.catch(written.where, () =>
      parseTarget(written.text, ({ message, hint }) =>
        this.#problems.add(written.where, message, hint),
      ),
    )
    if (parsed === undefined) {
      for (const [name, option] of written.options) {
        this.#checked(name, { ...option, rank: 0, isOwn: true }, undefined)
      }
      return undefined
    }
    const options = new Map<SettingName, Written>()
    const where = written.where === 'TARGET' ? `TARGET "${parsed.name}"` : written.where
    for (const [name, text] of parsed.options) options.set(name, { ...written, text, where })
    for (const [name, option] of written.options) options.set(name, option)
    return { name: parsed.name, target: parsed.target, written, options }
  }

  /** The text written for a setting; undefined when it is not set anywhere. */
  find(name: SettingName, target?: KnownTarget): Found | undefined {
    const own = target?.options.get(name)
    if (own !== undefined) return { ...own, rank: 0, isOwn: true }
    for (const [index, source] of this.#sources.entries()) {
      const shared = source.settings.get(name)
      if (shared !== undefined) return { ...shared, rank: index + 1, isOwn: false }
    }
    return undefined
  }

  /** Where a setting of the target is written, or the target itself where it is not set. */
  whereOf(name: SettingName, target: KnownTarget): string {
    return this.find(name, target)?.where ?? target.written.where
  }

  /**
   * All settings of one target, or of the process. A wrong value is noted as a problem, and the
   * default is used.
   */
  values(target?: KnownTarget): Values {
    const entries = SETTING_NAMES.map((name) => [name, this.value(name, target)])
    return Object.fromEntries(entries) as Values
  }

  /** The value of one setting, as in `values`. */
  value<Name extends SettingName>(name: Name, target?: KnownTarget): Values[Name] {
    const { kind, default: byDefault }: Setting = SETTINGS[name]
    const found = this.find(name, target)
    const value = found && this.#checked(name, found, target)
    if (value !== undefined || byDefault === undefined) return value as Values[Name]
    return kind.parse(byDefault) as Values[Name]
  }

  #checked(name: SettingName, found: Found, target: KnownTarget | undefined): unknown {
    try {
      const value = this.#parse(name, found)
      checkImplicit(name, value, found, target, this.#problems)
      return value
    } catch (error) {
      if (!(error instanceof ValueError)) throw error
      this.#problems.add(found.where, `${name} ${error.message}`, error.hint)
      return undefined
    }
  }

  #parse(name: SettingName, { text, folder }: Written): unknown {
    const { kind } = SETTINGS[name]
    if (!kind.isPath) return kind.parse(text)
    const path = resolve(folder, kind.parse(text.replace(/^~(?=\/|$)/, this.#homeDir)) as string)
    // Errors that come later name the path.
    if (kind.placeholder === 'file' && mayHoldSecret(text) && !existsSync(path)) {
      throw new ValueError('names a file that does not exist')
    }
    return path
  }
}
