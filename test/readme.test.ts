/** The documentation says what is there, and all of it: links, commands, flags, files, errors. */

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

import { COMMANDS } from '../src/commands/cli/registry.js'
import { SETTING_NAMES } from '../src/config/schema/table.js'
import { type ErrorKind, ProxyError } from '../src/core/errors.js'
import { anchors, codeBlocks, links, PAGES, type Page } from './support/markdown.js'
import { SETTINGS_PAGE, withSettingsTable } from './support/settings-table.js'

const README = page('README.md').text
/** What users read about commands and settings. */
const GUIDE_PAGES = PAGES.filter(({ path }) => path === 'README.md' || path.startsWith('docs/'))
const GUIDE = GUIDE_PAGES.map(({ text }) => text).join('\n')
const GUIDE_CODE = GUIDE_PAGES.flatMap(codeBlocks)
  .map(({ text }) => text)
  .join('\n')

test('the table of settings is the one in the code', () => {
  const { text } = page(SETTINGS_PAGE)
  const hint = `${SETTINGS_PAGE} is older than the table of settings: npm run readme`
  assert.ok(text === withSettingsTable(text), hint)
})

test('the README is short enough to be read in three minutes', () => {
  assert.ok(Buffer.byteLength(README) <= 12 * 1024, `${Buffer.byteLength(README)} bytes`)
})

test('every link, image and anchor of the documentation leads somewhere', () => {
  const inside = PAGES.flatMap(links).filter(({ file }) => file !== undefined)
  assert.ok(inside.length > 40, `${inside.length} links`)
  const broken = inside.filter(({ file, anchor }) => {
    if (!existsSync(file!)) return true
    if (anchor === undefined) return false
    const target = PAGES.find(({ path }) => path === file)
    return target === undefined || !anchors(target).includes(anchor)
  })
  assert.deepEqual(
    broken.map((link) => `${link.page}: ${link.target}`),
    [],
  )
})

test('the README leads to every page of docs/', () => {
  const linked = new Set(links(page('README.md')).map(({ file }) => file))
  const missing = PAGES.filter(({ path }) => path.startsWith('docs/') && !linked.has(path))
  assert.deepEqual(
    missing.map(({ path }) => path),
    [],
  )
})

/** Flags of other programs, in lines that are theirs. */
const FOREIGN = [
  ...['once', 'host', 'network', 'env', 'tag', 'global', 'silent', 'file', 'build'],
  ...['abort-on-container-exit', 'lakebase'],
]

test('every command and flag that the documentation names is there', () => {
  const flat = COMMANDS.flatMap((command) => [command, ...(command.subcommands ?? [])])
  const known = new Set<string>([
    ...SETTING_NAMES,
    ...flat.flatMap(({ options }) => (options ?? []).map(({ flags }) => longName(flags))),
    ...['version', 'help'],
    ...FOREIGN,
  ])
  const flags = [...GUIDE.matchAll(/(?<=[\s`"(])--([a-z][a-z-]*[a-z])/g)].map(([, name]) => name!)
  assert.ok(flags.length > 30)
  assert.deepEqual(
    flags.filter((name) => !known.has(name)),
    [],
  )
  const commands = new Set(COMMANDS.map(({ name }) => name))
  const named = [
    ...GUIDE.matchAll(/`lakebase-proxy ([a-z][a-z-]*)(?=[ `])/g),
    ...GUIDE_CODE.matchAll(/^(?:\$ )?lakebase-proxy ([a-z][a-z-]*)(?=\s)/gm),
  ]
  assert.ok(named.length > 20)
  // A word that is not a command is a TARGET, and all of those are called so.
  const words = new Set(named.map(([, word]) => word!))
  assert.deepEqual(
    [...words].filter((word) => !commands.has(word)),
    ['my-instance'],
  )
  for (const { name } of COMMANDS) assert.match(README, new RegExp(`\\b${name}\\b`), name)
})

test('nothing says to take from a registry what is not published', () => {
  for (const { path, text } of PAGES) {
    assert.doesNotMatch(text, /npx (?:--yes )?lakebase-proxy/, path)
    assert.doesNotMatch(text, /npm (?:install|i)(?: -g| --global)? lakebase-proxy/, path)
    assert.doesNotMatch(text, /docker pull/, path)
  }
})

test('every file that the documentation names is there', () => {
  const named = [...GUIDE.matchAll(/`(docker\/[^`]*)`/g)].map(([, path]) => path!)
  assert.ok(named.length > 3)
  for (const path of named) assert.ok(existsSync(path), path)
  const manifests = [...page('docs/running.md').text.matchAll(/\(`([a-z-]+\.yaml)`\)/g)]
  assert.ok(manifests.length > 3)
  for (const [, name] of manifests) assert.ok(existsSync(`docker/kubernetes/${name}`), name)
})

test('the table of errors has a row for each kind, with its SQLSTATE', () => {
  const { text } = page('docs/troubleshooting.md')
  const kinds: Record<ErrorKind, true> = {
    ...{ config: true, credential: true, identity: true, target: true, route: true },
    ...{
      stopped: true,
      starting: true,
      resolve: true,
      dial: true,
      tls: true,
      upstream: true,
      protocol: true,
    },
    ...{ version: true, password: true, limit: true, stopping: true },
  }
  for (const kind of Object.keys(kinds) as ErrorKind[]) {
    const { sqlState } = new ProxyError(kind, '')
    assert.match(text, new RegExp(`^\\| ${sqlState} +\\| \`${kind}\` `, 'm'), kind)
  }
})

test('the table of folders in CONTRIBUTING.md is the one of src/', () => {
  const { text } = page('CONTRIBUTING.md')
  const rows = [...text.matchAll(/^\| `([a-z/-]+)\/` /gm)].map(([, folder]) => folder!)
  const folders = readdirSync('src', { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
  const missing = folders.filter((name) => !rows.some((row) => row.split('/')[0] === name))
  assert.deepEqual(missing, [])
  for (const row of rows) assert.ok(existsSync(`src/${row}`), row)
})

/** Words that make a reader stop, with what to write in their place. */
const UNPLAIN: Readonly<Record<string, string>> = {
  ...{
    anew: 'again',
    whoever: 'a noun',
    somebody: 'a noun',
    nobody: 'a noun',
    everybody: 'a noun',
  },
  ...{ whatever: 'any', mend: 'fix', befall: 'happen to', 'in vain': 'without success' },
  ...{ slip: 'mistake', 'would else': 'otherwise', 'does not convince': 'could not be verified' },
}

/** Words of code that are names of other programs: the system user that PostgreSQL may run as. */
const SYSTEM_USER = /\^nobody:/g

test('the documentation, the code and the tests are in plain English', () => {
  const code = ['src', 'test'].flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(ts|js|html|css)$/.test(name) && name !== 'readme.test.ts')
      .map((name) => page(`${folder}/${name}`)),
  )
  assert.ok(code.length > 300, `${code.length} files`)
  for (const { path, text } of [...PAGES, ...code]) {
    for (const [word, better] of Object.entries(UNPLAIN)) {
      assert.doesNotMatch(
        text.replace(SYSTEM_USER, ''),
        new RegExp(`\\b${word}s?\\b`, 'i'),
        `${path}: "${word}", use ${better}`,
      )
    }
  }
})

function page(path: string): Page {
  return { path, text: readFileSync(path, 'utf8') }
}

function longName(flags: string): string {
  return /--([a-z-]+)/.exec(flags)![1]!
}
