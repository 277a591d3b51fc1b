/** Where settings come from, which one wins, and what the user reads when they are wrong. */

import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'

import { type Config, loadConfig } from '../src/config/resolve/config.js'
import type { Login } from '../src/config/resolve/settings.js'
import {
  SETTING_NAMES,
  SETTINGS,
  type SettingName,
  variableOf,
} from '../src/config/schema/table.js'
import { type Given, load, refusal, uid } from './support/load-config.js'

/** Logging in as one role. */
function role(name: string): Login {
  return { as: 'role', name }
}

test('a flag wins over the environment, that over .env, that over the file, that over the default', async (t) => {
  const file = { 'c.yaml': 'drain-timeout: 4s\n' }
  const everywhere: Given = {
    targets: ['a'],
    flags: { 'drain-timeout': '1s', config: 'c.yaml' },
    env: { LAKEBASE_PROXY_DRAIN_TIMEOUT: '2s' },
    files: { '.env': 'LAKEBASE_PROXY_DRAIN_TIMEOUT=3s', ...file },
  }
  const drainTimeout = async (given: Given): Promise<number> =>
    (await load(t, given)).settings.drainTimeoutMs
  assert.equal(await drainTimeout(everywhere), 1_000)
  const noFlag = { ...everywhere, flags: { config: 'c.yaml' } }
  assert.equal(await drainTimeout(noFlag), 2_000)
  // An empty variable is one that compose left empty.
  assert.equal(await drainTimeout({ ...noFlag, env: { LAKEBASE_PROXY_DRAIN_TIMEOUT: '' } }), 3_000)
  assert.equal(await drainTimeout({ ...noFlag, env: {}, files: file }), 4_000)
  assert.equal(await drainTimeout({ targets: ['a'] }), 30_000)
})

test('every setting is a flag, a variable and a file key, and each says what is wrong with its value', async (t) => {
  // A text that no kind of setting takes, but for those that take any.
  for (const name of SETTING_NAMES) {
    const { kind } = SETTINGS[name]
    let message: string
    try {
      kind.parse('?')
      continue
    } catch (error) {
      message = (error as Error).message
    }
    const flag = await refusal(t, { targets: ['a'], flags: { [name]: '?' } })
    assert.ok(flag.includes(`--${name}: ${name} ${message}`), flag)
    const variable = await refusal(t, { targets: ['a'], env: { [variableOf(name)]: '?' } })
    assert.ok(variable.includes(`${variableOf(name)}: ${name} ${message}`), variable)
    const file = await refusal(t, {
      targets: ['a'],
      flags: { config: 'c.yaml' },
      files: { 'c.yaml': `# a comment\n${name}: '?'\n` },
    })
    assert.ok(file.includes(`c.yaml:2: ${name} ${message}`), file)
  }
})

test('the defaults are those of the documentation', async (t) => {
  const { settings } = await load(t, { targets: ['a'] })
  const [target] = settings.targets
  assert.deepEqual(target!.listen.addresses, ['127.0.0.1', '::1'])
  assert.deepEqual(
    [target!.listen.port, target!.database, target!.login, target!.verify, target!.upstreamPort],
    [5432, 'databricks_postgres', { as: 'identity' }, 'full', 5432],
  )
  const { connectTimeoutMs, handshakeTimeoutMs, drainTimeoutMs, drainDelayMs } = settings
  assert.deepEqual(
    [connectTimeoutMs, handshakeTimeoutMs, drainTimeoutMs, drainDelayMs, target!.startTimeoutMs],
    [10_000, 10_000, 30_000, 0, 600_000],
  )
  assert.deepEqual(settings.admin, {
    address: '127.0.0.1',
    port: 9090,
    portIsDefault: true,
    host: undefined,
  })
  assert.deepEqual(
    [settings.logLevel, settings.logFormat, settings.localTls],
    ['info', 'json', 'off'],
  )
  assert.equal((await load(t, { targets: ['a'], isTerminal: true })).settings.logFormat, 'pretty')
})

test('all problems are told at once, each with where it was set', async (t) => {
  const text = await refusal(t, {
    targets: ['a?prot=1'],
    flags: { port: 'x', config: 'c.yaml', address: '0.0.0.0' },
    env: { LAKEBASE_PROXY_QUIET: 'perhaps' },
    files: {
      '.env': 'A=1\nLAKEBASE_PROXY_LOG_LEVEL=loud\n',
      'c.yaml': 'drain-timout: 3s\nidle-timeout: 30\n',
    },
  })
  for (const expected of [
    /^7 settings are wrong/,
    /--address: address 0\.0\.0\.0 would let other machines in/,
    /--port: port must be a whole number/,
    /\n {2}TARGET "a" has an unknown option "prot"\n {4}Did you mean "port"\?/,
    /LAKEBASE_PROXY_QUIET: quiet must be true or false/,
    /LAKEBASE_PROXY_LOG_LEVEL \(\.env:2\): log-level must be/,
    /c\.yaml:1: unknown setting "drain-timout"\n {4}Did you mean "drain-timeout"\?/,
    /c\.yaml:2: idle-timeout must be a duration such as 30s/,
  ]) {
    assert.match(text, expected)
  }
})

test('every mistake in the query of one TARGET is told at once', async (t) => {
  const name = await refusal(t, {
    targets: ['a?prot=1&prot=2&warm=x&databse=d&port=5&port=6&user'],
  })
  for (const expected of [
    /^5 settings are wrong/,
    /unknown option "prot"\n {4}Did you mean "port"\?/,
    /TARGET "a": warm must be a whole number/,
    /unknown option "databse"\n {4}Did you mean "database"\?/,
    /\n {2}TARGET "a" has port twice/,
    /TARGET: user of TARGET "a" has no value/,
  ]) {
    assert.match(name, expected)
  }
  const query = 'sslmode=prefer&hostaddr=x&channel_binding=require&sslmod=1&keepalives=1'
  const url = await refusal(t, { targets: [`postgresql://u:hunter2@h/d?${query}`] })
  for (const expected of [
    /^4 settings are wrong/,
    /sslmode=prefer in the URL is weaker/,
    /channel_binding=require in the URL cannot be met/,
    /unsupported parameter "sslmod"\n {4}Did you mean "sslmode"\?/,
    /hostaddr must be an IP address/,
  ]) {
    assert.match(url, expected)
  }
  assert.doesNotMatch(url, /hunter2/)
})

test('a hint that is that of several mistakes in a row is given once', async (t) => {
  const url = 'postgresql://u:hunter2@h/d?schema=public&pgbouncer=true'
  const text = await refusal(t, { targets: [url] })
  assert.match(text, /"schema"\n.*"pgbouncer"\n {4}Leave it out/)
  assert.equal(text.split('Leave it out').length, 2)
})

test('a duration may be in days', async (t) => {
  const flags = { 'idle-timeout': '1d12h' }
  const { settings } = await load(t, { targets: ['a'], flags })
  assert.equal(settings.targets[0]!.idleTimeoutMs, 36 * 3_600_000)
})

test('nothing of .env reaches the environment, and Databricks variables of both are merged', async (t) => {
  const env = { DATABRICKS_HOST: 'https://from-env', DATABRICKS_TOKEN: '' }
  const before = { ...env }
  const { databricksEnv } = await load(t, {
    targets: ['a'],
    env,
    files: {
      '.env': [
        'DATABRICKS_HOST=https://from-file',
        'DATABRICKS_TOKEN=dapi1',
        'LAKEBASE_PROXY_LOCAL_PASSWORD=x',
        'LAKEBASE_PROXY_LOCAL_AUTH=password',
      ].join('\n'),
    },
  })
  assert.deepEqual(env, before)
  assert.equal(process.env.DATABRICKS_TOKEN, undefined)
  assert.deepEqual(
    { ...databricksEnv },
    {
      DATABRICKS_HOST: 'https://from-env',
      DATABRICKS_TOKEN: 'dapi1',
    },
  )
})

test('a file that was named must be there; a folder called .env is ignored', async (t) => {
  assert.match(await refusal(t, { targets: ['a'], flags: { 'env-file': 'no' } }), /no such file/)
  assert.match(await refusal(t, { targets: ['a'], flags: { config: 'no' } }), /no such file/)
  const cwd = mkdtempSync(join(tmpdir(), 'lakebase-config-'))
  t.after(() => rmSync(cwd, { recursive: true, force: true }))
  mkdirSync(join(cwd, '.env'))
  const machine = { cwd, homeDir: cwd, hostname: '', platform: 'linux', isTerminal: false }
  await loadConfig({ targets: ['a'], flags: new Map(), env: {}, uid, machine })
})

test('with no TARGET the targets come from the first place that names one', async (t) => {
  const env = {
    LAKEBASE_PROXY_TARGETS: 'one two',
    LAKEBASE_ENDPOINT: 'projects/p/branches/b/endpoints/e',
    LAKEBASE_INSTANCE: 'inst',
    LAKEBASE_PG_URL: 'postgresql://u:p@db.example.com/d?sslmode=require',
    PGHOST: 'ep-cool-1.database.us-west-2.cloud.databricks.com',
    PGDATABASE: 'app',
  }
  const files = { 'c.yaml': 'targets:\n  - three\n  - target: four\n    port: 6000\n' }
  const names = async (given: Given): Promise<string[]> =>
    (await load(t, given)).settings.targets.map(({ name }) => name)
  const flags = { config: 'c.yaml' }
  assert.deepEqual(await names({ targets: ['zero'], env, files, flags }), ['zero'])
  assert.deepEqual(await names({ env, files, flags }), ['one', 'two'])
  const { LAKEBASE_PROXY_TARGETS: _1, ...noTargets } = env
  assert.deepEqual(await names({ env: noTargets, files, flags }), ['three', 'four'])
  assert.deepEqual(await names({ env: noTargets }), ['projects/p/branches/b/endpoints/e'])
  const { LAKEBASE_ENDPOINT: _2, ...noEndpoint } = noTargets
  assert.deepEqual(await names({ env: noEndpoint }), ['inst'])
  const { LAKEBASE_INSTANCE: _3, ...onlyUrl } = noEndpoint
  assert.deepEqual(await names({ env: onlyUrl }), ['postgresql://u@db.example.com/d'])
  const { LAKEBASE_PG_URL: _4, ...onlyApp } = onlyUrl
  const app = await load(t, { env: onlyApp })
  assert.deepEqual(
    app.settings.targets.map(({ name, database }) => [name, database]),
    [[env.PGHOST, 'app']],
  )
  const chosen = await load(t, { env: { ...onlyApp, LAKEBASE_PROXY_DATABASE: 'mine' } })
  assert.equal(chosen.settings.targets[0]!.database, 'mine')
  await refusal(t, { env: { PGHOST: 'localhost', PGDATABASE: 'app' } })
  const path = await load(t, { targets: ['projects/p/branches/b/databases/sales'] })
  const [sales] = path.settings.targets
  assert.deepEqual(sales!.target, { kind: 'autoscaling', project: 'p', branch: 'b' })
  assert.equal(sales!.database, 'sales')
  assert.deepEqual(await names({ pickTarget: async () => 'picked' }), ['picked'])
  const text = await refusal(t, {})
  for (const name of Object.keys(env).filter((each) => each !== 'PGDATABASE'))
    assert.ok(text.includes(name), text)
})

test('a LAKEBASE_PG_URL of this machine is the application’s, and never a target', async (t) => {
  const hosts = ['localhost', '127.0.0.1', '127.8.8.8', '[::1]', 'laptop', 'laptop.example.com']
  for (const host of hosts) {
    for (const user of ['u:p@', 'any@', '']) {
      const env = { LAKEBASE_PG_URL: `postgresql://${user}${host}:5432/d?sslmode=disable` }
      assert.match(await refusal(t, { env }), /no target is named/, env.LAKEBASE_PG_URL)
    }
  }
  for (const host of ['localhost', '[::1]', '/run/lakebase']) {
    const env = { LAKEBASE_PG_URL: `postgresql://any@/d?port=5432&host=${host}` }
    assert.match(await refusal(t, { env }), /no target is named/, env.LAKEBASE_PG_URL)
  }
  // .env of the application beside the environment of the proxy
  const { settings } = await load(t, {
    env: { LAKEBASE_INSTANCE: 'inst' },
    files: { '.env': 'LAKEBASE_PG_URL=postgresql://any@localhost:5432/d?sslmode=disable' },
  })
  assert.equal(settings.targets[0]!.name, 'inst')
})

test('what `url --format dotenv` adds to .env does not take the target of the proxy away', async (t) => {
  const own = 'LAKEBASE_PG_URL=postgresql://u:p@db.example.com/d?sslmode=require'
  const added =
    'PGHOST=localhost\nLAKEBASE_PG_URL="postgresql://any@localhost:5432/d?sslmode=disable"'
  for (const text of [`${own}\n${added}\n`, `${added}\n${own}\n`, `${own}\n${added}\n${added}\n`]) {
    const { settings, given } = await load(t, { files: { '.env': text } })
    assert.equal(settings.targets[0]!.name, 'postgresql://u@db.example.com/d')
    const line = text.split('\n').indexOf(own) + 1
    assert.equal(given[0]!.where, `LAKEBASE_PG_URL (.env:${line})`)
  }
  const again = await load(t, { files: { '.env': `${own}\n${own.replace('db.', 'new.')}` } })
  assert.equal(again.settings.targets[0]!.name, 'postgresql://u@new.example.com/d')
})

test('files in UTF-16, as Windows writes them, are read by their byte order mark', async (t) => {
  const little = (text: string): Buffer => Buffer.from(`\ufeff${text}`, 'utf16le')
  const big = (text: string): Buffer => little(text).swap16()
  for (const encode of [little, big]) {
    const files = {
      '.env': encode('LAKEBASE_PROXY_DATABASE=größe\r\nLAKEBASE_PROXY_CONFIGS=1\r\n'),
      'c.yaml': encode('targets:\r\n  - target: a\r\n    user: jürgen\r\n'),
    }
    const { settings, notices } = await load(t, { flags: { config: 'c.yaml' }, files })
    const [target] = settings.targets
    assert.deepEqual([target!.database, target!.login], ['größe', role('jürgen')])
    assert.match(notices.join(), /LAKEBASE_PROXY_CONFIGS \(\.env:2\) is not a setting/)
  }
  const unmarked = Buffer.from('LAKEBASE_PROXY_DATABASE=d', 'utf16le')
  assert.match(await refusal(t, { targets: ['a'], files: { '.env': unmarked } }), /\.env.*UTF-8/)
})

test('a mistake in the address of the workspace is named in one error, and its text is not repeated', async (t) => {
  const table: [string, RegExp][] = [
    ['"https://x.cloud.databricks.com"', /has quotation marks in it/],
    ['\u201chttps://x.cloud.databricks.com\u201d', /has quotation marks in it/],
    ['https//x.cloud.databricks.com', /does not begin with https:\/\/ rightly/],
    ['https:/x.cloud.databricks.com', /does not begin with https:\/\/ rightly/],
    ['https:x.cloud.databricks.com', /does not begin with https:\/\/ rightly/],
    ['https:///x.cloud.databricks.com', /does not begin with https:\/\/ rightly/],
    ['https://https://x.cloud.databricks.com', /holds two URLs/],
    ['https://x.databricks.com,https://y.databricks.com', /holds two URLs/],
    ['x.databricks.com y.databricks.com', /holds more than one URL, or white space/],
    ['\u0024{DATABRICKS_HOST}', /placeholder in it that was not filled in/],
    ['https://$HOST', /placeholder/],
    ['https://<workspace>.databricks.com', /placeholder/],
    ['{{ host }}', /placeholder/],
    ['ftp://x.databricks.com', /must begin with https:\/\//],
    ['https://u:hunter2@x.databricks.com', /must not hold a user name or a password/],
    ['http://x.databricks.com', /must begin with https:\/\/ unless/],
  ]
  for (const [text, expected] of table) {
    for (const given of [
      { targets: ['a'], env: { DATABRICKS_HOST: text } },
      { targets: ['a'], flags: { 'databricks-host': text } },
      { env: { DATABRICKS_HOST: text }, pickTarget: () => assert.fail('the host was asked') },
    ]) {
      const message = await refusal(t, given)
      assert.match(message, expected)
      assert.match(message, /^(DATABRICKS_HOST|--databricks-host: databricks-host) /)
      assert.doesNotMatch(message, /hunter2/)
    }
  }
  const spare = { DATABRICKS_HOST: '"' }
  await load(t, { targets: ['postgresql://u:p@h/d', 'a?databricks-host=x.y'], env: spare })
  for (const text of [
    'x.databricks.com',
    'localhost:8080',
    'http://127.0.0.1:1/',
    'https://x.y/?o=1',
  ]) {
    await load(t, { targets: ['a'], env: { DATABRICKS_HOST: text } })
  }
})

test('two URLs that differ in the host of their query are two targets', async (t) => {
  const targets = ['A', 'B'].map((host) => `postgresql:///db?host=${host}&user=u&password=p`)
  const { settings } = await load(t, { targets })
  assert.deepEqual(
    settings.targets.map(({ name }) => name),
    ['postgresql://u@A/db', 'postgresql://u@B/db'],
  )
})

test('what a target says of itself wins over flags, environment and file, wherever it was named', async (t) => {
  const files = {
    'c.yaml':
      'database: all\nport: 7000\nuser: someone\ntargets:\n  - target: a\n    database: own\n    port: 6000\n  - b?database=query\n  - c\n',
  }
  const of = async (given: Given): Promise<string[]> =>
    (await load(t, { files, ...given })).settings.targets.map(
      ({ database, listen }) => `${database} ${listen.port}`,
    )
  const config = 'c.yaml'
  assert.deepEqual(await of({ flags: { config } }), ['own 6000', 'query 7000', 'all 7001'])
  const flags = { config, database: 'flag', port: '8000' }
  const flagged = ['own 6000', 'query 8000', 'flag 8001']
  assert.deepEqual(await of({ flags }), flagged)
  const env = { LAKEBASE_PROXY_DATABASE: 'flag', LAKEBASE_PROXY_PORT: '8000' }
  assert.deepEqual(await of({ flags: { config }, env }), flagged)
  const named = { LAKEBASE_PROXY_TARGETS: 'a?port=6000 b' }
  assert.deepEqual(await of({ flags: { port: '8000' }, env: named }), [
    'databricks_postgres 6000',
    'databricks_postgres 8000',
  ])
  assert.deepEqual(await of({ targets: ['a?database=mine', 'b'], flags }), [
    'mine 8000',
    'flag 8001',
  ])
  const url = { LAKEBASE_PG_URL: 'postgresql://u:p@h/d' }
  const { settings } = await load(t, { env: url, flags: { user: 'other', database: 'e' } })
  assert.deepEqual([settings.targets[0]!.login, settings.targets[0]!.database], [role('u'), 'd'])
})

test('each further target gets the next port, those that were asked for by number left out', async (t) => {
  const ports = async (targets: string[], port?: string): Promise<number[]> =>
    (await load(t, { targets, flags: port === undefined ? {} : { port } })).settings.targets.map(
      (target) => target.listen.port,
    )
  assert.deepEqual(await ports(['a', 'b', 'c']), [5432, 5433, 5434])
  assert.deepEqual(await ports(['a', 'b?port=5433', 'c'], '5432'), [5432, 5433, 5434])
  assert.deepEqual(await ports(['a', 'b'], '0'), [0, 0])
})

test('targets that would clash are refused: the same port, the same name, the admin port', async (t) => {
  const clash = await refusal(t, { targets: ['a?port=6000', 'b?port=6000'] })
  assert.match(clash, /port 6000 of target "b" is also the port of target "a"/)
  await load(t, { targets: ['a?port=6000&address=127.0.0.1', 'b?port=6000&address=127.0.0.2'] })
  assert.match(await refusal(t, { targets: ['a', 'a'] }), /target "a" is named twice/)
  const { settings } = await load(t, { targets: ['a', 'a?read-only'] })
  assert.deepEqual(
    settings.targets.map(({ name }) => name),
    ['a', 'a?read-only=true'],
  )
  const admin = await refusal(t, { targets: ['a'], flags: { 'admin-port': '5432' } })
  assert.match(admin, /admin-port 5432 is also the port of target "a"/)
})

test('other machines are let in only with a password inside TLS, or with unsafe-listen', async (t) => {
  const open = { targets: ['a'], flags: { address: '0.0.0.0' } }
  assert.match(await refusal(t, open), /would let other machines in as you/)
  const env = { LAKEBASE_PROXY_LOCAL_PASSWORD: 'hunter2' }
  const password = { ...open.flags, 'local-auth': 'password' }
  assert.match(await refusal(t, { ...open, flags: password, env }), /other machines/)
  await load(t, { ...open, env, flags: { ...password, 'local-tls': 'auto' } })
  await load(t, { ...open, flags: { ...open.flags, 'unsafe-listen': 'true' } })
  await load(t, { targets: ['a?address=127.0.0.9'] })
})

test('the local password comes from a file of one’s own or a variable, and is never printed', async (t) => {
  const flags = { 'local-auth': 'password', 'local-password-file': 'secret' }
  const files = { secret: 'hunter2\n' }
  const config = await load(t, { targets: ['a'], flags, files })
  const { file } = config.settings.localPassword as { file: string }
  assert.match(file, /[\\/]lakebase-config-[^\\/]*[\\/]secret$/)
  assert.doesNotMatch(inspect(config, { depth: 9 }) + JSON.stringify(config), /hunter2/)

  const env = { LAKEBASE_PROXY_LOCAL_PASSWORD: 'hunter2' }
  assert.match(await refusal(t, { targets: ['a'], flags, files, env }), /are both set/)
  assert.match(
    await refusal(t, { targets: ['a'], flags: { 'local-auth': 'password' } }),
    /no password/,
  )
  assert.match(await refusal(t, { targets: ['a'], env }), /no client would be asked for it/)
  const many = 'x\n'.repeat(101)
  assert.match(
    await refusal(t, { targets: ['a'], flags, files: { secret: many } }),
    /more than 100/,
  )
})

test('a secret that others can read is refused', async (t) => {
  const cwd = mkdtempSync(join(tmpdir(), 'lakebase-config-'))
  t.after(() => rmSync(cwd, { recursive: true, force: true }))
  const write = (name: string, text: string, mode: number): void => {
    writeFileSync(join(cwd, name), text)
    chmodSync(join(cwd, name), mode)
  }
  const machine = { cwd, homeDir: cwd, hostname: '', platform: 'linux', isTerminal: false }
  const loadWith = (flags: Partial<Record<SettingName, string>>): Promise<Config> =>
    loadConfig({
      targets: ['a'],
      flags: new Map(Object.entries(flags) as [SettingName, string][]),
      env: {},
      uid,
      machine,
    })
  write('secret', 'hunter2', 0o644)
  const withPassword = { 'local-auth': 'password', 'local-password-file': 'secret' } as const
  await assert.rejects(loadWith(withPassword), {
    message: /can be read by others/,
    hint: /chmod 600/,
  })
  await assert.rejects(loadWith({ ...withPassword, 'local-tls': 'auto', address: '0.0.0.0' }))

  write('c.yaml', 'targets: ["postgresql://u:hunter2@h/d"]', 0o644)
  await assert.rejects(loadWith({ config: 'c.yaml' }), { message: /holds a password/ })
  write('c.yaml', 'quiet: true', 0o644)
  assert.equal((await loadWith({ config: 'c.yaml' })).settings.quiet, true)

  write('.env', 'LAKEBASE_PROXY_LOCAL_PASSWORD=hunter2\nLAKEBASE_PROXY_LOCAL_AUTH=password', 0o644)
  await assert.rejects(loadWith({}), { message: /the file can be read by others/ })
  write('.env', 'LAKEBASE_PROXY_TARGETS="b postgresql://u:hunter2@h/d"', 0o644)
  await assert.rejects(loadWith({}), { message: /LAKEBASE_PROXY_TARGETS.*can be read by others/ })
  write('.env', 'LAKEBASE_PROXY_TARGETS=b', 0o644)
  await loadWith({})
  // The application's own file with Databricks' secrets is worth a word, and no more.
  write('.env', 'DATABRICKS_TOKEN=dapi1', 0o644)
  const { notices } = await loadWith({})
  assert.match(notices.join(), /DATABRICKS_TOKEN \(\.env:1\) is a secret/)
  assert.doesNotMatch(notices.join(), /dapi1/)
})

test('what one setting demands of another is checked', async (t) => {
  const table: [Given, RegExp][] = [
    [{ targets: ['a?sslmode=require'] }, /does not verify the server/],
    [{ targets: ['a?token-ttl=4m'] }, /token-ttl must be from 5m to 1h/],
    [{ targets: ['a?group=g&user=u'] }, /user "u" cannot log in with the token of group "g"/],
    [{ targets: ['a?databricks-host=http://example.com'] }, /must begin with https/],
    [{ targets: ['a?sslrootcert=none.pem'] }, /no such file/],
    [{ targets: ['a?sslrootcert=x'], files: { x: 'x' } }, /no certificate in PEM form/],
    [{ targets: ['a'], flags: { 'local-tls-cert': 'x' } }, /local-tls-cert needs local-tls-key/],
    [{ targets: [`a?unix-socket=/${'x'.repeat(100)}`] }, /longer than the 103 bytes/],
    [{ targets: ['postgresql://u:p@localhost/d'] }, /this proxy's own port 5432/],
    [{ targets: ['a?hostaddr=example.com'] }, /hostaddr must be an IP address/],
    [{ targets: ['a'], flags: { resolver: '1.1.1.1:99999' } }, /must be DNS servers/],
    [{ targets: ['a'], flags: { 'idle-timeout': '99999h' } }, /must be from 0s to/],
  ]
  for (const [given, expected] of table) assert.match(await refusal(t, given), expected)

  const { settings } = await load(t, { targets: ['a?group=g'], env: { LAKEBASE_PROXY_USER: 'u' } })
  assert.deepEqual(settings.targets[0]!.login, { as: 'group', name: 'g' })
  const bare = await load(t, { targets: ['a?databricks-host=dbc-1.cloud.databricks.com/x?o=1'] })
  assert.equal(bare.settings.targets[0]!.databricksHost, 'https://dbc-1.cloud.databricks.com/?o=1')
})

test('what local-auth=databricks demands of other settings is checked', async (t) => {
  const flags = { 'local-auth': 'databricks', 'local-tls': 'auto' }
  const { settings } = await load(t, { targets: ['a'], flags })
  assert.deepEqual(settings.targets[0]!.login, { as: 'person' })
  const role = /the role is the identity of each client, and not set by/
  const table: [Given, RegExp][] = [
    [
      { targets: ['a'], flags: { 'local-auth': 'databricks' } },
      /--local-auth: local-auth=databricks needs local-tls.*\n\s*Set local-tls=auto/,
    ],
    [{ targets: ['a?user=ada'], flags }, new RegExp(`TARGET "a": .*${role.source} user`)],
    [
      { targets: ['a'], flags: { ...flags, group: 'g' } },
      new RegExp(`--group: .*${role.source} group`),
    ],
    [
      { targets: ['a'], flags, env: { LAKEBASE_PROXY_USER: 'ada' } },
      new RegExp(`LAKEBASE_PROXY_USER: .*${role.source} user`),
    ],
    [
      { targets: ['a'], flags: { ...flags, 'unix-socket': '/tmp/socket' } },
      /--unix-socket: local-auth=databricks needs TLS.*\n\s*Leave unix-socket out/,
    ],
    [
      { targets: ['postgresql://u:p@example.com/d'], flags },
      /--local-auth: target ".*" has one role and password for all, so local-auth=databricks is not possible/,
    ],
    [
      { targets: ['a'], flags: { 'max-connections-per-user': '3' } },
      /--max-connections-per-user: max-connections-per-user needs local-auth=databricks/,
    ],
    [
      { targets: ['projects/p?follow-git=existing'], flags },
      /TARGET "projects\/p": follow-git serves what one person has checked out.*\n\s*Leave follow-git out/,
    ],
  ]
  for (const [given, expected] of table) assert.match(await refusal(t, given), expected)
})

test('paths start from the folder of what names them', async (t) => {
  const flags = { config: 'sub/c.yaml', 'unix-socket': 'here' }
  const cwd = mkdtempSync(join(tmpdir(), 'lakebase-config-'))
  t.after(() => rmSync(cwd, { recursive: true, force: true }))
  mkdirSync(join(cwd, 'sub'))
  const machine = { cwd, homeDir: '/home/ada', hostname: '', platform: 'linux', isTerminal: false }
  const socketOf = async (yaml: string, names: (keyof typeof flags)[]): Promise<unknown> => {
    writeFileSync(join(cwd, 'sub', 'c.yaml'), yaml)
    const given = new Map(names.map((name) => [name, flags[name]] as [SettingName, string]))
    const config = await loadConfig({ targets: ['a'], flags: given, env: {}, uid, machine })
    return config.settings.targets[0]!.listen.unixSocket
  }
  assert.equal(await socketOf('unix-socket: s', ['config']), join(cwd, 'sub', 's'))
  assert.equal(await socketOf('unix-socket: ~/s', ['config']), '/home/ada/s')
  assert.equal(await socketOf('{}', ['config', 'unix-socket']), join(cwd, 'here'))
})

test('variables that Kubernetes makes for a Service named lakebase-proxy are not settings', async (t) => {
  const { settings, notices } = await load(t, {
    targets: ['a'],
    env: {
      LAKEBASE_PROXY_PORT: 'tcp://10.0.0.1:5432',
      LAKEBASE_PROXY_PORT_5432_TCP: 'tcp://10.0.0.1:5432',
      LAKEBASE_PROXY_SERVICE_HOST: '10.0.0.1',
      LAKEBASE_PROXY_SERVICE_PORT_PG: '5432',
      LAKEBASE_PROXY_PROT: '1',
    },
  })
  assert.equal(settings.targets[0]!.listen.port, 5432)
  assert.deepEqual(notices, [
    'LAKEBASE_PROXY_PROT is not a setting. Did you mean "LAKEBASE_PROXY_PORT"?',
  ])
})

test('a file that is not YAML, or not settings, is refused with its line', async (t) => {
  const table: [string, RegExp][] = [
    ['port: [1', /c\.yaml:1: is not YAML/],
    ['port: 1\nport: 2', /c\.yaml:2: is not YAML: the key stands twice in its map/],
    ['targets: [a\nport: : 3', /^c\.yaml:2: is not YAML: the line is not [^\n]+\n?$/],
    ['- a', /c\.yaml:1: must be a map of settings/],
    ['port:', /c\.yaml:1: port has no value/],
    ['targets: a', /c\.yaml:1: targets must be a list/],
    ['targets:\n  - port: 1', /c\.yaml:2: a target has no "target:"/],
    ['targets:\n  - target: a\n    prot: 1', /c\.yaml:3: a target has an unknown option "prot"/],
    [
      'targets:\n  - target: a\n    quiet: true',
      /c\.yaml:3: quiet is a setting of the whole proxy/,
    ],
    ['config: other.yaml', /c\.yaml:1: unknown setting "config"/],
  ]
  for (const [yaml, expected] of table) {
    const given = {
      flags: { config: 'c.yaml' },
      files: { 'c.yaml': yaml },
      env: { LAKEBASE_INSTANCE: 'i' },
    }
    assert.match(await refusal(t, given), expected)
  }
})

test('aliases and merge keys of the file are followed', async (t) => {
  const yaml = [
    'x-common: &common {user: someone, database: shared}',
    'x-more: &more {<<: *common, database: more, warm: 2}',
    'log-level: &level debug',
    'targets:',
    '  - target: a',
    '    <<: *common',
    '    database: own',
    '  - {target: b, <<: [*more, *common]}',
    '  - &third c',
    'idle-timeout: &t 5s',
    'drain-timeout: *t',
  ]
  const given = { flags: { config: 'c.yaml' }, files: { 'c.yaml': yaml.join('\n') } }
  const { settings } = await load(t, given)
  assert.deepEqual(
    settings.targets.map(({ name, login, database, warm }) => [name, login, database, warm]),
    [
      ['a', role('someone'), 'own', 0],
      ['b', role('someone'), 'more', 2],
      ['c', { as: 'identity' }, 'databricks_postgres', 0],
    ],
  )
  assert.deepEqual([settings.logLevel, settings.drainTimeoutMs], ['debug', 5000])
})

test('all mistakes of the file are told at once, in words of ours', async (t) => {
  const yaml = [
    'port: 1',
    'port: 2',
    'quiet: perhaps',
    'user: *nowhere',
    'targets:',
    '  - target: not a target',
    '    warm: many',
    '    prot: 5',
    '  - <<: 5',
    'x-self: &self {<<: *self}',
    '---',
    'port: 3',
  ]
  const text = await refusal(t, {
    flags: { config: 'c.yaml' },
    files: { 'c.yaml': yaml.join('\n') },
  })
  for (const expected of [
    /c\.yaml:2: is not YAML: the key stands twice/,
    /c\.yaml:3: quiet must be true or false/,
    /c\.yaml:4: an alias names an anchor that is not before it/,
    /c\.yaml:6: this text is not a TARGET/,
    /c\.yaml:7: warm must be a whole number/,
    /c\.yaml:8: a target has an unknown option "prot"/,
    /c\.yaml:9: << needs a map/,
    /c\.yaml:11: is not YAML: a second document begins here/,
  ]) {
    assert.match(text, expected)
  }
  assert.doesNotMatch(text, /parseAllDocuments|Unresolved/)

  const bomb = ['x-0: &a0 {user: u}']
  for (let at = 1; at < 20; at += 1) {
    bomb.push(
      `x-${at}: &a${at} {<<: [${Array(9)
        .fill(`*a${at - 1}`)
        .join(', ')}]}`,
    )
  }
  bomb.push('<<: *a19')
  const files = { 'c.yaml': bomb.join('\n') }
  assert.match(
    await refusal(t, { targets: ['a'], flags: { config: 'c.yaml' }, files }),
    /1000 merges/,
  )
  const circle = { 'c.yaml': 'x-a: 1\n<<: &s {<<: *s}' }
  assert.match(
    await refusal(t, { targets: ['a'], flags: { config: 'c.yaml' }, files: circle }),
    /c\.yaml/,
  )
})

test('a name that looks like a number is taken as it was written', async (t) => {
  const yaml =
    'database: 1.10\ntargets:\n  - target: a\n    user: 007\n  - 0012345678901234567890\n'
  const { settings } = await load(t, { flags: { config: 'c.yaml' }, files: { 'c.yaml': yaml } })
  assert.deepEqual(
    settings.targets.map(({ name, database, login }) => [name, database, login]),
    [
      ['a', '1.10', role('007')],
      ['0012345678901234567890', '1.10', { as: 'identity' }],
    ],
  )
})

test('the result is frozen, and tells what was set and where, without a secret', async (t) => {
  const { settings, given } = await load(t, {
    env: { LAKEBASE_PG_URL: 'postgresql://u:hunter2@h/d', DATABRICKS_TOKEN: 'dapi1' },
    flags: { port: '6000' },
  })
  assert.throws(() => Object.assign(settings.targets[0]!, { port: 1 }), TypeError)
  assert.throws(() => (settings.targets as unknown[]).push(1), TypeError)
  assert.deepEqual(given, [
    { setting: 'TARGET', value: 'postgresql://u@h/d', where: 'LAKEBASE_PG_URL' },
    { setting: 'database', value: 'd', where: 'LAKEBASE_PG_URL' },
    { setting: 'user', value: 'u', where: 'LAKEBASE_PG_URL' },
    { setting: 'port', value: '6000', where: '--port' },
    { setting: 'DATABRICKS_TOKEN', value: '[redacted]', where: 'DATABRICKS_TOKEN' },
  ])
})
