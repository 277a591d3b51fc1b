/**
 * The snippets that Databricks' documentation shows and docs/clients.md quotes, word for word: each
 * against the emulator's front door, and what becomes of it with the proxy.
 */

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { branch, demoInventory, instance, project } from '../../src/emulator/inventory.js'
import { MAIN } from '../support/cli.js'
import { emulatorForTests } from '../support/emulator.js'
import { installed, runTool, scratchFolder } from './installed.js'
import { recipe } from './recipe.js'

/** The host of the snippets with a native role. */
const NATIVE_HOST = 'ep-cool-name-1234.database.us-west-2.cloud.databricks.com'
const NATIVE_URL = `postgresql://app:secret@${NATIVE_HOST}/databricks_postgres?sslmode=require`
const IDENTITY = 'ada@example.com'

const now = Date.now()
const demo = demoInventory(now)
const shop = project('shop', now, [branch('production', now, ['primary'])])
const withNativeHost = {
  ...shop,
  branches: shop.branches.map((each) => ({
    ...each,
    endpoints: each.endpoints.map((endpoint) => ({ ...endpoint, host: NATIVE_HOST })),
  })),
}
const emulator = await emulatorForTests({
  inventory: {
    ...demo,
    instances: [...demo.instances, instance('my-instance', 'AVAILABLE', now)],
    projects: [...demo.projects, withNativeHost],
  },
  nativeRoles: [{ name: 'app', password: 'secret', method: 'scram-sha-256' }],
})

const python = installed('python', 'bin/python')
const { skip } = python

/** libpq looks no name up, and dials the emulator in place of port 5432. */
const libpq = { PGHOSTADDR: '127.0.0.1', PGPORT: `${emulator.frontPort}` }

/** The same for other drivers: Lakebase's names are the emulator's. */
const LOOK_UP = `
import socket
system = socket.getaddrinfo
def look_up(host, port, *args, **options):
    if isinstance(host, str) and host.endswith(".cloud.databricks.com"):
        host, port = "127.0.0.1", ${emulator.frontPort}
    return system(host, port, *args, **options)
socket.getaddrinfo = look_up
`

const ASK = '\nprint(conn.execute("select current_user").fetchone())\n'
const ASK_ENGINE = `
import asyncio
from sqlalchemy import text
async def ask():
    async with engine.connect() as connection:
        print((await connection.execute(text("select current_user"))).scalar_one())
    await engine.dispose()
asyncio.run(ask())
`

function direct(code: string, env: Readonly<Record<string, string>> = {}, cwd = scratchFolder()) {
  return runTool(python.path, ['-c', code], { env: { ...emulator.env, ...env }, cwd })
}

/** Under `lakebase-proxy exec`, as docs/clients.md says. */
function withProxy(code: string, args: readonly string[], cwd = scratchFolder()) {
  const words = [MAIN, 'exec', ...args, '--', python.path, '-c', code]
  return runTool(process.execPath, words, { env: emulator.env, cwd })
}

test('psycopg with generate_database_credential, and with the proxy', { skip }, async () => {
  assert.match(await direct(recipe('before-psycopg') + ASK, libpq), new RegExp(IDENTITY))
  assert.match(await withProxy(recipe('with-psycopg') + ASK, ['my-instance']), new RegExp(IDENTITY))
})

test('SQLAlchemy with an async engine, and with the proxy', { skip }, async () => {
  const before = LOOK_UP + recipe('before-sqlalchemy-async') + ASK_ENGINE
  assert.equal(await direct(before), `${IDENTITY}\n`)
  const after = recipe('with-sqlalchemy-async') + ASK_ENGINE
  assert.equal(await withProxy(after, ['my-instance']), `${IDENTITY}\n`)
})

test('a static URL from .env: the same program with the proxy, without an edit', {
  skip,
}, async () => {
  const cwd = scratchFolder()
  writeFileSync(join(cwd, '.env'), `LAKEBASE_PG_URL=${NATIVE_URL}\n`, { mode: 0o600 })
  writeFileSync(join(cwd, 'app.py'), `${recipe('before-static-url')}${ASK}print(conn.info.host)\n`)
  const before = await runTool(python.path, ['app.py'], { env: { ...emulator.env, ...libpq }, cwd })
  assert.match(before, /^\('app',\)\nep-cool-name/)
  const words = [MAIN, 'exec', '--', python.path, 'app.py']
  const after = await runTool(process.execPath, words, { env: emulator.env, cwd })
  assert.equal(after, "('app',)\nlocalhost\n")
})

test('hostaddr beside host, and with the proxy', { skip }, async () => {
  const before = recipe('before-hostaddr').replace('203.0.113.7', '127.0.0.1') + ASK
  assert.equal(await direct(before, { PGPORT: libpq.PGPORT }), "('app',)\n")
  const after = await withProxy(recipe('with-psycopg') + ASK, [NATIVE_URL])
  assert.equal(after, "('app',)\n")
})
