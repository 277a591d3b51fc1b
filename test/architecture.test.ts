/**
 * How the files of src may depend on each other: imports point left only, there are no circles, the
 * emulator shares nothing with the proxy but `core/`, and every export has a user.
 */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'

/** Left to right. A room of a folder is named by its path. */
const ROOMS = [
  ...['core', 'wire'],
  ...['config/schema', 'config/sources', 'config/resolve'],
  ...['databricks/http', 'databricks/sign-in', 'databricks/lakebase'],
  'branches',
  ...['credentials', 'endpoints', 'upstream', 'session', 'listener', 'observe'],
  ...['daemon', 'emulator'],
  // What a command is given comes first; the command line, which runs them all, comes last.
  ...['invocation', 'service', 'running', 'proxy', 'workspace', 'doctor', 'cli'].map(
    (room) => `commands/${room}`,
  ),
  'main.ts',
]
const rank = (path: string): number =>
  ROOMS.findIndex((room) => path === `src/${room}` || path.startsWith(`src/${room}/`))

const texts = new Map([...filesOf('src'), ...filesOf('test')])
const sources = [...texts.keys()].filter((name) => name.startsWith('src/'))
const imports = new Map([...texts.keys()].map((file) => [file, importsOf(file)]))

function filesOf(folder: string): [string, string][] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => join(folder, name).replaceAll('\\', '/'))
    .map((name) => [name, readFileSync(name, 'utf8')])
}

function importsOf(file: string): string[] {
  const specifiers = texts.get(file)!.matchAll(/(?:from|import\(|import)\s*'(\.[^']+)'/g)
  return [...specifiers].map(([, specifier]) =>
    normalize(join(dirname(file), specifier!))
      .replaceAll('\\', '/')
      .replace(/\.js$/, '.ts'),
  )
}

test('imports point one way', () => {
  assert.ok(sources.length > 20)
  for (const file of sources) {
    assert.notEqual(rank(file), -1, `${file} is in no known stage`)
    for (const target of imports.get(file)!) {
      assert.ok(rank(target) <= rank(file), `${file} must not import ${target}`)
    }
  }
})

test('the emulator imports core/ and itself only, so that it cannot share a mistake of the proxy', () => {
  for (const file of sources.filter((name) => name.startsWith('src/emulator/'))) {
    for (const target of imports.get(file)!) {
      assert.match(target, /^src\/(core|emulator)\//, `${file} must not import ${target}`)
    }
  }
})

test('no file imports itself by way of others', () => {
  const inCircles = sources.filter((file) => reachedFrom(file).has(file))
  assert.deepEqual(inCircles, [])
})

function reachedFrom(start: string): Set<string> {
  const reached = new Set<string>()
  const ahead = [...imports.get(start)!]
  for (let file = ahead.pop(); file !== undefined; file = ahead.pop()) {
    if (reached.has(file)) continue
    reached.add(file)
    ahead.push(...(imports.get(file) ?? []))
  }
  return reached
}

/** What others import by package name: the library's entry. */
const ENTRY_POINT = 'src/daemon/start-proxy.ts'

test('every exported value is imported by another file, and every exported type is used', () => {
  const declaration =
    /^export (?:async |abstract |declare )*(function\*?|class|const|let|enum|interface|type) (\w+)/gm
  const unused = sources
    .filter((file) => file !== ENTRY_POINT)
    .flatMap((file) =>
      [...texts.get(file)!.matchAll(declaration)]
        .filter(([, kind, name]) => !isUsed(file, name!, kind === 'interface' || kind === 'type'))
        .map(([, , name]) => `${file}: ${name}`),
    )
  assert.deepEqual(unused, [])
})

/** A type may also describe another export of its own file, such as the options of a function. */
function isUsed(file: string, name: string, isType: boolean): boolean {
  const word = new RegExp(`\\b${name}\\b`, 'g')
  if (isType && texts.get(file)!.match(word)!.length > 1) return true
  return [...texts].some(
    ([other, text]) => other !== file && imports.get(other)!.includes(file) && word.test(text),
  )
}

test('no file has more than 400 lines', () => {
  for (const file of sources) {
    const lines = readFileSync(file, 'utf8').split('\n').length
    assert.ok(lines <= 400, `${file} has ${lines} lines, of 400: split it by what it promises`)
  }
})

test('only the command line and the library touch the process', () => {
  for (const file of sources) {
    if (file === 'src/main.ts' || file === 'src/daemon/start-proxy.ts') continue
    const text = readFileSync(file, 'utf8').replaceAll(/^\s*(\*|\/\/|\/\*).*$/gm, '')
    assert.doesNotMatch(text, /\bprocess\.(env|argv|exit|on|once|stdout|stderr|stdin)\b/, file)
  }
})
