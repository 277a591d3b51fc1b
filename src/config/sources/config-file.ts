/** The YAML file of settings: the keys of the table, and `targets` as texts or maps. */

import { dirname } from 'node:path'

import type { Document, LineCounter, Node, Pair } from 'yaml'

import { didYouMean } from '../../core/nearest.js'
import { openToOthers, readWhole } from '../../core/secret-file.js'
import {
  isSettingName,
  SETTING_NAMES,
  type SettingName,
  TARGET_SETTING_NAMES,
  type TargetSettingName,
} from '../schema/table.js'
import { targetOption } from '../schema/targets.js'
import type { Problems } from './problems.js'
import type { Source, Written, WrittenTarget } from './sources.js'

export interface ConfigFile {
  readonly source: Source
  readonly targets: readonly WrittenTarget[]
}

// Those that say which files are read cannot stand in one of them.
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
  const source: Source = { settings }

  const text = problems.catch(shown, () => readWhole(path))
  if (text === undefined) return { source, targets }
  if (holdsPassword(text) && openToOthers(path, platform)) {
    problems.add(shown, 'holds a password and can be read by others', `Type: chmod 600 ${path}`)
  }
  const yaml = await import('yaml')
  const lines = new yaml.LineCounter()
  const document: Document = yaml.parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const at = reader(yaml, lines, shown, dirname(path), problems)

  for (const error of document.errors) {
    problems.add(`${shown}:${lines.linePos(error.pos[0]).line}`, `is not YAML: ${error.message}`)
  }
  if (document.errors.length > 0 || document.contents === null) return { source, targets }
  for (const [key, value, where] of at.entries(document.contents)) {
    if (key === 'targets') {
      for (const item of at.items(value, where)) {
        const target = readTarget(item, at, problems)
        if (target !== undefined) targets.push(target)
      }
    } else if (isSettingName(key) && FILE_KEYS.includes(key)) {
      const written = at.written(value, where, key)
      if (written !== undefined) settings.set(key, written)
    } else {
      problems.add(where, `unknown setting "${key}"`, didYouMean(key, [...FILE_KEYS, 'targets']))
    }
  }
  return { source, targets }
}

/** Does the text hold a `postgresql://` URL with a password? */
export function holdsPassword(text: string): boolean {
  return /postgres(ql)?(\+\w+)?:\/\/[^\s/@:]*:[^\s@]+@/i.test(text)
}

/** A text, or a map with a `target` and settings of it. */
function readTarget(item: Node, at: Reader, problems: Problems): WrittenTarget | undefined {
  const options = new Map<TargetSettingName, Written>()
  if (!at.isMap(item)) {
    const written = at.written(item, at.where(item), 'a target')
    return written && { ...written, options }
  }
  let target: Written | undefined
  for (const [key, value, where] of at.entries(item)) {
    const written = at.written(value, where, key)
    if (written === undefined) continue
    if (key === 'target') {
      target = written
    } else {
      const option = problems.catch(where, () => targetOption(key, 'a target'))
      if (option !== undefined) options.set(option, written)
    }
  }
  if (target === undefined) {
    const known = ['target', ...TARGET_SETTING_NAMES].join(', ')
    problems.add(at.where(item), 'a target has no "target:"', `Its keys are ${known}.`)
    return undefined
  }
  return { ...target, options }
}

interface Reader {
  where(node: Node): string
  isMap(node: Node): boolean
  entries(node: Node): readonly (readonly [key: string, value: Node, where: string])[]
  items(node: Node, where: string): readonly Node[]
  /** A scalar, or a list of scalars, as the text a flag would have had. */
  written(node: Node, where: string, key: string): Written | undefined
}

function reader(
  yaml: typeof import('yaml'),
  lines: LineCounter,
  shown: string,
  folder: string,
  problems: Problems,
): Reader {
  const where = (node: Node | undefined): string =>
    `${shown}:${node?.range ? lines.linePos(node.range[0]).line : 1}`

  return {
    where,
    isMap: (node) => yaml.isMap(node),
    entries(node) {
      if (!yaml.isMap(node)) {
        problems.add(where(node), 'must be a map of settings, such as "port: 5432"')
        return []
      }
      return node.items.map(({ key, value }: Pair) => {
        const keyNode = yaml.isNode(key) ? key : new yaml.Scalar(key)
        const valueNode = yaml.isNode(value) ? value : new yaml.Scalar(null)
        return [String(yaml.isScalar(keyNode) ? keyNode.value : ''), valueNode, where(keyNode)]
      })
    },
    items(node, at) {
      if (yaml.isSeq(node)) return node.items.filter((item) => yaml.isNode(item))
      problems.add(at, 'targets must be a list', 'Begin each target with a hyphen: - my-instance.')
      return []
    },
    written(node, at, key) {
      const nodes = yaml.isSeq(node) ? node.items : [node]
      const texts = nodes.map((each) => {
        if (!yaml.isScalar(each) || each.value === null) return ''
        // As it was written: a name may look like a number, whose zeros would be lost.
        return String(typeof each.value === 'string' ? each.value : each.source).trim()
      })
      if (texts.length > 0 && !texts.includes(''))
        return { text: texts.join(','), where: at, folder }
      problems.add(at, `${key} has no value, or one that is not a plain text`)
      return undefined
    },
  }
}
