/** A setting is one row of the table: from there it reaches settings, options, help, docs and reload. */

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import { type ProxyOptions, settingsFromOptions } from '../src/config/resolve/options.js'
import type { ProxySettings } from '../src/config/resolve/settings.js'
import type { Setting } from '../src/config/schema/setting.js'
import { camelCase, keyOf } from '../src/config/schema/setting-keys.js'
import { SETTING_NAMES, SETTINGS, type SettingName } from '../src/config/schema/table.js'
import { isSameSetting, planReload } from '../src/daemon/reload-plan.js'
import { cliHere } from './support/cli.js'
import { temporaryFolder } from './support/proxy.js'
import { SETTINGS_PAGE } from './support/settings-table.js'
import { authority } from './support/tls-server.js'

const { cert, key } = await authority()

/** Settings that only count together with another setting. */
const BESIDE: { readonly [Name in SettingName]?: Partial<ProxyOptions> } = {
  'branch-ttl': { branchFrom: 'projects/p' },
  'keep-branch': { branchFrom: 'projects/p' },
  'local-auth': { localAuth: 'trust', localPassword: 'hunter2' },
  'local-password-file': { localAuth: 'trust' },
  'max-connections-per-user': { localAuth: 'databricks', localTls: 'auto' },
  'proxy-protocol-from': { proxyProtocol: 'on' },
  sslmode: { unsafeSslmodeRequire: true },
}

const named = (name: SettingName): Setting => SETTINGS[name]
// Those say where the others come from.
const names = SETTING_NAMES.filter((name) => !['sources', 'targets'].includes(named(name).into!))

test('every setting reaches the resolved settings by way of its option', async (t) => {
  for (const name of names) {
    const { before, after } = await changed(t, name)
    const [old, now] = [before, after].map((settings) => valueIn(settings, name))
    assert.ok(!isSameSetting(old, now), name)
  }
})

test('a reload does with every setting what its row says', async (t) => {
  for (const name of names) {
    const { before, after } = await changed(t, name)
    const running = before.targets.map((settings) => ({ settings }))
    const { leaving, needRestart } = planReload(running, before, after)
    const isRestart = needRestart.some((words) => words.split(/, | or /).includes(name))
    const did = [leaving.map(({ settings }) => settings.name), isRestart]
    const { reload, perTarget } = named(name)
    switch (reload) {
      case 'target':
        // A setting of one target concerns that target alone.
        if (perTarget) assert.deepEqual(did, [['projects/p'], false], name)
        else assert.ok(leaving.length > 0 && !isRestart, name)
        break
      case 'all targets':
        assert.deepEqual(did, [['a', 'projects/p'], false], name)
        break
      case 'at once':
        assert.deepEqual(did, [[], false], name)
        break
      case 'restart':
        assert.deepEqual(did, [[], true], name)
        break
    }
  }
})

test('every setting is in the help and in the documentation', async () => {
  const { stdout } = await cliHere(['start', '--help'])
  const page = readFileSync(SETTINGS_PAGE, 'utf8')
  for (const name of SETTING_NAMES) {
    assert.ok(stdout.includes(`--${name} `), name)
    assert.ok(page.includes(`\n| \`${name}\``), name)
  }
})

test('no other file lists the settings that are passed on as they are', () => {
  const files = ['config/resolve/resolve', 'config/resolve/settings', 'daemon/reload-plan']
  for (const file of files) {
    const text = readFileSync(`src/${file}.ts`, 'utf8')
    for (const name of names.filter((each) => named(each).into === undefined)) {
      const word = new RegExp(`'${name}'|\\b${keyOf(name)}\\b\\??:`)
      assert.doesNotMatch(text, word, `${file} names ${name}`)
    }
  }
})

/** The settings of two targets, without and with a value that is not the default. */
async function changed(t: TestContext, name: SettingName) {
  const { beside, option } = await sample(t, name)
  const of = (forAll: object, own: object): ProxySettings => {
    const targets = [
      { target: 'a', port: 5 },
      { target: 'projects/p', port: 6, ...own },
    ]
    return settingsFromOptions({ targets, ...beside, ...forAll } as ProxyOptions, {})
  }
  const before = of({}, {})
  return { before, after: named(name).perTarget ? of({}, option) : of(option, {}) }
}

async function sample(t: TestContext, name: SettingName) {
  const { kind, default: byDefault, into } = named(name)
  const pem = join(await temporaryFolder(t), 'a.pem')
  writeFileSync(pem, `${cert}${key}`, { mode: 0o600 })
  const candidates = kind.isPath
    ? [pem]
    : [...(kind.choices ?? []), '7', '7m', '127.0.0.9', 'https://a.example.com', 'projects/p']
  const text = candidates.find((each) => {
    try {
      return !isSameSetting(kind.parse(each), byDefault && kind.parse(byDefault))
    } catch {
      return false
    }
  })
  assert.ok(text !== undefined, `no value is known for ${name}: add one to the candidates`)
  // Its socket takes the port's place.
  const admin = into === 'admin' && name !== 'admin-socket' ? { adminPort: 9000 } : {}
  const pair = /^local-tls-(cert|key)$/.test(name) ? { localTlsCert: pem, localTlsKey: pem } : {}
  return { beside: { ...admin, ...BESIDE[name] }, option: { ...pair, [camelCase(name)]: text } }
}

function valueIn(settings: ProxySettings, name: SettingName): unknown {
  const key = keyOf(name)
  const values = new Map(Object.entries({ ...settings.targets[1], ...settings }))
  assert.ok(values.has(key), `${key} is nowhere in the settings`)
  return values.get(key)
}
