/**
 * What a setting is, when several places may say it: the stronger source first, and within one
 * source what is said of one target before what is said of all.
 */

import { resolve } from 'node:path'
import { SETTING_NAMES, SETTINGS, type SettingName, type Values } from '../schema/table.js'
import { parseTarget, type Target } from '../schema/targets.js'
import { ValueError } from '../schema/values.js'
import type { Problems } from '../sources/problems.js'
import type { Source, Written, WrittenTarget } from '../sources/sources.js'

/** A target whose text has been read; its options are still texts. */
export interface KnownTarget {
  readonly name: string
  readonly target: Target
  readonly written: WrittenTarget
  readonly options: ReadonlyMap<SettingName, Written>
}

export interface Found extends Written {
  /** 0 is the strongest. */
  readonly rank: number
}

export class Lookup {
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
    const parsed = this.#problems.catch(written.where, () => parseTarget(written.text))
    if (parsed === undefined) return undefined
    const options = new Map<SettingName, Written>()
    const where = written.where === 'TARGET' ? `TARGET "${parsed.name}"` : written.where
    for (const [name, text] of parsed.options) options.set(name, { ...written, text, where })
    for (const [name, option] of written.options) options.set(name, option)
    return { name: parsed.name, target: parsed.target, written, options }
  }

  /** What was written for a setting, or undefined when nobody wrote anything. */
  find(name: SettingName, target?: KnownTarget): Found | undefined {
    for (const [index, source] of this.#sources.entries()) {
      const own = target?.written.source === source ? target.options.get(name) : undefined
      if (own !== undefined) return { ...own, rank: 2 * index }
      const shared = source.settings.get(name)
      if (shared !== undefined) return { ...shared, rank: 2 * index + 1 }
    }
    return undefined
  }

  /** Every setting, of one target or of the process. A wrong one is noted, and has its default. */
  values(target?: KnownTarget): Values {
    const entries = SETTING_NAMES.map((name) => [name, this.#value(name, this.find(name, target))])
    return Object.fromEntries(entries) as Values
  }

  #value(name: SettingName, found: Written | undefined): unknown {
    const { kind, default: byDefault } = SETTINGS[name]
    if (found !== undefined) {
      try {
        if (!kind.isPath) return kind.parse(found.text)
        const path = found.text.replace(/^~(?=\/|$)/, this.#homeDir)
        return resolve(found.folder, String(kind.parse(path)))
      } catch (error) {
        if (!(error instanceof ValueError)) throw error
        this.#problems.add(found.where, `${name} ${error.message}`)
      }
    }
    return byDefault === undefined ? undefined : kind.parse(byDefault)
  }
}
