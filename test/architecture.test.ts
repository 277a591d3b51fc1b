/** The one-way law: a file may import from its own folder and from those to the left of it, never to the right. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'

/** Left to right. A room of a folder is named by its path. */
const ROOMS = [
  ...['core', 'wire'],
  ...['config/schema', 'config/sources', 'config/resolve'],
  ...['databricks/http', 'databricks/sign-in', 'databricks/lakebase'],
  ...['credentials', 'endpoints', 'upstream', 'session', 'listener', 'observe'],
  ...['daemon', 'emulator', 'commands', 'main.ts'],
]
const rank = (path: string): number =>
  ROOMS.findIndex((room) => path === `src/${room}` || path.startsWith(`src/${room}/`))

const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => join('src', name).replaceAll('\\', '/'))

test('imports point one way', () => {
  assert.ok(sources.length > 20)
  for (const file of sources) {
    assert.notEqual(rank(file), -1, `${file} is in no known stage`)
    for (const [, specifier] of readFileSync(file, 'utf8').matchAll(
      /(?:from|import\()\s*'(\.[^']+)'/g,
    )) {
      const target = normalize(join(dirname(file), specifier!)).replaceAll('\\', '/')
      assert.ok(rank(target) <= rank(file), `${file} must not import ${target}`)
    }
  }
})

test('no file outgrows its idea', () => {
  for (const file of sources) {
    const lines = readFileSync(file, 'utf8').split('\n').length
    assert.ok(lines <= 400, `${file} has ${lines} lines, of 400: which two ideas is it?`)
  }
})

test('only the two doors, the command line and the library, touch the process', () => {
  for (const file of sources) {
    if (file === 'src/main.ts' || file === 'src/daemon/start-proxy.ts') continue
    const text = readFileSync(file, 'utf8').replaceAll(/^\s*(\*|\/\/|\/\*).*$/gm, '')
    assert.doesNotMatch(text, /\bprocess\.(env|argv|exit|on|once|stdout|stderr|stdin)\b/, file)
  }
})
