/** The YAML file of settings: the keys of the table, and `targets` as texts or maps. */

import { dirname } from 'node:path'

import type { Node } from 'yaml'

import { didYouMean } from '../../core/nearest.js'
import { mayHoldSecret } from '../../core/plain-text.js'
import { openToOthers } from '../../core/secret-file.js'
import { readText } from '../../core/text-file.js'
import {
  isSettingName,
  SETTING_NAMES,
  type SettingName,
  TARGET_SETTING_NAMES,
  type TargetSettingName,
} from '../schema/table.js'
import { holdsPassword, targetOption } from '../schema/targets.js'
import type { Problems } from './problems.js'
import type { Source, Written, WrittenTarget } from './sources.js'
import { YamlReader } from './yaml-reader.js'

export interface ConfigFile {
  readonly source: Source
  readonly targets: readonly WrittenTarget[]
}

// The settings that name the files to read cannot be set in one of them.
const NOT_IN_FILE: readonly string[] = ['config', 'env-file', 'targets']
const FILE_KEYS = SETTING_NAMES.filter((name) => !NOT_IN_FILE.includes(name))

/** `shown` is the path as the user gave it. What is wrong goes to `problems`, with its line. */
export async function readConfigFile(
  path: string,
  shown: string,
  platform: string,
  problems: Problems,
): Promise<ConfigFile> {
  const settings = new Map<SettingName, Written>()
  const targets: WrittenTarget[] = []
  const text = problems.catch(shown, () => readText(path))
  if (text === undefined) return { source: settings, targets }

  const yaml = await import('yaml')
  const reader = new YamlReader(yaml, text, { shown, folder: dirname(path) }, problems)
  const top = reader.top()
  for (const [key, value, where] of top === undefined ? [] : reader.entries(top)) {
    if (key === 'targets') {
      for (const item of reader.items(value, where)) {
        const target = readTarget(item, reader, problems)
        if (target !== undefined) targets.push(target)
      }
    } else if (isSettingName(key) && FILE_KEYS.includes(key)) {
      const written = reader.written(value, where, key)
      if (written !== undefined) settings.set(key, written)
    } else if (!key.startsWith('x-')) {
      // As in compose files, x-… is a place for what aliases name.
      const name = mayHoldSecret(key) ? '' : ` "${key}"`
      problems.add(where, `unknown setting${name}`, didYouMean(key, [...FILE_KEYS, 'targets']))
    }
  }
  // The text too, for what is commented out or cannot be read.
  const texts = [text, ...targets.map((target) => target.text)]
  if (texts.some(holdsPassword) && openToOthers(path, platform)) {
    problems.add(shown, 'holds a password and can be read by others', `Type: chmod 600 ${path}`)
  }
  return { source: settings, targets }
}

/** A text, or a map with a `target` and settings of it. */
function readTarget(item: Node, reader: YamlReader, problems: Problems): WrittenTarget | undefined {
  const options = new Map<TargetSettingName, Written>()
  if (!reader.isMap(item)) {
    const written = reader.written(item, reader.where(item), 'a target')
    return written && { ...written, options }
  }
  let target: Written | undefined
  for (const [key, value, where] of reader.entries(item)) {
    if (key === 'target') {
      target = reader.written(value, where, key)
      continue
    }
    const option = problems.catch(where, () => targetOption(key, 'a target'))
    const written = option && reader.written(value, where, option)
    if (written !== undefined) options.set(option!, written)
  }
  if (target === undefined) {
    const known = ['target', ...TARGET_SETTING_NAMES].join(', ')
    problems.add(reader.where(item), 'a target has no "target:"', `Its keys are ${known}.`)
    return undefined
  }
  return { ...target, options }
}
