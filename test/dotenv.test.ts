/** What the `.env` of the working folder may do, which may have come with a cloned repository. */

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { SETTING_NAMES, type SettingName, variableOf } from '../src/config/schema/table.js'
import { VARIABLES } from '../src/config/schema/variables.js'
import { readEnvFile } from '../src/config/sources/env-file.js'
import { SIGN_IN_ATTRIBUTES } from '../src/databricks/sign-in/auth.js'
import { cli } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { FakePrograms } from './support/fake-programs.js'
import { load, refusal, uid } from './support/load-config.js'
import { temporaryFolder } from './support/proxy.js'

/** For each setting a value that `.env` may not set, or `free`. A new setting has to be decided. */
const SETTING_RULES: Record<SettingName, string | 'free'> = {
  address: '0.0.0.0',
  port: 'free',
  name: 'free',
  route: 'free',
  'unix-socket': 'free',
  'local-auth': 'trust',
  'local-password-file': 'known-to-others',
  'local-tls': 'off',
  'local-tls-cert': 'cert.pem',
  'local-tls-key': 'key.pem',
  'proxy-protocol': 'on',
  'proxy-protocol-from': '0.0.0.0/0',
  'unsafe-listen': 'true',
  database: 'free',
  user: 'free',
  'read-only': 'false',
  group: 'free',
  'token-ttl': 'free',
  'databricks-host': 'free',
  profile: 'free',
  sslmode: 'verify-ca',
  'unsafe-sslmode-require': 'true',
  sslrootcert: 'ca.pem',
  hostaddr: '203.0.113.7',
  'upstream-port': '6666',
  resolver: '203.0.113.7',
  'auto-start': 'free',
  warm: 'free',
  'warm-ttl': 'free',
  'branch-from': 'free',
  'branch-ttl': 'free',
  'follow-git': 'free',
  'keep-branch': 'free',
  'connect-timeout': 'free',
  'wake-timeout': 'free',
  'handshake-timeout': 'free',
  'start-timeout': 'free',
  'max-connections': 'free',
  'max-connections-per-user': 'free',
  'unready-when-full': 'free',
  'run-connection-test': 'free',
  'idle-timeout': 'free',
  'drain-timeout': 'free',
  'drain-delay': 'free',
  config: 'evil.yaml',
  'env-file': 'other.env',
  'admin-address': '0.0.0.0',
  'admin-port': 'free',
  'admin-socket': 'free',
  'admin-host': 'evil.example.com',
  'no-admin': 'free',
  'log-level': 'free',
  'log-format': 'free',
  quiet: 'free',
  targets: 'free',
}

const FREE_VALUES: Partial<Record<SettingName, string>> = {
  address: '127.0.0.2',
  port: '6000',
  name: 'shop',
  route: 'on',
  'local-auth': 'password',
  'local-tls': 'auto',
  'read-only': 'true',
  'token-ttl': '10m',
  'max-connections-per-user': '0',
  sslmode: 'verify-full',
  'upstream-port': '5432',
  'auto-start': 'true',
  warm: '1',
  'branch-from': 'projects/shop',
  'branch-ttl': '1h',
  'follow-git': 'off',
  'keep-branch': 'true',
  'max-connections': '3',
  'unready-when-full': 'true',
  'run-connection-test': 'true',
  'admin-address': '::1',
  'admin-port': '9999',
  'no-admin': 'true',
  'log-level': 'debug',
  'log-format': 'json',
  quiet: 'true',
}

const FREE_VARIABLES = [
  'DATABRICKS_HOST DATABRICKS_TOKEN DATABRICKS_CLIENT_ID DATABRICKS_CLIENT_SECRET',
  'DATABRICKS_CONFIG_PROFILE DATABRICKS_AUTH_TYPE DATABRICKS_ACCOUNT_ID DATABRICKS_WORKSPACE_ID',
  'DATABRICKS_TOKEN_AUDIENCE DATABRICKS_USERNAME DATABRICKS_PASSWORD',
  'DATABRICKS_GOOGLE_SERVICE_ACCOUNT GOOGLE_CREDENTIALS DATABRICKS_OIDC_TOKEN ARM_CLIENT_ID',
  'ARM_CLIENT_SECRET ARM_TENANT_ID ARM_ENVIRONMENT ARM_USE_MSI ACTIONS_ID_TOKEN_REQUEST_TOKEN',
  'SYSTEM_ACCESSTOKEN SYSTEM_TEAMPROJECTID SYSTEM_HOSTTYPE SYSTEM_PLANID SYSTEM_JOBID',
  'DATABRICKS_CLOUD',
].flatMap((names) => names.split(' '))

const REFUSED_VARIABLES = [
  'DATABRICKS_CLI_PATH PATH DATABRICKS_CONFIG_FILE DATABRICKS_METADATA_SERVICE_URL',
  'DATABRICKS_DISCOVERY_URL ACTIONS_ID_TOKEN_REQUEST_URL HTTPS_PROXY https_proxy HTTP_PROXY',
  'http_proxy NO_PROXY no_proxy NODE_EXTRA_CA_CERTS DATABRICKS_OIDC_TOKEN_ENV',
  'DATABRICKS_OIDC_TOKEN_FILEPATH DATABRICKS_OIDC_TOKEN_FILE DATABRICKS_AZURE_RESOURCE_ID',
  'SYSTEM_TEAMFOUNDATIONCOLLECTIONURI GOOGLE_APPLICATION_CREDENTIALS',
].flatMap((names) => names.split(' '))

const WHY = /may not stand in a \.env that --env-file does not name: it /

test('a .env that was not named may set what is free, and nothing that opens, dials, runs or trusts', async (t) => {
  assert.deepEqual(Object.keys(SETTING_RULES).sort(), [...SETTING_NAMES].sort())
  for (const name of SETTING_NAMES) {
    const hostile = SETTING_RULES[name]
    const variable = variableOf(name)
    if (hostile !== 'free') {
      const files = { '.env': `A=1\n${variable}=${hostile}\n` }
      const text = await refusal(t, { targets: ['a'], files })
      assert.match(text, WHY, name)
      assert.ok(text.includes(`${variable} (.env:2): ${name} may not`), text)
      assert.ok(text.includes(`Set --${name} or ${variable} in the environment`), text)
    }
    const allowed = FREE_VALUES[name]
    if (hostile !== 'free' && allowed === undefined) continue
    const files = {
      '.env': `${variable}=${allowed ?? '1m'}\nLAKEBASE_PROXY_LOCAL_PASSWORD=x\nLAKEBASE_PROXY_LOCAL_AUTH=password\n`,
    }
    await load(t, { targets: ['a'], files })
  }
})

test('what the user sets elsewhere counts, and a .env that is named may set anything', async (t) => {
  const files = { '.env': 'LAKEBASE_PROXY_HOSTADDR=203.0.113.7\nHTTPS_PROXY=http://evil:1\n' }
  const env = { HTTPS_PROXY: 'http://mine:1' }
  const { settings, databricksEnv } = await load(t, {
    ...{ targets: ['a'], files, env },
    flags: { hostaddr: '10.0.0.1' },
  })
  assert.equal(settings.targets[0]!.hostaddr, '10.0.0.1')
  assert.equal(databricksEnv.HTTPS_PROXY, 'http://mine:1')
  const named = await load(t, { targets: ['a'], files, flags: { 'env-file': '.env' } })
  assert.equal(named.settings.targets[0]!.hostaddr, '203.0.113.7')
  assert.equal(named.databricksEnv.HTTPS_PROXY, 'http://evil:1')
})

test('every variable that signing in reads has been decided', async (t) => {
  const read = SIGN_IN_ATTRIBUTES.flatMap(({ env }) => env)
  for (const name of read) assert.ok(VARIABLES.has(name), `${name} is not in VARIABLES`)
  assert.deepEqual([...VARIABLES.keys()].sort(), [...FREE_VARIABLES, ...REFUSED_VARIABLES].sort())
  for (const name of FREE_VARIABLES) {
    const { databricksEnv } = await load(t, { targets: ['a'], files: { '.env': `${name}=v` } })
    assert.equal(databricksEnv[name], 'v')
  }
  for (const name of REFUSED_VARIABLES) {
    const text = await refusal(t, { targets: ['a'], files: { '.env': `${name}=v` } })
    assert.match(text, WHY, name)
    assert.ok(text.startsWith(`${name} (.env:1): `), text)
    assert.ok(text.includes(`Set ${name} in the environment, or name the file`), text)
  }
  const files = { '.env': 'PYTHONPATH=/evil\nMY_APP=1\n' }
  assert.deepEqual({ ...(await load(t, { targets: ['a'], files })).databricksEnv }, {})
})

test('a TARGET of .env says no more than .env may; a URL with a password of its own says where that goes', async (t) => {
  const host = 'ep-cool-1234.database.us-west-2.cloud.databricks.com'
  const hostile = [
    'LAKEBASE_PROXY_TARGETS=a?hostaddr=203.0.113.7',
    'LAKEBASE_PROXY_TARGETS="b a?sslrootcert=evil.pem"',
    'LAKEBASE_INSTANCE=a?upstream-port=6666',
    'LAKEBASE_ENDPOINT=projects/p?address=0.0.0.0',
    `LAKEBASE_PG_URL=postgresql://${host}/d?hostaddr=203.0.113.7`,
    `LAKEBASE_PG_URL=postgresql://${host}:6666/d`,
  ]
  for (const line of hostile) {
    assert.match(await refusal(t, { files: { '.env': line } }), WHY, line)
  }
  for (const url of [
    `${host}:5432/d?sslmode=require`,
    'u:p@db.example.com:6432/d?hostaddr=10.0.0.1',
  ]) {
    const files = { '.env': `LAKEBASE_PG_URL=postgresql://${url}` }
    assert.equal((await load(t, { files })).settings.targets.length, 1)
  }
  // The user's own password must not go where .env says.
  const files = { '.env': 'LAKEBASE_PROXY_HOSTADDR=203.0.113.7' }
  assert.match(await refusal(t, { targets: ['postgresql://u:p@h/d'], files }), WHY)
})

test('a secret of the environment does not go to a host that only .env names', async (t) => {
  const secrets: Record<string, string>[] = [
    { DATABRICKS_TOKEN: 'dapi1' },
    { DATABRICKS_CLIENT_ID: 'c', DATABRICKS_CLIENT_SECRET: 's' },
    { ARM_CLIENT_SECRET: 's' },
    { ACTIONS_ID_TOKEN_REQUEST_TOKEN: 's' },
    { DATABRICKS_OIDC_TOKEN_FILEPATH: '/run/token' },
  ]
  const hosts = [
    { '.env': 'DATABRICKS_HOST=https://evil.example.com' },
    { '.env': 'LAKEBASE_PROXY_DATABRICKS_HOST=https://evil.example.com' },
    { '.env': 'LAKEBASE_PROXY_TARGETS=a?databricks-host=https://evil.example.com' },
  ]
  const message = /of the environment would be sent to a host that only \.env names/
  for (const env of secrets) {
    for (const files of hosts) {
      const targets = files['.env'].includes('TARGETS') ? [] : ['a']
      assert.match(await refusal(t, { targets, env, files }), message)
    }
  }
  const env = secrets[0]!
  const pickTarget = () => assert.fail('the host was asked')
  assert.match(await refusal(t, { env, files: hosts[0]!, pickTarget }), message)
  await load(t, {
    targets: ['a'],
    env: { ...env, DATABRICKS_HOST: 'https://mine' },
    files: hosts[0]!,
  })
  await load(t, { targets: ['a?databricks-host=https://mine'], env, files: hosts[0]! })
  await load(t, { targets: ['postgresql://u:p@h/d'], env, files: hosts[0]! })
  await load(t, {
    targets: ['a'],
    files: { '.env': `${hosts[0]!['.env']}\nDATABRICKS_TOKEN=dapi1` },
  })
})

test('what is wrong in a .env is told in the order of its lines', async (t) => {
  const files = {
    '.env': [
      'LAKEBASE_PROXY_WARM=many',
      'HTTPS_PROXY=http://evil:1',
      'LAKEBASE_PROXY_PORT=none',
      'LAKEBASE_PROXY_ADMIN_PORT=none',
      'LAKEBASE_PROXY_HOSTADDR=203.0.113.7',
    ].join('\n'),
  }
  const flags = { quiet: '?' }
  const text = await refusal(t, { targets: ['a'], flags, files })
  assert.deepEqual(
    [...text.matchAll(/^ {2}(--quiet|.*\.env:\d)/gm)].map(([, where]) => where!.slice(-6)),
    ['.env:1', '.env:2', '.env:3', '.env:4', '.env:5', '-quiet'],
  )
})

test('a .env of very many variables is read in one pass', { timeout: 60_000 }, async (t) => {
  const folder = await temporaryFolder(t)
  const names = Array.from({ length: 30_000 }, (_, at) => `LAKEBASE_PROXY_x${at}`)
  writeFileSync(join(folder, '.env'), names.map((name) => `${name}=1\n`).join(''), { mode: 0o600 })
  const place = { named: '.env', shown: '.env', cwd: folder, uid, platform: process.platform }
  const file = await readEnvFile(place)
  for (const [at, name] of names.entries()) {
    assert.equal(file?.where(name), `${name} (.env:${at + 1})`)
  }
})

test('a .env that another user owns or can write to is refused by name', async (t) => {
  const files = { '.env': 'A=1' }
  const foreign = await refusal(t, { targets: ['a'], files, foreign: true })
  assert.match(foreign, /^\.env: .*\/\.env belongs to another user\n.*--env-file/)
  for (const mode of [0o620, 0o602, 0o666]) {
    const text = await refusal(t, { targets: ['a'], files, modes: { '.env': mode } })
    assert.match(text, /^\.env: .*\/\.env can be written by other users\nType: chmod go-w /)
  }
  await load(t, { targets: ['a'], files, modes: { '.env': 0o644 } })
  const flags = { 'env-file': '.env' }
  await load(t, { targets: ['a'], files, flags, modes: { '.env': 0o666 }, foreign: true })
})

test('a program of .env is not run, and the CLIs get nothing of .env', async (t) => {
  const emulator = await emulatorForTests()
  const programs = await FakePrograms.create(t)
  const seen = join(programs.folder, 'seen')
  await programs.add('databricks', {
    '*': `env > '${seen}'; echo 'Databricks CLI v0.300.0'; exit 1`,
  })
  const cwd = mkdtempSync(join(tmpdir(), 'lakebase-dotenv-'))
  t.after(() => rmSync(cwd, { recursive: true, force: true }))
  const env = {
    DATABRICKS_HOST: emulator.env.DATABRICKS_HOST!,
    PATH: `${programs.folder}:${process.env.PATH}`,
    HOME: cwd,
  }
  const dotenv = (text: string): void => writeFileSync(join(cwd, '.env'), text, { mode: 0o600 })

  dotenv(`DATABRICKS_CLI_PATH=${join(programs.folder, 'databricks')}\n`)
  const refused = await cli(['instances', 'list'], env, cwd)
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /DATABRICKS_CLI_PATH may not stand in a \.env/)
  assert.deepEqual(await programs.calls(), [])

  dotenv('PYTHONPATH=/evil\nDATABRICKS_ACCOUNT_ID=from-dotenv\nLAKEBASE_PROXY_QUIET=true\n')
  for (const words of [
    ['instances', 'list'],
    ['doctor', 'my-instance'],
  ]) {
    rmSync(seen, { force: true })
    await cli(words, env, cwd)
    assert.doesNotMatch(readFileSync(seen, 'utf8'), /evil|from-dotenv|LAKEBASE/)
  }
})
