/**
 * The recipes of docs/branches.md for CI, as a reader copies them. Those with tools of their own are
 * in test/interop.
 */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import { parse as parseYaml } from 'yaml'

import { demoInventory, project, servicePrincipal } from '../src/emulator/inventory.js'
import { MAIN } from './support/cli.js'
import { emulatorForTests, needsPsql } from './support/emulator.js'
import { codeBlocks, PAGES } from './support/markdown.js'
import { temporaryFolder } from './support/proxy.js'
import { shellIn } from './support/shell.js'

const now = Date.now()
const inventory = demoInventory(now)
inventory.projects.push(project('shop', now - 3_600_000, [{ id: 'production', createdAt: now }]))
const emulator = await emulatorForTests({ inventory, transitionMs: 50 })
const { control } = emulator

const BLOCKS = PAGES.filter(({ path }) => path === 'docs/branches.md').flatMap(codeBlocks)

function recipe(name: string): string {
  const found = BLOCKS.filter(({ mark }) => mark?.kind === 'run' && mark.words === name)
  assert.equal(found.length, 1, `there is one block <!-- run: ${name} -->`)
  return found[0]!.text
}

/** A project of npm whose scripts ask the database, with this lakebase-proxy among its dependencies. */
async function npmProject(t: TestContext): Promise<string> {
  const folder = await temporaryFolder(t)
  const packed = join(folder, 'packed')
  mkdirSync(packed)
  const bin = { 'lakebase-proxy': 'main.sh' }
  const own = { name: 'lakebase-proxy', version: '0.0.0', bin }
  writeFileSync(join(packed, 'package.json'), JSON.stringify(own))
  writeFileSync(join(packed, 'main.sh'), `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`)
  chmodSync(join(packed, 'main.sh'), 0o755)
  const scripts = {
    test: `psql -XAtc "insert into recipe values (2)" -c "select current_user, count(*) from recipe"`,
    migrate: `psql -XAtqc "create table migrated (number int)"`,
  }
  const devDependencies = { 'lakebase-proxy': 'file:packed' }
  const text = JSON.stringify({ name: 'app', version: '1.0.0', scripts, devDependencies })
  writeFileSync(join(folder, 'package.json'), text)
  writeFileSync(join(folder, '.npmrc'), 'update-notifier=false\noffline=true\n')
  const args = ['install', '--package-lock-only', '--offline', '--no-audit', '--no-fund']
  execFileSync('npm', args, { cwd: folder, stdio: 'ignore' })
  return folder
}

const production = (sql: string): Promise<unknown> => control.query(sql, 'databricks_postgres')
const branchesOf = (): string[] => control.branches('projects/shop').map(({ name }) => name)

test('the steps of the GitHub Actions workflow run, signed in with the job’s own token', {
  skip: needsPsql,
}, async (t) => {
  await production('create table recipe as select 1 as number')
  t.after(() => production('drop table recipe'))
  const { jobs } = parseYaml(recipe('github-actions')) as {
    jobs: { test: { env: Record<string, string>; steps: { run?: string; uses?: string }[] } }
  }
  const { env, steps } = jobs.test
  const { DATABRICKS_HOST, DATABRICKS_TOKEN, ...reaching } = emulator.env
  const shell = shellIn(await npmProject(t), {
    ...{ ...reaching, ...env, DATABRICKS_HOST: DATABRICKS_HOST! },
    DATABRICKS_CLIENT_ID: servicePrincipal.userName,
    // As GitHub gives them to a job that may ask for its ID token.
    ACTIONS_ID_TOKEN_REQUEST_URL: `${emulator.workspaceUrl}/emulator/github-id-token?api-version=2.0`,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'github-actions-request-token',
  })
  const scripts = steps.flatMap(({ run }) => run ?? [])
  assert.equal(scripts.length, 2)
  let printed = ''
  for (const script of scripts) {
    const { code, stdout } = await shell.run(script)
    assert.equal(code, 0, `${script}\n${stdout}`)
    printed += stdout
  }
  assert.match(printed, new RegExp(`^${servicePrincipal.userName}\\|2$`, 'm'))
  assert.match(
    JSON.stringify(control.calls('branch-create').at(-1)),
    /"ttl":"1800s"|ttl.{3,6}1800s/,
  )
  assert.deepEqual(await production('select count(*) from recipe'), [['1']])
  assert.deepEqual(branchesOf(), ['projects/shop/branches/production'])
})

test('a preview has a branch by its number, which is migrated and deleted', {
  skip: needsPsql,
}, async (t) => {
  const shell = shellIn(await npmProject(t), { ...emulator.env, NUMBER: '7' })
  const [create, migrate, remove] = recipe('preview').trim().split('\n')
  const run = async (line: string | undefined): Promise<void> => {
    const { code, stdout } = await shell.run(line!)
    assert.equal(code, 0, `${line}\n${stdout}`)
  }
  await run(create)
  assert.ok(branchesOf().includes('projects/shop/branches/pr-7'))
  await run(migrate)
  await run(remove)
  assert.deepEqual(branchesOf(), ['projects/shop/branches/production'])
  await assert.rejects(production('select number from migrated'))
})
