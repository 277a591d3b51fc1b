/**
 * The migrations of docs/branches.md with the real tools, word for word: on a branch, and not on its
 * source.
 */

import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'

import { demoInventory, project } from '../../src/emulator/inventory.js'
import { emulatorForTests } from '../support/emulator.js'
import { codeBlocks, PAGES } from '../support/markdown.js'
import { shellIn } from '../support/shell.js'
import { installed, runTool, scratchFolder } from './installed.js'

const now = Date.now()
const inventory = demoInventory(now)
inventory.projects.push(project('shop', now - 3_600_000, [{ id: 'production', createdAt: now }]))
const emulator = await emulatorForTests({ inventory })
const { control } = emulator

const BLOCKS = PAGES.filter(({ path }) => path === 'docs/branches.md').flatMap(codeBlocks)

/** What the recipe printed; afterwards no branch is left, and the source has no such table. */
async function migrated(name: string, tool: string, cwd: string): Promise<string> {
  const found = BLOCKS.filter(({ mark }) => mark?.kind === 'run' && mark.words === name)
  assert.equal(found.length, 1, `there is one block <!-- run: ${name} -->`)
  const path = `${dirname(tool)}:${process.env.PATH}`
  const shell = shellIn(cwd, { ...emulator.env, PATH: `${join(cwd, 'bin')}:${path}` })
  const { code, stdout } = await shell.run(found[0]!.text)
  assert.equal(code, 0, stdout)
  assert.match(stdout, /branch projects\/shop\/branches\/ada-\S+ takes connections/)
  assert.equal(control.branches('projects/shop').length, 1)
  const table = "select count(*) from pg_tables where tablename = 'migrated_items'"
  assert.deepEqual(await control.query(table, 'databricks_postgres'), [['0']])
  return stdout
}

const alembic = installed('python', 'bin/alembic')
test('Alembic upgrades a branch', { skip: alembic.skip }, async () => {
  const cwd = scratchFolder()
  await runTool(alembic.path, ['init', 'migrations'], { cwd })
  const script = join(cwd, 'migrations', 'env.py')
  const generated = readFileSync(script, 'utf8')
  const page = PAGES.find(({ path }) => path === 'docs/branches.md')!.text
  const [line] = /connectable = create_engine\([^`]*/.exec(page)!
  const changed = generated
    .replace(/connectable = engine_from_config\([\s\S]*?\n {4}\)/, line!)
    .replace('from sqlalchemy import', 'import os\nfrom sqlalchemy import create_engine,')
  assert.ok(changed.includes(line!))
  writeFileSync(script, changed)
  await runTool(alembic.path, ['revision', '--message', 'items'], {
    cwd,
    env: { LAKEBASE_PG_URL: '' },
  })
  const versions = join(cwd, 'migrations', 'versions')
  const { stdout: name } = { stdout: await runTool('ls', [versions]) }
  const revision = join(versions, name.split('\n').find((each) => each.endsWith('_items.py'))!)
  const body = 'op.create_table("migrated_items", sa.Column("id", sa.Integer))'
  writeFileSync(revision, readFileSync(revision, 'utf8').replace('pass', body))
  assert.match(
    await migrated('branch-alembic', alembic.path, cwd),
    /Running upgrade {2}-> \w+, items/,
  )
})

const flyway = installed('flyway', 'flyway')
test('Flyway migrates a branch', { skip: flyway.skip }, async () => {
  const cwd = scratchFolder()
  mkdirSync(join(cwd, 'sql'))
  writeFileSync(join(cwd, 'sql', 'V1__items.sql'), 'create table migrated_items (id int);')
  const conf =
    'flyway.locations=filesystem:sql\nflyway.baselineOnMigrate=true\nflyway.baselineVersion=0\n'
  writeFileSync(join(cwd, 'flyway.conf'), conf)
  const printed = await migrated('branch-flyway', flyway.path, cwd)
  assert.match(printed, /Successfully applied 1 migration/)
})
