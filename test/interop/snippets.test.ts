/**
 * Databricks' own snippets, as docs/clients.md shows them, against the emulator's front door; and
 * what each becomes with the proxy.
 */

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { MAIN } from '../support/cli.js'
import { emulatorForTests } from '../support/emulator.js'
import { proxyForTests } from '../support/started-proxy.js'
import { frontEnv, installed, runTool, scratchFolder } from './installed.js'
import { recipe } from './recipe.js'

const emulator = await emulatorForTests()
const { port } = await proxyForTests(emulator)
const direct = { ...emulator.env, ...frontEnv(emulator) }
const throughProxy = { PGHOST: 'localhost', PGPORT: `${port}`, PGUSER: 'any', PGSSLMODE: 'disable' }
const throughEnv = { ...throughProxy, PGDATABASE: 'databricks_postgres' }

const python = installed('python', 'bin/python')
const skip = python.skip
const run = (code: string, env: Record<string, string>, cwd = scratchFolder()) =>
  runTool(python.path, ['-c', code], { env, cwd })

/** As the documentation has it, but for the names of the emulated workspace. */
const snippet = (name: string): string => recipe(name).replaceAll('my-instance', 'demo-instance')
const who = '\nprint(conn.execute("select current_user").fetchone()[0])\n'
const endpoint = emulator.control.endpoint('projects/demo/branches/production/endpoints/primary')

test('psycopg with generate_database_credential, and without', { skip }, async () => {
  assert.equal(await run(snippet('before-psycopg') + who, direct), 'ada@example.com\n')
  assert.equal(await run(snippet('with-psycopg') + who, throughEnv), 'ada@example.com\n')
})

test('an async engine of SQLAlchemy with a token for each connection, and without', {
  skip,
}, async () => {
  // asyncpg knows no hostaddr, and the snippet fixes the port: the name leads to the front door.
  const dns = `
import os, socket
asked = socket.getaddrinfo
def answer(host, port, *rest, **more):
    if ".database." in str(host):
        return asked("127.0.0.1", int(os.environ["FRONT_PORT"]), *rest, **more)
    return asked(host, port, *rest, **more)
socket.getaddrinfo = answer
`
  const use = `
import asyncio
from sqlalchemy import text
async def use():
    async with engine.connect() as connection:
        print((await connection.execute(text("select current_user"))).scalar_one())
    await engine.dispose()
asyncio.run(use())
`
  const env = { ...emulator.env, FRONT_PORT: `${emulator.frontPort}` }
  const before = dns + snippet('before-sqlalchemy-async') + use
  assert.equal(await run(before, env), 'ada@example.com\n')
  assert.equal(await run(snippet('with-sqlalchemy-async') + use, throughEnv), 'ada@example.com\n')
})

test('a static URL in .env, and the same program under exec', { skip }, async () => {
  const url = `postgresql://app:app-password@${endpoint.host}:${emulator.frontPort}/databricks_postgres?sslmode=require`
  const cwd = scratchFolder()
  writeFileSync(join(cwd, '.env'), `LAKEBASE_PG_URL=${url}\n`, { mode: 0o600 })
  const program = join(cwd, 'app.py')
  writeFileSync(program, snippet('before-static-url') + who)
  const ca = { PGHOSTADDR: '127.0.0.1', PGSSLROOTCERT: emulator.caFile }
  assert.equal(await runTool(python.path, [program], { env: ca, cwd }), 'app\n')
  const args = [MAIN, 'exec', '--', python.path, program]
  const env = { ...emulator.env }
  assert.equal(await runTool(process.execPath, args, { env, cwd }), 'app\n')
})

test('hostaddr beside host', { skip }, async () => {
  const code = snippet('before-hostaddr')
    .replace(/host="[^"]*"/, `host="${endpoint.host}"`)
    .replace(/hostaddr="[^"]*"/, 'hostaddr="127.0.0.1"')
    .replace('password="secret"', 'password="app-password"')
  const env = { PGPORT: `${emulator.frontPort}`, PGSSLROOTCERT: emulator.caFile }
  assert.equal(await run(code + who, env), 'app\n')
})
