/**
 * A YAML text as maps, lists and texts, each with its line. Aliases and merge keys are followed.
 * What is wrong is told in our own words: those of the library may repeat a piece of the file.
 */

import type { Document, LineCounter, Node, YAMLMap } from 'yaml'

import type { Problems } from './problems.js'
import type { Written } from './sources.js'

type Yaml = typeof import('yaml')

/** `where` is the place of the key. */
export type Entry = readonly [key: string, value: Node, where: string]

/** An alias may name a map of aliases, and so on: what a file can make of that has an end. */
const MOST_MERGES = 1000

const MISTAKES: Readonly<Record<string, string>> = {
  MULTIPLE_DOCS: 'a second document begins here, and settings are one document',
  DUPLICATE_KEY: 'the key stands twice in its map',
  TAB_AS_INDENT: 'a tab cannot indent a line: use spaces',
  BAD_INDENT: 'the line is not indented as those around it',
  MISSING_CHAR: 'a quotation mark, bracket, comma or space is missing',
  BAD_DQ_ESCAPE: 'a backslash in double quotation marks begins no known escape',
  BAD_SCALAR_START: 'a value with this first character needs quotation marks',
  BAD_ALIAS: 'the name of the alias is not readable',
  MULTILINE_IMPLICIT_KEY: 'a key must end on its line, with a colon and a space',
}

/** Mistakes that leave the rest of the file readable. */
const BESIDE_THE_REST = ['MULTIPLE_DOCS', 'DUPLICATE_KEY']

export class YamlReader {
  readonly #yaml: Yaml
  readonly #lines: LineCounter
  readonly #document: Document
  readonly #place: { readonly shown: string; readonly folder: string }
  readonly #problems: Problems
  #merges = 0

  /** `shown` is the path as the user gave it; a relative path in the file starts from `folder`. */
  constructor(
    yaml: Yaml,
    text: string,
    place: { readonly shown: string; readonly folder: string },
    problems: Problems,
  ) {
    this.#yaml = yaml
    this.#place = place
    this.#problems = problems
    this.#lines = new yaml.LineCounter()
    this.#document = yaml.parseDocument(text, { lineCounter: this.#lines, prettyErrors: false })
  }

  /** Undefined when the file is empty, or so wrong that its settings cannot be told. */
  top(): Node | undefined {
    const { errors, contents } = this.#document
    const lines = new Set<string>()
    for (const { code, pos } of errors) {
      const where = this.#at(pos[0])
      // What follows in the same line follows from the first mistake.
      if (lines.has(where)) continue
      lines.add(where)
      const mistake = MISTAKES[code] ?? 'this cannot be read'
      this.#problems.add(where, `is not YAML: ${mistake}`)
    }
    if (errors.some(({ code }) => !BESIDE_THE_REST.includes(code))) return undefined
    return contents ?? undefined
  }

  where(node: Node | undefined): string {
    return this.#at(node?.range?.[0] ?? 0)
  }

  isMap(node: Node): boolean {
    return this.#yaml.isMap(this.#resolve(node))
  }

  entries(node: Node): readonly Entry[] {
    const map = this.#resolve(node)
    if (this.#yaml.isMap(map)) return [...this.#merged(map).values()]
    this.#problems.add(this.where(node), 'must be a map of settings, such as "port: 5432"')
    return []
  }

  items(node: Node, where: string): readonly Node[] {
    const list = this.#resolve(node)
    if (this.#yaml.isSeq(list)) return list.items.filter((item) => this.#yaml.isNode(item))
    const hint = 'Begin each target with a hyphen: - my-instance.'
    this.#problems.add(where, 'targets must be a list', hint)
    return []
  }

  /** A scalar, or a list of scalars, as the text that a flag would have had. */
  written(node: Node, where: string, key: string): Written | undefined {
    const value = this.#resolve(node)
    const nodes = this.#yaml.isSeq(value) ? value.items : [value]
    const texts = nodes.map((item) => {
      const each = this.#yaml.isNode(item) ? this.#resolve(item) : undefined
      if (!this.#yaml.isScalar(each) || each.value === null) return ''
      // As it was written: a name may look like a number, whose zeros would be lost.
      return String(typeof each.value === 'string' ? each.value : each.source).trim()
    })
    if (texts.length > 0 && !texts.includes('')) {
      return { text: texts.join(','), where, folder: this.#place.folder }
    }
    this.#problems.add(where, `${key} has no value, or one that is not a plain text`)
    return undefined
  }

  /** The entries of a map over those that its `<<` merges into it, of which the first wins. */
  #merged(map: YAMLMap): Map<string, Entry> {
    const own = new Map<string, Entry>()
    const merged: Entry[] = []
    for (const { key, value } of map.items) {
      const keyNode = this.#yaml.isNode(key) ? key : new this.#yaml.Scalar(key)
      const valueNode = this.#yaml.isNode(value) ? value : new this.#yaml.Scalar(null)
      const name = String(this.#yaml.isScalar(keyNode) ? keyNode.value : '')
      const where = this.where(keyNode)
      if (name === '<<') merged.push(...this.#sourcesOf(valueNode, where))
      else own.set(name, [name, valueNode, where])
    }
    for (const entry of merged) if (!own.has(entry[0])) own.set(entry[0], entry)
    return own
  }

  #sourcesOf(node: Node, where: string): readonly Entry[] {
    const value = this.#resolve(node)
    const maps = this.#yaml.isSeq(value) ? value.items : [value]
    return maps.flatMap((item) => {
      this.#merges += 1
      if (this.#merges > MOST_MERGES) {
        this.#problems.add(this.#place.shown, `has more than ${MOST_MERGES} merges`)
        return []
      }
      const map = this.#yaml.isNode(item) ? this.#resolve(item) : undefined
      if (this.#yaml.isMap(map)) return [...this.#merged(map).values()]
      this.#problems.add(where, '<< needs a map, or a list of maps')
      return []
    })
  }

  /** The node that an alias stands for. */
  #resolve(node: Node): Node {
    if (!this.#yaml.isAlias(node)) return node
    const found = node.resolve(this.#document)
    if (found !== undefined) return found
    this.#problems.add(this.where(node), 'an alias names an anchor that is not before it')
    return new this.#yaml.Scalar('')
  }

  #at(offset: number): string {
    return `${this.#place.shown}:${this.#lines.linePos(offset).line || 1}`
  }
}
