/**
 * What a setting is, when several places may say it: what a target says of itself, else the strongest
 * of the sources. Parses the value, and fills in the default.
 */

import { existsSync } from 'node:fs'
import { resolve } from 'node:path'

import { mayHoldSecret } from '../../core/plain-text.js'
import type { Setting } from '../schema/setting.js'
import { SETTING_NAMES, SETTINGS, type SettingName, type Values } from '../schema/table.js'
import { parseTarget } from '../schema/targets.js'
import { ValueError } from '../schema/values.js'
import type { Problems } from '../sources/problems.js'
import type { Found, KnownTarget, Source, Written, WrittenTarget } from '../sources/sources.js'
import { checkImplicit } from './implicit.js'
import type { Machine } from './settings.js'

export interface LookupContext {
  /** The strongest first. */
  readonly sources: readonly Source[]
  readonly machine: Machine
  readonly problems: Problems
}

/** The settings of one target: its own, and those of the process where it says nothing. */
export type TargetLookup = SettingLookup & { readonly known: KnownTarget }

export class SettingLookup {
  readonly machine: Machine
  readonly problems: Problems
  /** The target that they are of; undefined: the process. */
  readonly known: KnownTarget | undefined
  readonly #context: LookupContext
  #values: Values | undefined

  constructor(context: LookupContext, known?: KnownTarget) {
    this.machine = context.machine
    this.problems = context.problems
    this.#context = context
    this.known = known
  }

  /** The settings of each target. A text that names none is left out, and noted as a problem. */
  targets(written: readonly WrittenTarget[]): readonly TargetLookup[] {
    return written.map((each) => this.#target(each)).filter((target) => target !== undefined)
  }

  #target(written: WrittenTarget): TargetLookup | undefined {
    const { where: place, text, options: beside } = written
    const parsed = this.problems.catch(place, () =>
      parseTarget(text, ({ message, hint }) => this.problems.add(place, message, hint)),
    )
    if (parsed === undefined) {
      // So that its other mistakes are reported too.
      for (const [name, option] of beside) this.#checked(name, { ...option, rank: 0, isOwn: true })
      return undefined
    }
    const { name, target } = parsed
    const where = place === 'TARGET' ? `TARGET "${name}"` : place
    const inText = [...parsed.options].map(
      ([option, value]) => [option, { ...written, text: value, where }] as const,
    )
    const options = new Map<SettingName, Written>([...inText, ...beside])
    const known = { name, target, written, options }
    return new SettingLookup(this.#context, known) as TargetLookup
  }

  /** The text written for a setting; undefined when it is not set anywhere. */
  find(name: SettingName): Found | undefined {
    const own = this.known?.options.get(name)
    if (own !== undefined) return { ...own, rank: 0, isOwn: true }
    for (const [index, source] of this.#context.sources.entries()) {
      const shared = source.get(name)
      if (shared !== undefined) return { ...shared, rank: index + 1, isOwn: false }
    }
    return undefined
  }

  /** Where a setting is written, or the target itself where it is not set. */
  whereOf(name: SettingName): string {
    return this.find(name)?.where ?? this.known?.written.where ?? name
  }

  /** Notes what is wrong with a setting, at the place where it is written. */
  refuse(name: SettingName, message: string, hint?: string): void {
    this.problems.add(this.whereOf(name), message, hint)
  }

  /** All settings. A wrong value is noted as a problem, and the default is used. */
  get values(): Values {
    this.#values ??= Object.fromEntries(
      SETTING_NAMES.map((name) => [name, this.value(name)]),
    ) as Values
    return this.#values
  }

  /** The value of one setting, as in `values`. */
  value<Name extends SettingName>(name: Name): Values[Name] {
    const { kind, default: byDefault }: Setting = SETTINGS[name]
    const found = this.find(name)
    const value = found && this.#checked(name, found)
    if (value !== undefined || byDefault === undefined) return value as Values[Name]
    return kind.parse(byDefault) as Values[Name]
  }

  #checked(name: SettingName, found: Found): unknown {
    try {
      const value = this.#parse(name, found)
      checkImplicit(name, value, found, this.known, this.problems)
      return value
    } catch (error) {
      if (!(error instanceof ValueError)) throw error
      this.problems.add(found.where, `${name} ${error.message}`, error.hint)
      return undefined
    }
  }

  #parse(name: SettingName, { text, folder }: Written): unknown {
    const { kind } = SETTINGS[name]
    if (!kind.isPath) return kind.parse(text)
    const path = resolve(
      folder,
      kind.parse(text.replace(/^~(?=\/|$)/, this.machine.homeDir)) as string,
    )
    // Errors that come later name the path.
    if (kind.placeholder === 'file' && mayHoldSecret(text) && !existsSync(path)) {
      throw new ValueError('names a file that does not exist')
    }
    return path
  }
}
