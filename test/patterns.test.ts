/**
 * No regular expression of ours can be made slow by repeating one character. The analysis does not
 * know longer repetitions: plain-text.test.ts tries those on the patterns that read foreign text.
 */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { parse } from 'acorn'
import { analyse } from 'scslre'

interface Pattern {
  readonly file: string
  readonly line: number
  readonly source: string
  readonly flags: string
}

interface Node {
  readonly type: string
  readonly loc: { readonly start: { readonly line: number } }
  readonly regex?: { readonly pattern: string; readonly flags: string }
}

const modules = [...modulesIn('build/src'), ...modulesIn('src/observe/page')]

test('no pattern of the proxy can be made to run in more than linear time', () => {
  const patterns = modules.flatMap((file) => patternsIn(readFileSync(file, 'utf8'), file))
  assert.ok(patterns.length > 100, `${patterns.length} patterns`)
  assert.deepEqual(patterns.flatMap(slowness), [])
})

test('the check finds what it is for, wherever it stands', () => {
  const ours = patternsIn(
    `const text = / +$/g
      class Reader { #form = [(x) => x.replace(/^(a+)+$/, '')] }
      const fine = /^[a-z]+$/`,
    'example.js',
  )
  assert.equal(ours.length, 3)
  assert.deepEqual(
    ours.flatMap(slowness).map((each) => /:\d+/.exec(each)?.[0]),
    [':1', ':2'],
  )
})

function modulesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.js'))
    .map((name) => join(folder, name))
}

/** All literals. A pattern that is put together at run time has no source to look at. */
function patternsIn(text: string, file: string): Pattern[] {
  const found: Pattern[] = []
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    const { regex, loc } = value as Node
    if (regex !== undefined) {
      found.push({ file, line: loc.start.line, source: regex.pattern, flags: regex.flags })
    }
    for (const child of Object.values(value)) visit(child)
  }
  visit(
    parse(text.replace(/^#!.*/, ''), { ecmaVersion: 2023, sourceType: 'module', locations: true }),
  )
  return found
}

/** Empty when it is linear; else where it stands, and the character to repeat. */
function slowness({ file, line, source, flags }: Pattern): string[] {
  const reportTypes = { Move: true, Self: true, Trade: true }
  const { reports } = analyse({ source, flags }, { reportTypes })
  return reports.slice(0, 1).map(({ character }) => {
    return `${file}:${line} /${source}/${flags} by repeating ${character.literal.source}`
  })
}
