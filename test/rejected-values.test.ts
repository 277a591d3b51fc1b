/** What is rejected may be a connection string in the wrong place: no message repeats its password. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { settingsFromOptions } from '../src/config/resolve/options.js'
import { SETTING_NAMES, SETTINGS, variableOf } from '../src/config/schema/table.js'
import { ProxyError } from '../src/core/errors.js'
import type { Secret } from '../src/core/secret.js'
import { load, refusal } from './support/load-config.js'

/** Each with the password hunter2, in forms that people paste. */
const CONNECTION_STRINGS = [
  'host=h user=u password=hunter2',
  'password=hunter2',
  'Host=h;Username=u;Password=hunter2',
  'Server=tcp:h,5432;User Id=u;Password=hunter2;Ssl Mode=Require',
  'PGPASSWORD=hunter2 psql -h h -U u',
  'psql "host=h password=hunter2"',
  'u:hunter2@h/db',
  'mysql://u:hunter2@h/db',
  'https://u:hunter2@h/db',
  'jdbc:postgresql://h/db?user=u&password=hunter2',
  'postgresql://u:hun ter2 hunter2!@h/db',
  "psql 'postgresql://u:hun hunter2!@h/db'",
]

test('no setting repeats such a value, wherever it was written', async (t) => {
  let refused = 0
  for (const text of CONNECTION_STRINGS) {
    for (const name of SETTING_NAMES) {
      if (name === 'targets') continue
      const key = `a?${name}=${encodeURIComponent(text)}`
      const { perTarget } = SETTINGS[name]
      const given = [
        { targets: ['a'], flags: { [name]: text } },
        { targets: ['a'], env: { [variableOf(name)]: text } },
        { targets: ['a'], files: { '.env': `${variableOf(name)}='${text.replaceAll("'", '')}'` } },
        {
          targets: ['a'],
          flags: { config: 'c.yaml' },
          files: { 'c.yaml': `${name}: ${JSON.stringify(text)}` },
        },
        ...(perTarget ? [{ targets: [key] }] : []),
      ]
      for (const each of given) {
        const message = await load(t, each).then(
          () => undefined,
          (error: ProxyError) => `${error.message} ${error.detail} ${error.hint}`,
        )
        if (message === undefined) continue
        refused += 1
        assert.doesNotMatch(message, /hunter2|ter2/, message)
      }
      const camel = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
      try {
        settingsFromOptions({ targets: ['a'], [camel]: text }, {})
      } catch (error) {
        assert.ok(error instanceof ProxyError, String(error))
        assert.doesNotMatch(`${error.message} ${error.hint}`, /hunter2/)
      }
    }
  }
  assert.ok(refused > 1000, `${refused} were refused`)
})

test('a connection string that is not a TARGET is not repeated, wherever a TARGET may stand', async (t) => {
  const flags = { config: 'c.yaml' }
  for (const text of CONNECTION_STRINGS) {
    const quoted = JSON.stringify(text)
    for (const given of [
      { targets: [text] },
      { targets: text.split(' ') },
      { env: { LAKEBASE_PROXY_TARGETS: text } },
      { env: { LAKEBASE_PG_URL: text } },
      { env: { LAKEBASE_INSTANCE: text } },
      { env: { LAKEBASE_ENDPOINT: text } },
      { files: { '.env': `LAKEBASE_PG_URL=${text}` } },
      { flags: { targets: text } },
      { flags, files: { 'c.yaml': `targets:\n  - ${quoted}` } },
      { flags, files: { 'c.yaml': `targets:\n  - target: ${quoted}` } },
      { flags, files: { 'c.yaml': `targets:\n  - target: a\n    ${quoted}: x` } },
      { flags, files: { 'c.yaml': `targets: ${quoted}` } },
      { flags, files: { 'c.yaml': `${quoted}: x\ntargets: [a]` } },
      { flags, files: { 'c.yaml': `targets:\n  - *${text}` } },
      { flags, files: { 'c.yaml': `targets:\n  - ${text}\n bad: [${text}` } },
      { flags, files: { 'c.yaml': `? ${text}\n: x\n? ${text}\n: y` } },
    ]) {
      const message = await load(t, given).then(
        () => '',
        (error: ProxyError) => `${error.message} ${error.hint}`,
      )
      assert.doesNotMatch(message, /hunter2|ter2/, JSON.stringify(given))
    }
  }
})

test('the form of a connection string is named, and the right one beside it', async (t) => {
  const table: [string, RegExp][] = [
    [
      'host=h user=u password=hunter2',
      /keywords and values is not a TARGET\n.*postgresql:\/\/user/,
    ],
    ['PGPASSWORD=hunter2 psql -h h', /keywords and values is not a TARGET/],
    ['Host=h;Password=hunter2', /keywords and values is not a TARGET\n.*postgresql/],
    ['u:hunter2@h/db', /has no scheme\nPut postgresql:\/\/ in front of it/],
  ]
  for (const [text, expected] of table) {
    assert.match(await refusal(t, { targets: [text] }), expected)
    assert.match(await refusal(t, { env: { LAKEBASE_PROXY_TARGETS: text } }), expected)
  }
})

test('a password in the query of a URL is one, also after the escapes of a URL or of YAML', async (t) => {
  const urls = [
    'postgresql://u:hunter2@h/d',
    'postgresql://u@h/d?password=hunter2',
    'postgresql://h/d?user=u&pass%77ord=hunter2',
  ]
  const modes = { '.env': 0o644, 'c.yaml': 0o644 }
  for (const url of urls) {
    const files = { '.env': `LAKEBASE_PROXY_TARGETS=${url}` }
    assert.match(
      await refusal(t, { files, modes }),
      /LAKEBASE_PROXY_TARGETS.*can be read by others/,
    )
    await load(t, { files })
    const own = { '.env': `LAKEBASE_PG_URL=${url}` }
    const { notices } = await load(t, { files: own, modes })
    assert.match(notices.join(), /LAKEBASE_PG_URL \(\.env:1\) is a secret/)
    for (const written of [url, url.replaceAll('p', '\\x70').replaceAll('@', '\\u0040')]) {
      const yaml = { 'c.yaml': `targets:\n  - target: "${written}"\n` }
      const given = { flags: { config: 'c.yaml' }, files: yaml }
      assert.match(await refusal(t, { ...given, modes }), /^c\.yaml: holds a password and can be/)
      await load(t, given)
    }
  }
  const harmless = { 'c.yaml': 'targets: ["postgresql://ep-a.database.example.com/d"]' }
  await load(t, { flags: { config: 'c.yaml' }, files: harmless, modes })
})

test('a NUL byte in the password file is an error of the settings that shows nothing of it', async (t) => {
  const flags = { 'local-auth': 'password', 'local-password-file': 'secret' }
  for (const content of ['hunter2\0', '\0hunter2', Buffer.from('hunter2', 'utf16le')]) {
    const text = await refusal(t, { targets: ['a'], flags, files: { secret: content } })
    assert.match(text, /^--local-password-file: .*NUL byte/)
    assert.doesNotMatch(text, /hunter/)
  }
})

test('one line break after a local password of the environment is not a part of it', async (t) => {
  const flags = { 'local-auth': 'password' }
  for (const [text, expected] of [
    ['hunter2\n', 'hunter2'],
    ['hunter2\r\n', 'hunter2'],
    [' hunter2 \n\n', ' hunter2 \n'],
  ] as const) {
    const env = { LAKEBASE_PROXY_LOCAL_PASSWORD: text }
    const { settings } = await load(t, { targets: ['a'], flags, env })
    assert.equal((settings.localPassword as Secret).reveal(), expected)
    const same = settingsFromOptions({ targets: ['a'], localAuth: 'password' }, env)
    assert.equal((same.localPassword as Secret).reveal(), expected)
  }
})
