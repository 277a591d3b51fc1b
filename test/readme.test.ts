/** What the README says is there, is there. */

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

import { COMMANDS } from '../src/commands/cli/registry.js'
import { SETTING_NAMES } from '../src/config/schema/table.js'
import { type ErrorKind, ProxyError } from '../src/core/errors.js'
import { withSettingsTable } from './support/settings-table.js'

const README = readFileSync('README.md', 'utf8')

test("the README's table of settings is the one in the code", () => {
  assert.ok(
    README === withSettingsTable(README),
    'README.md is behind src/config/schema/table.ts: npm run readme',
  )
})

/** Of other programs, in lines that are theirs. */
const FOREIGN = ['once', 'host', 'network', 'env', 'tag', 'global']

test('every command and flag that the README names is there', () => {
  const flat = COMMANDS.flatMap((command) => [command, ...(command.subcommands ?? [])])
  const known = new Set<string>([
    ...SETTING_NAMES,
    ...flat.flatMap(({ options }) => (options ?? []).map(({ flags }) => longName(flags))),
    ...FOREIGN,
  ])
  const flags = [...README.matchAll(/(?<=[\s`"(])--([a-z][a-z-]*[a-z])/g)].map(([, name]) => name!)
  assert.ok(flags.length > 30)
  assert.deepEqual(
    flags.filter((name) => !known.has(name)),
    [],
  )
  const commands = new Set(COMMANDS.map(({ name }) => name))
  const named = [...README.matchAll(/(?:npx |`|\$ )lakebase-proxy ([a-z-]+)(?= |`)/g)]
  assert.ok(named.length > 10)
  // A word that is no command is a TARGET, and all of those are called so.
  const words = new Set(named.map(([, word]) => word!))
  assert.deepEqual(
    [...words].filter((word) => !commands.has(word)),
    ['my-instance'],
  )
  for (const { name } of COMMANDS) assert.match(README, new RegExp(`\\b${name}\\b`), name)
})

test('every file that the README names is there', () => {
  const links = [...README.matchAll(/\]\(([^#)]+)\)/g)].map(([, path]) => path!)
  const named = [...README.matchAll(/`(docker\/[^`]*)`/g)].map(([, path]) => path!)
  for (const path of [...links, ...named].filter((each) => !each.startsWith('http'))) {
    assert.ok(existsSync(path), path)
  }
  const manifests = [...README.matchAll(/`([a-z-]+\.yaml)`/g)].map(([, name]) => name!)
  for (const name of manifests) assert.ok(existsSync(`docker/kubernetes/${name}`), name)
})

test('the README’s table of errors has a row for each kind, with its SQLSTATE', () => {
  const kinds: Record<ErrorKind, true> = {
    ...{ config: true, credential: true, identity: true, target: true, stopped: true },
    ...{ starting: true, resolve: true, dial: true, tls: true, upstream: true, protocol: true },
    ...{ version: true, password: true, limit: true, stopping: true },
  }
  for (const kind of Object.keys(kinds) as ErrorKind[]) {
    const { sqlState } = new ProxyError(kind, '')
    assert.match(README, new RegExp(`^\\| ${sqlState} +\\| \`${kind}\` `, 'm'), kind)
  }
})

function longName(flags: string): string {
  return /--([a-z-]+)/.exec(flags)![1]!
}
