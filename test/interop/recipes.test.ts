/**
 * The recipes of docs/clients.md with the real tools, word for word, through the proxy, in the
 * environment that `lakebase-proxy exec` gives to a command.
 */

import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'

import { emulatorForTests } from '../support/emulator.js'
import { proxyForTests } from '../support/started-proxy.js'
import { installed, installedOdbc, nodeScript, runTool, scratchFolder } from './installed.js'
import { recipe } from './recipe.js'

const emulator = await emulatorForTests()
const { port } = await proxyForTests(emulator)
const env = {
  ...{ PGHOST: 'localhost', PGPORT: `${port}`, PGUSER: 'any', PGDATABASE: 'databricks_postgres' },
  PGSSLMODE: 'disable',
  LAKEBASE_PG_URL: `postgresql://any@localhost:${port}/databricks_postgres?sslmode=disable`,
}
const IDENTITY = 'ada@example.com'

/** Files of a small project, by their paths. */
function projectOf(files: Readonly<Record<string, string>>): string {
  const folder = scratchFolder()
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  return folder
}

const python = installed('python', 'bin/python')
const runPython = (code: string, cwd = scratchFolder()) =>
  runTool(python.path, ['-c', code], { env, cwd })

for (const name of ['psycopg', 'psycopg-pool', 'sqlalchemy', 'sqlalchemy-asyncpg', 'pandas']) {
  test(`${name}: the recipe is in, as the identity`, { skip: python.skip }, async () => {
    assert.match(await runPython(recipe(name)), new RegExp(IDENTITY))
  })
}

test('pgcli runs a command', { skip: python.skip }, async () => {
  const path = `${dirname(python.path)}:${process.env.PATH}`
  const command = `${recipe('pgcli').trim()} --command 'select current_user'`
  const printed = await runTool('sh', ['-c', command], {
    env: { ...env, PATH: path },
    cwd: scratchFolder(),
  })
  assert.match(printed, new RegExp(IDENTITY))
})

test('Django migrates its own tables, and its ORM writes and reads', {
  skip: python.skip,
}, async () => {
  const printed = await runPython(`${recipe('django')}
import django
from django.conf import settings
settings.configure(
    DATABASES=DATABASES, USE_TZ=True,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"])
django.setup()
from django.core.management import call_command
from django.contrib.auth.models import User
from django.db import connection, transaction
call_command("migrate", verbosity=0)
with transaction.atomic():
    User.objects.bulk_create(User(username=f"user {i}") for i in range(500))
print(User.objects.filter(username__startswith="user").count())
print(sum(1 for _ in User.objects.iterator(chunk_size=50)), "by a server-side cursor")
call_command("check", "--database", "default")
call_command("inspectdb", "auth_user")
call_command("migrate", "auth", "zero", verbosity=0)
with connection.cursor() as cursor:
    cursor.execute("select current_user")
    print(cursor.fetchone()[0])
`)
  assert.match(printed, /^500\n500 by a server-side cursor\n[\s\S]*class AuthUser/)
  assert.match(printed, new RegExp(`${IDENTITY}\\n$`))
})

test('Alembic makes a revision from the models, upgrades, finds no difference, and downgrades', {
  skip: python.skip,
}, async () => {
  const cwd = scratchFolder()
  const alembic = (...args: string[]) =>
    runTool(join(dirname(python.path), 'alembic'), args, { env, cwd })
  await alembic('init', 'migrations')
  const ini = readFileSync(join(cwd, 'alembic.ini'), 'utf8')
  const url = 'sqlalchemy.url = postgresql+psycopg://'
  assert.ok(recipe('sqlalchemy').includes('"postgresql+psycopg://"'))
  writeFileSync(join(cwd, 'alembic.ini'), ini.replace(/^sqlalchemy\.url = .*$/m, url))
  const model = `
from sqlalchemy import Column, Integer, MetaData, Table, Text
target_metadata = MetaData()
Table("alembic_items", target_metadata, Column("id", Integer, primary_key=True), Column("name", Text))
`
  const script = join(cwd, 'migrations', 'env.py')
  const generated = readFileSync(script, 'utf8')
  writeFileSync(script, generated.replace('target_metadata = None', model))
  await alembic('revision', '--autogenerate', '--message', 'items')
  await alembic('upgrade', 'head')
  await alembic('check')
  assert.match(await alembic('current'), /\(head\)/)
  await alembic('downgrade', 'base')
})

const dbt = installed('dbt', 'bin/dbt')
test('dbt checks its connection, loads a seed, builds models and runs tests', {
  skip: dbt.skip,
}, async () => {
  const cwd = projectOf({
    'profiles.yml': recipe('dbt'),
    'dbt_project.yml':
      'name: shop\nconfig-version: 2\nprofile: shop\nmodels:\n  shop:\n    +schema: dbt_models\n',
    'seeds/orders.csv': 'id,total\n1,10\n2,32\n',
    'models/totals.sql':
      '{{ config(materialized="table") }} select sum(total) as total from {{ ref("orders") }}',
    'models/totals.yml':
      'models: [{name: totals, columns: [{name: total, data_tests: [not_null]}]}]\n',
  })
  const run = (...args: string[]) =>
    runTool(dbt.path, [...args, '--no-use-colors'], {
      env: { ...env, DBT_SEND_ANONYMOUS_USAGE_STATS: 'false', DO_NOT_TRACK: '1' },
      cwd,
    })
  assert.match(await run('debug'), /Connection test: \[OK/)
  assert.match(await run('build'), /PASS=3 WARN=0 ERROR=0/)
  const total = await emulator.control.query('select total from public_dbt_models.totals')
  assert.deepEqual(total, [['42']])
})

const java = installed('java', 'target/classes/interop/Main.class')
test('Flyway migrates, and eight threads share a pool of HikariCP with pgjdbc', {
  skip: java.skip,
}, async () => {
  const flat = (text: string) => text.replaceAll(/\s+/g, ' ').trim()
  const program = readFileSync('test/interop/java/src/main/java/interop/Main.java', 'utf8')
  assert.ok(flat(program).includes(flat(recipe('jdbc'))), 'the program has the URL of the recipe')
  const classes = dirname(dirname(java.path))
  const path = [classes, join(dirname(classes), 'dependency', '*')].join(':')
  const printed = await runTool('java', ['-cp', path, 'interop.Main'], { env })
  assert.match(printed, new RegExp(`^${IDENTITY} 2 64 64$`, 'm'))
})

const node = installed('node', 'node_modules/node/bin/node')
for (const name of ['node-postgres', 'postgres.js']) {
  test(`${name}: the recipe is in, as the identity`, { skip: node.skip }, async () => {
    const input = recipe(name)
    const cwd = dirname(nodeScript('drizzle.mjs'))
    const printed = await runTool(node.path, ['--input-type=module', '-'], { env, cwd, input })
    assert.match(printed, new RegExp(IDENTITY))
  })
}

test('Drizzle: a table, a transaction and a query, over node-postgres and postgres.js', {
  skip: node.skip,
}, async () => {
  const printed = await runTool(node.path, [nodeScript('drizzle.mjs')], { env })
  assert.equal(printed, 'node-postgres: 2\npostgres.js: 2\n')
})

const pgx = installed('go', 'bin/pgx')
test('pgx: a pool, COPY and a batch', { skip: pgx.skip }, async () => {
  assert.equal(await runTool(pgx.path, [], { env }), `${IDENTITY} 3 three\n`)
})

test('pgx: the recipe is in, as the identity', { skip: pgx.skip }, async () => {
  const folder = join(dirname(pgx.path), '..', 'recipe')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'main.go'), recipe('pgx'))
  const goEnv = { ...env, HOME: homedir() }
  const printed = await runTool('go', ['run', './recipe'], { env: goEnv, cwd: dirname(folder) })
  assert.equal(printed, `${IDENTITY}\n`)
})

const rust = installed('rust', 'target/debug/interop')
test('tokio-postgres: pipelined statements', { skip: rust.skip }, async () => {
  assert.equal(await runTool(rust.path, [], { env }), `${IDENTITY} 2 4\n`)
})

const odbc = installedOdbc()
test('psqlODBC, by isql, with the connection string of the documentation', {
  skip: odbc.skip,
}, async () => {
  const line = /^Driver=.*$/m.exec(readFileSync('docs/clients.md', 'utf8'))?.[0] ?? ''
  const connection = line.replace('Port=5432', `Port=${port}`)
  const printed = await runTool('isql', ['-k', '-b', '-v', connection], {
    env,
    input: 'select current_user\n',
  })
  assert.match(printed, new RegExp(IDENTITY))
})
