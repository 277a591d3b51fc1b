/** `follow-git`: each new client goes to the branch that belongs to what is checked out. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, type TestContext, test } from 'node:test'

import { branchIdOf } from '../src/branches/branch-name.js'
import { startCli } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { refusal } from './support/load-config.js'
import { connectedClient, temporaryFolder } from './support/proxy.js'

const emulator = await emulatorForTests({ transitionMs: 50 })
const { control } = emulator
const HOUR = 3_600_000
const COMMIT = '0123456789abcdef0123456789abcdef01234567'

const headers = { authorization: `Bearer ${emulator.env.DATABRICKS_TOKEN}` }

async function remove(name: string, query = ''): Promise<void> {
  const url = `${emulator.workspaceUrl}/api/2.0/postgres/${name}${query}`
  assert.equal((await fetch(url, { method: 'DELETE', headers })).status, 200)
}

beforeEach(async () => {
  for (const { name, isDefault } of [...control.branches('projects/demo')]) {
    if (!isDefault) await remove(name, '?purge=true')
  }
})

interface Following {
  readonly port: number
  readonly folder: string
  head(text: string): void
}

async function following(t: TestContext, how: 'existing' | 'create'): Promise<Following> {
  const folder = await temporaryFolder(t)
  mkdirSync(join(folder, '.git'))
  const args = ['start', `projects/demo?follow-git=${how}`, '--port', '0', '--no-admin']
  const running = startCli(t, args, { env: { ...emulator.env }, cwd: folder })
  const [, port] = await running.saw(/"addresses":\["127\.0\.0\.1:(\d+)/)
  const head = (text: string): void => writeFileSync(join(folder, '.git', 'HEAD'), text)
  return { port: Number(port), folder, head }
}

/** The branch id that a new client ends up on. */
async function servedBy(t: TestContext, port: number): Promise<string> {
  const client = await connectedClient(t, port)
  await client.query('select 1')
  const { host } = control.logins.at(-1)!
  const all = control.branches('projects/demo')
  const found = all.find(({ endpoints }) => endpoints.some((each) => each.host === host))
  await client.end()
  return branchIdOf(found?.name ?? 'none/none')
}

test('a checkout sends the next client elsewhere, and open sessions stay where they are', async (t) => {
  const { port, head } = await following(t, 'existing')
  await control.createBranch('projects/demo', 'feature-a')
  await control.createBranch('projects/demo', 'feature-b')
  head('ref: refs/heads/feature/A\n')
  const session = await connectedClient(t, port)
  await session.query('create table only_on_a as select 1 as number')
  assert.equal(await servedBy(t, port), 'feature-a')
  head('ref: refs/heads/feature/B\n')
  assert.equal(await servedBy(t, port), 'feature-b')
  assert.equal((await session.query('select number from only_on_a')).rows[0].number, 1)
  for (const name of ['main', 'master']) {
    head(`ref: refs/heads/${name}\n`)
    assert.equal(await servedBy(t, port), 'production')
  }
})

test('a detached or missing HEAD is the default branch, read-only, also when the client asks to write', async (t) => {
  const { port, head, folder } = await following(t, 'existing')
  head(`${COMMIT}\n`)
  const options = '-c default_transaction_read_only=off'
  for (const remove of [false, true]) {
    if (remove) rmSync(join(folder, '.git'), { recursive: true })
    assert.equal(await servedBy(t, port), 'production')
    const client = await connectedClient(t, port, { options })
    await assert.rejects(client.query('create table nothing (number int)'), { code: '25006' })
  }
})

test('a HEAD that is being written is waited for, and is never taken for another', async (t) => {
  const { port, head } = await following(t, 'existing')
  await control.createBranch('projects/demo', 'fix')
  for (const part of ['', 'ref: refs/heads/f', 'ref: refs/heads/mai', COMMIT]) {
    head(part)
    const served = servedBy(t, port)
    setImmediate(() => head('ref: refs/heads/fix\n'))
    assert.equal(await served, 'fix')
  }
})

test('without a branch, existing says how to make one, and nothing is made', async (t) => {
  const { port, head } = await following(t, 'existing')
  const before = control.callCount('branch-create')
  head('ref: refs/heads/new_work\n')
  await assert.rejects(connectedClient(t, port), (error: { code?: string; hint?: string }) => {
    assert.equal(error.code, '3D000')
    assert.match(error.hint!, /lakebase-proxy branches create new-work --from projects\/demo/)
    return true
  })
  assert.equal(control.callCount('branch-create'), before)
})

test('create makes one’s own with 7 days, once for many clients, and uses it again', async (t) => {
  const { port, head } = await following(t, 'create')
  const before = control.callCount('branch-create')
  head('ref: refs/heads/new_work\n')
  const served = await Promise.all([1, 2, 3].map(() => connectedClient(t, port)))
  for (const client of served) await client.end()
  assert.equal(control.callCount('branch-create'), before + 1)
  const [own] = control.branches('projects/demo').filter(({ isDefault }) => !isDefault)
  assert.match(branchIdOf(own!.name), /^ada-new-work-[0-9a-f]{8}$/)
  const leftHours = (own!.expireAt! - Date.now()) / HOUR
  assert.ok(leftHours > 167 && leftHours <= 168, `${leftHours} h`)
  assert.equal(await servedBy(t, port), branchIdOf(own!.name))
  assert.doesNotMatch(JSON.stringify(control.calls('branch-create')), /no_expiry|replace_existing/)
})

test('a reserved name gets the next number', async (t) => {
  const { port, head } = await following(t, 'create')
  head('ref: refs/heads/again\n')
  const first = await servedBy(t, port)
  await remove(`projects/demo/branches/${first}`)
  const again = await following(t, 'create')
  again.head('ref: refs/heads/again\n')
  const second = await servedBy(t, again.port)
  assert.notEqual(second, 'production')
  assert.match(second, /^ada-again-[0-9a-f]{8}/)
})

test('a worktree follows its own HEAD', async (t) => {
  const folder = await temporaryFolder(t)
  const git = (...args: string[]): void => {
    const names = ['-c', 'user.name=a', '-c', 'user.email=a@b']
    execFileSync('git', ['-C', folder, ...names, ...args], { stdio: 'ignore' })
  }
  git('init', '-b', 'main')
  git('commit', '--allow-empty', '-m', 'first')
  git('worktree', 'add', '-b', 'side', join(folder, 'side'))
  await control.createBranch('projects/demo', 'side')
  const args = ['start', 'projects/demo?follow-git=existing', '--port', '0', '--no-admin']
  const running = startCli(t, args, { env: { ...emulator.env }, cwd: join(folder, 'side') })
  const [, port] = await running.saw(/"addresses":\["127\.0\.0\.1:(\d+)/)
  assert.equal(await servedBy(t, Number(port)), 'side')
  const session = await connectedClient(t, Number(port))
  await session.query('create table only_on_side as select 1 as number')
  await control.createBranch('projects/demo', 'other')
  git('-C', 'side', 'switch', '-c', 'other')
  assert.equal(await servedBy(t, Number(port)), 'other')
  assert.equal((await session.query('select number from only_on_side')).rows[0].number, 1)
})

test('a target that names its branch leaves nothing to follow', async (t) => {
  for (const target of ['projects/demo/branches/dev', 'my-instance']) {
    const told = await refusal(t, { targets: [`${target}?follow-git=create`] })
    assert.match(told, /follow-git chooses the branch[\s\S]*Name a project alone/)
  }
})
