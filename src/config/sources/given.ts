/** What was set, to what, and where: for `doctor`, with every secret left out. */

import { parseTarget } from '../schema/targets.js'
import type { Source, Variables, WrittenTarget } from './sources.js'

export interface GivenSetting {
  /** A setting's name, `TARGET`, or a variable of Databricks' own. */
  readonly setting: string
  readonly value: string
  readonly where: string
}

export interface GivenInput {
  /** The strongest first. */
  readonly sources: readonly Source[]
  readonly targets: readonly WrittenTarget[]
  readonly variables: readonly Variables[]
}

/** In the order target, settings, Databricks' variables; of two that say the same, the stronger. */
export function givenSettings({ sources, targets, variables }: GivenInput): GivenSetting[] {
  const given: GivenSetting[] = []
  for (const { text, where, options } of targets) {
    const parsed = parseTarget(text)
    given.push({ setting: 'TARGET', value: parsed.name, where })
    for (const [setting, value] of parsed.options) given.push({ setting, value, where })
    for (const [setting, option] of options) {
      given.push({ setting, value: option.text, where: option.where })
    }
  }
  const seen = new Set<string>(['targets'])
  for (const settings of sources) {
    for (const [setting, { text, where }] of settings) {
      if (!seen.has(setting)) given.push({ setting, value: text, where })
      seen.add(setting)
    }
  }
  for (const { values, where } of variables) {
    for (const [setting, value] of Object.entries(values)) {
      if (!/^(DATABRICKS|ARM)_/.test(setting) || !value || seen.has(setting)) continue
      seen.add(setting)
      const secret = /TOKEN$|SECRET|PASSWORD|CREDENTIAL/.test(setting)
      given.push({ setting, value: secret ? '[redacted]' : value, where: where(setting) })
    }
  }
  return given
}
