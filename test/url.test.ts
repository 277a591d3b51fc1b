/** The local address in the form each tool wants: offline, and such that the tool reads it back. */

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import dotenv from 'dotenv'

import { issueCertificate, makeAuthority } from '../src/core/certificates.js'
import { cliHere } from './support/cli.js'
import { run, temporaryFolder } from './support/proxy.js'

async function url(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cliHere(['url', ...args])
  assert.deepEqual([code, stderr], [0, ''])
  return stdout
}

test('every form says the same address', async () => {
  const table: [string, string][] = [
    ['psql', 'psql -h localhost -p 5432 -d databricks_postgres\n'],
    ['uri', 'postgresql://any@localhost:5432/databricks_postgres?sslmode=disable\n'],
    ['jdbc', 'jdbc:postgresql://localhost:5432/databricks_postgres?user=any&sslmode=disable\n'],
    ['sqlalchemy', 'postgresql+psycopg://any@localhost:5432/databricks_postgres\n'],
    [
      'pgservice',
      '[my-instance]\nhost=localhost\nport=5432\ndbname=databricks_postgres\nuser=any\nsslmode=disable\n',
    ],
  ]
  for (const [format, expected] of table) {
    assert.equal(await url('my-instance', '--format', format), expected)
  }
  assert.match(await url('my-instance', '--format', 'dbeaver'), /^dbeaver -con '.*host=localhost\|/)
  assert.equal(await url('my-instance'), table[1]![1])
})

const STRANGE = ['a?user=o%27neill+x@example.com&database=my%20"db"%2F%24HOME&port=6000']

const STRANGE_VARIABLES = {
  PGHOST: 'localhost',
  PGPORT: '6000',
  PGUSER: "o'neill+x@example.com",
  PGDATABASE: 'my "db"/$HOME',
  PGSSLMODE: 'disable',
  LAKEBASE_PG_URL:
    "postgresql://o'neill%2Bx%40example.com@localhost:6000/my%20%22db%22%2F%24HOME?sslmode=disable",
}

test('a shell that evaluates the env form has those variables, with any characters in the names', async () => {
  const script = `${await url(...STRANGE, '--format', 'env')}env`
  const { stdout } = await run('sh', ['-c', script])
  for (const [name, value] of Object.entries(STRANGE_VARIABLES)) {
    assert.ok(stdout.split('\n').includes(`${name}=${value}`), stdout)
  }
})

test('dotenv reads the dotenv form back', async () => {
  const text = await url(...STRANGE, '--format', 'dotenv')
  assert.deepEqual({ ...dotenv.parse(text) }, STRANGE_VARIABLES)
})

test('psql takes the psql form as one pastes it', async (t) => {
  const cwd = await temporaryFolder(t)
  writeFileSync(join(cwd, 'psql'), '#!/bin/sh\nfor word; do echo "$word"; done\n', { mode: 0o755 })
  const script = await url(...STRANGE, '--format', 'psql')
  const { stdout } = await run('/bin/sh', ['-c', script], { PATH: cwd })
  assert.deepEqual(stdout.split('\n').slice(0, 6), [
    ...['-h', 'localhost', '-p', '6000', '-d', 'my "db"/$HOME'],
  ])
})

test('the address is that of the configured target, with its port', async (t) => {
  const cwd = await temporaryFolder(t)
  writeFileSync(join(cwd, 'c.yaml'), 'targets:\n  - dev\n  - target: prod\n    database: shop\n')
  const args = ['--config', 'c.yaml']
  const { stdout } = await cliHere(['url', 'prod', ...args], { cwd })
  assert.equal(stdout, 'postgresql://any@localhost:5433/shop?sslmode=disable\n')
  const several = await cliHere(['url', ...args], { cwd })
  assert.equal(several.code, 2)
  assert.match(
    several.stderr,
    /several targets are configured\nHint: Name one of them: dev, prod\./,
  )
})

test('host, user and TLS follow the settings', async () => {
  const static_ = 'postgresql://app:hunter2@db.example.com/shop'
  assert.equal(await url(static_), 'postgresql://app@localhost:5432/shop?sslmode=disable\n')
  assert.match(await url('a', '--address', '::1'), /@\[::1\]:5432\//)
  assert.match(await url('a', '--user', 'client', '--format', 'psql'), / -U ROLE /)
  const { code, stderr } = await cliHere(['url', 'a', '--port', '0'])
  assert.equal(code, 2)
  assert.match(
    stderr,
    /only the running proxy knows\nHint: Start it, and ask again: lakebase-proxy a /,
  )
})

const GATEWAY = ['a', '--local-auth', 'databricks']
const OWN_CERTIFICATE = ['--local-tls-cert', 'gateway.pem', '--local-tls-key', 'gateway-key.pem']

test('TLS with our own certificate is verified by its CA, in every form', async () => {
  const ca = '/nonexistent/.local/state/lakebase-proxy/local-ca.pem'
  const named = `sslmode=verify-full&sslrootcert=${encodeURIComponent(ca)}\n`
  const forms: [string, string][] = [
    ['psql', ` -d 'dbname=databricks_postgres sslmode=verify-full sslrootcert=${ca}'\n`],
    ['uri', `?${named}`],
    ['env', `export PGSSLMODE=verify-full\nexport PGSSLROOTCERT=${ca}\n`],
    ['dotenv', `PGSSLMODE=verify-full\nPGSSLROOTCERT=${ca}\n`],
    ['jdbc', `&${named}`],
    ['sqlalchemy', `?${named}`],
    ['pgservice', `\nsslmode=verify-full\nsslrootcert=${ca}\n`],
    ['dbeaver', `|prop.sslmode=verify-full|prop.sslrootcert=${ca}'\n`],
  ]
  for (const [format, part] of forms) {
    const text = await url(...GATEWAY, '--local-tls', 'auto', '--format', format)
    assert.ok(text.includes(part), text)
  }
  assert.ok((await url('a', '--local-tls', 'auto')).endsWith(named), 'without local-auth, too')
})

test("with the user's own certificate only a gateway, which is sent secrets, must be verified", async (t) => {
  const cwd = await temporaryFolder(t)
  const life = { now: Date.now(), days: 1 }
  const names = { hosts: ['gateway.example.com'], addresses: [] }
  const { cert, key } = await issueCertificate(await makeAuthority('Test', life), names, life)
  writeFileSync(join(cwd, 'gateway.pem'), cert)
  writeFileSync(join(cwd, 'gateway-key.pem'), key, { mode: 0o600 })
  const own = await cliHere(['url', 'a', ...OWN_CERTIFICATE], { cwd })
  assert.match(own.stdout, /\?sslmode=require\n$/, own.stderr)
  const gateway = await cliHere(['url', ...GATEWAY, ...OWN_CERTIFICATE], { cwd })
  assert.match(gateway.stdout, /\?sslmode=verify-full\n$/, gateway.stderr)
})

test('what the dotenv form prints for the application is never a target of the proxy', async (t) => {
  const cwd = await temporaryFolder(t)
  writeFileSync(join(cwd, '.env'), await url('a', '--format', 'dotenv'))
  const { code, stderr } = await cliHere(['url'], { cwd })
  assert.equal(code, 2)
  assert.match(stderr, /no target is named/)
})
