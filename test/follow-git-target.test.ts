/** A target with `follow-git` beside others at one port, as it is shown, and how its branches live and go. */

import assert from 'node:assert/strict'
import { chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, type TestContext, test } from 'node:test'

import type pg from 'pg'

import { branchIdOf } from '../src/branches/branch-name.js'
import type { TargetStatus } from '../src/observe/status.js'
import { cli } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { JumpingClock, until } from './support/jumping-clock.js'
import {
  cancel,
  connectedClient,
  proxyBefore,
  type TestProxy,
  type TestProxyOptions,
  temporaryFolder,
} from './support/proxy.js'

const clock = new JumpingClock()
const emulator = await emulatorForTests({ clock, transitionMs: 50 })
const { control } = emulator
const HOUR = 3_600_000
const CWD = process.cwd()
const DEMO = 'projects/demo'
const COMMIT = `${'0123456789abcdef'.repeat(2)}01234567\n`

beforeEach(async () => {
  const headers = { authorization: `Bearer ${emulator.env.DATABRICKS_TOKEN}` }
  for (const { name, isDefault } of [...control.branches(DEMO)]) {
    if (isDefault) continue
    const url = `${emulator.workspaceUrl}/api/2.0/postgres/${name}?purge=true`
    assert.equal((await fetch(url, { method: 'DELETE', headers })).status, 200)
  }
})

interface Following extends TestProxy {
  head(text: string): void
}

/** A proxy whose working folder is a repository. */
async function following(t: TestContext, options: TestProxyOptions): Promise<Following> {
  const folder = await temporaryFolder(t)
  mkdirSync(join(folder, '.git'))
  const head = (text: string): void => writeFileSync(join(folder, '.git', 'HEAD'), text)
  head('ref: refs/heads/main\n')
  process.chdir(folder)
  t.after(() => process.chdir(CWD))
  return { ...(await proxyBefore(t, emulator, options)), head }
}

const git = (branch: string): string => `ref: refs/heads/${branch}\n`

/** The id of the branch, or the name of the instance, that the last login went to. */
function lastServed(): string {
  const { host } = control.logins.at(-1)!
  const projects = [DEMO, 'projects/many'].flatMap((name) => [...control.branches(name)])
  const found = projects.find(({ endpoints }) => endpoints.some((each) => each.host === host))
  return found === undefined ? 'an instance' : branchIdOf(found.name)
}

async function served(
  t: TestContext,
  { port }: TestProxy,
  config: pg.ClientConfig = {},
): Promise<string> {
  const client = await connectedClient(t, port, config)
  await client.end()
  return lastServed()
}

test('with route=on it is chosen by name, and open sessions on it and beside it stay at a git switch', async (t) => {
  for (const id of ['feature-a', 'feature-b']) await control.createBranch(DEMO, id)
  const work = { target: DEMO, followGit: 'existing', name: 'work' } as const
  const proxy = await following(t, {
    targets: ['demo-instance', work, `${DEMO}/branches/*`],
    route: 'on',
  })
  proxy.head(git('feature-a'))
  const onWork = await connectedClient(t, proxy.port, { user: 'work' })
  assert.equal(lastServed(), 'feature-a')
  await onWork.query('create table only_on_a as select 1 as number')
  const beside = await connectedClient(t, proxy.port)
  assert.equal(lastServed(), 'an instance')
  const byName = await connectedClient(t, proxy.port, { user: `${DEMO}/branches/feature-a` })
  assert.equal(lastServed(), 'feature-a')
  proxy.head(git('feature-b'))
  assert.equal(await served(t, proxy, { options: '-c lakebase.target=work' }), 'feature-b')
  assert.equal(await served(t, proxy, { user: 'ada~work' }), 'feature-b')
  assert.equal(await served(t, proxy), 'an instance')
  for (const client of [onWork, byName]) {
    assert.equal((await client.query('select number from only_on_a')).rows[0].number, 1)
  }
  assert.equal((await beside.query('select 1 as one')).rows[0].one, 1)
  const { sessionsOpen } = proxy.daemon.status().targets.find(({ name }) => name === 'work')!
  assert.equal(sessionsOpen, 1)
  const cancelled = assert.rejects(onWork.query('select pg_sleep(60)'), { code: '57014' })
  await cancel(proxy.port, onWork)
  await cancelled
})

test('with route=on it may be the default target; a cancel by another proxy finds its branch', async (t) => {
  await control.createBranch(DEMO, 'feature-a')
  const options = {
    targets: [{ target: DEMO, followGit: 'existing' }, 'demo-instance'],
    route: 'on',
  } as const
  const proxy = await following(t, options)
  proxy.head(git('feature-a'))
  const client = await connectedClient(t, proxy.port)
  assert.equal(lastServed(), 'feature-a')
  assert.equal(await served(t, proxy, { user: 'demo-instance' }), 'an instance')
  proxy.head(git('main'))
  assert.equal(await served(t, proxy), 'production')
  const other = await proxyBefore(t, emulator, options)
  proxy.head(git('feature-a'))
  assert.equal(await served(t, other), 'feature-a')
  const cancelled = assert.rejects(client.query('select pg_sleep(60)'), { code: '57014' })
  const before = control.cancelCount
  await cancel(other.port, client)
  await cancelled
  assert.equal(control.cancelCount, before + 3, 'the default branch, feature-a and the instance')
})

test('its own branch is extended while it is checked out or has sessions, and then no more', async (t) => {
  const proxy = await following(t, {
    targets: [{ target: DEMO, followGit: 'create' }],
    clock,
    adminPort: 0,
  })
  proxy.head(git('topic'))
  const client = await connectedClient(t, proxy.port)
  const own = control.branches(DEMO).find(({ isDefault }) => !isDefault)!
  const leftHours = (): number => (own.expireAt! - clock.now()) / HOUR
  const extended = async (): Promise<void> => {
    const before = own.expireAt!
    clock.jump(85 * HOUR)
    await until(() => own.expireAt! > before)
    assert.ok(leftHours() > 167 && leftHours() <= 168.01, `${leftHours()} h`)
  }
  await extended()
  proxy.head(git('main'))
  await extended()
  await client.query('select 1')
  await client.end()
  await until(() => proxy.daemon.status().targets[0]!.sessionsOpen === 0)
  const servesOwn = (): boolean => {
    clock.jump(60_000)
    return proxy.daemon.status().targets[0]!.serves!.startsWith(own.name)
  }
  proxy.head(git('topic'))
  await until(servesOwn)
  await extended()
  proxy.head(git('main'))
  await until(() => !servesOwn())
  const { expireAt } = own
  clock.jump(85 * HOUR)
  await served(t, proxy)
  assert.equal(own.expireAt, expireAt)
  clock.jump(90 * HOUR)
  await until(() => !control.branches(DEMO).includes(own))
})

test('an own branch that is found again is extended; one that stays, or is shared, is left as it is', async (t) => {
  control.behaviour.maxBranchLifeMs = 6 * HOUR
  t.after(() => {
    control.behaviour.maxBranchLifeMs = 30 * 24 * HOUR
  })
  const options = { targets: [{ target: DEMO, followGit: 'create' }], clock } as const
  const first = await following(t, options)
  first.head(git('topic'))
  await served(t, first)
  await first.daemon.close()
  const own = control.branches(DEMO).find(({ isDefault }) => !isDefault)!
  clock.jump(4 * HOUR)
  const again = await proxyBefore(t, emulator, options)
  assert.equal(await served(t, again), branchIdOf(own.name))
  await until(() => own.expireAt! - clock.now() > 5.9 * HOUR)
  await again.daemon.close()
  own.expireAt = undefined
  const updates = control.callCount('branch-update')
  const third = await proxyBefore(t, emulator, options)
  assert.equal(await served(t, third), branchIdOf(own.name))
  await control.createBranch(DEMO, 'shared')
  first.head(git('shared'))
  assert.equal(await served(t, third), 'shared')
  clock.jump(5 * HOUR)
  await served(t, third)
  assert.equal(control.callCount('branch-update'), updates)
})

test('status, readiness and the page are about the branch that is checked out', async (t) => {
  for (const id of ['feature-a', 'feature-b', 'feature-c']) await control.createBranch(DEMO, id)
  const proxy = await following(t, {
    targets: [{ target: DEMO, followGit: 'existing' }],
    adminPort: 0,
  })
  const shown = async (): Promise<TargetStatus> => {
    const answer = await fetch(`${proxy.daemon.adminUrl}/status`)
    return ((await answer.json()) as { targets: TargetStatus[] }).targets[0]!
  }
  const ready = async (): Promise<[number, string]> => {
    const answer = await fetch(`${proxy.daemon.adminUrl}/readiness?confirmed&target=${DEMO}`)
    return [answer.status, await answer.text()]
  }
  const production = `${DEMO}/branches/production/endpoints/primary`
  await until(async () => (await shown()).serves === production)
  for (const id of ['feature-a', 'feature-b']) {
    proxy.head(git(id))
    await until(async () => (await ready())[0] === 200)
    const { serves, credential, state } = await shown()
    assert.deepEqual(
      [serves, credential.state, state],
      [`${DEMO}/branches/${id}/endpoints/primary`, 'fresh', 'ready'],
    )
  }
  control.endpoint(`${DEMO}/branches/feature-c/endpoints/primary`).disabled = true
  proxy.head(git('feature-c'))
  await until(async () => /is disabled/.test((await ready())[1]))
  proxy.head(git('nowhere'))
  const [status, text] = await ready()
  assert.equal(status, 503)
  assert.match(text, /git branch \\"nowhere\\" has no branch in projects\/demo/)
  const { serves, state, hint } = await shown()
  assert.deepEqual([serves, state], [undefined, 'unavailable'])
  assert.match(hint!, /branches create nowhere/)
  proxy.head(COMMIT)
  const detached = await shown()
  assert.deepEqual([detached.readOnly, detached.state], [true, 'ready'])
  await until(async () => (await shown()).serves === production)
  const { stdout } = await cli(['status', '--admin-port', new URL(proxy.daemon.adminUrl!).port])
  assert.match(
    stdout,
    /serves {4}projects\/demo\/branches\/production\/endpoints\/primary, read-only/,
  )
})

test('what is shown makes no branch, and neither do the probes', async (t) => {
  const proxy = await following(t, {
    targets: [{ target: DEMO, followGit: 'create' }],
    adminPort: 0,
  })
  const made = control.callCount('branch-create')
  proxy.head(git('topic'))
  for (const path of ['status', 'readiness', 'readiness?confirmed']) {
    assert.equal((await fetch(`${proxy.daemon.adminUrl}/${path}`)).status, 200)
  }
  assert.equal(control.callCount('branch-create'), made)
  assert.match(await served(t, proxy), /^ada-topic-[0-9a-f]{8}$/)
})

test('a detached HEAD is served by the read-only endpoint of the default branch, where there is one', async (t) => {
  const proxy = await following(t, {
    targets: [{ target: 'projects/many', followGit: 'existing' }],
  })
  proxy.head(COMMIT)
  const client = await connectedClient(t, proxy.port)
  const { host } = control.logins.at(-1)!
  assert.equal(host, control.endpoint('projects/many/branches/production/endpoints/replica').host)
  await assert.rejects(client.query('create table nothing (number int)'), { code: '25006' })
  proxy.head(git('main'))
  assert.equal(await served(t, proxy), 'production')
  assert.notEqual(control.logins.at(-1)!.host, host)
})

test('with read-only set, a detached HEAD never leads to the host that can write', async (t) => {
  const target = { target: DEMO, followGit: 'existing', readOnly: true } as const
  const proxy = await following(t, { targets: [target] })
  for (const head of [COMMIT, git('main')]) {
    proxy.head(head)
    await assert.rejects(connectedClient(t, proxy.port), /has no read-only host/)
  }
})

test('a branch that was deleted is looked for again, and with create it is made again', async (t) => {
  const proxy = await following(t, { targets: [{ target: DEMO, followGit: 'create' }] })
  proxy.head(git('topic'))
  const first = await served(t, proxy)
  const headers = { authorization: `Bearer ${emulator.env.DATABRICKS_TOKEN}` }
  const url = `${emulator.workspaceUrl}/api/2.0/postgres/${DEMO}/branches/${first}?purge=true`
  await fetch(url, { method: 'DELETE', headers })
  await assert.rejects(connectedClient(t, proxy.port), { code: '57P03' }) // and drivers try again
  assert.equal(await served(t, proxy), first)
})

test('a branch that is being made at a reload is made all the same, and its client is served', async (t) => {
  for (const route of ['off', 'on'] as const) {
    const work = { target: DEMO, followGit: 'create', name: 'work' } as const
    const proxy = await following(t, { targets: ['demo-instance', work], route })
    const { port } = proxy.daemon.targets[1]!.listener
    proxy.head(git(`topic-${route}`))
    const made = control.callCount('branch-create')
    const coming = connectedClient(t, port, { user: route === 'on' ? 'work' : 'anyone' })
    coming.catch(() => {})
    await until(() => control.callCount('branch-create') > made)
    await proxy.daemon.reload(
      proxy.settings({ targets: ['demo-instance', { ...work, maxConnections: 9 }] }),
    )
    await (await coming).query('select 1')
    assert.match(lastServed(), new RegExp(`^ada-topic-${route}-`))
  }
})

test('a workspace that fails is not asked at every look', async (t) => {
  const proxy = await following(t, {
    targets: [{ target: DEMO, followGit: 'existing' }],
    adminPort: 0,
  })
  proxy.head(git('topic'))
  control.failApi('branches', { status: 404 })
  const before = control.callCount('branches')
  for (let look = 0; look < 20; look += 1) await fetch(`${proxy.daemon.adminUrl}/status`)
  assert.ok(control.callCount('branches') - before <= 2)
})

test('a branch with its name that is protected, or of another source, is another’s: it is left alone', async (t) => {
  const proxy = await following(t, { targets: [{ target: DEMO, followGit: 'create' }], clock })
  proxy.head(git('topic'))
  const first = await served(t, proxy)
  const own = control.branches(DEMO).find(({ name }) => branchIdOf(name) === first)!
  own.isProtected = true
  const { expireAt } = own
  clock.jump(31_000)
  const second = await served(t, proxy)
  assert.equal(second, `${first}-2`)
  await proxy.daemon.close()
  assert.deepEqual([own.expireAt, own.deletedAt], [expireAt, undefined])
  own.isProtected = false
  const from = { targets: [{ target: DEMO, followGit: 'create' }], clock } as const
  const of = await proxyBefore(t, emulator, { ...from, branchFrom: `${DEMO}/branches/${second}` })
  assert.equal(await served(t, of), `${first}-3`)
})

test('a branch that was replaced by another while it is in use is not extended', async (t) => {
  const proxy = await following(t, { targets: [{ target: DEMO, followGit: 'create' }], clock })
  proxy.head(git('topic'))
  const id = await served(t, proxy)
  const other = await control.createBranch(DEMO, 'other')
  const headers = { authorization: `Bearer ${emulator.env.DATABRICKS_TOKEN}` }
  const url = `${emulator.workspaceUrl}/api/2.0/postgres/${DEMO}/branches`
  await fetch(`${url}/${id}?purge=true`, { method: 'DELETE', headers })
  const body = JSON.stringify({ spec: { source_branch: other.name, ttl: '604800s' } })
  const { status } = await fetch(`${url}?branch_id=${id}`, { method: 'POST', headers, body })
  assert.equal(status, 200)
  const later = control.branch(`${DEMO}/branches/${id}`)
  const { expireAt } = later
  clock.jump(85 * HOUR)
  await proxy.log.seen(({ message }) => /be extended: .* and is left alone$/.test(message))
  assert.equal(later.expireAt, expireAt)
})

test('a repository of another user is not followed, and that is said once', async (t) => {
  if (process.geteuid?.() !== 0) return t.skip('only root can give files away')
  await control.createBranch(DEMO, 'feature-a')
  const proxy = await following(t, { targets: [{ target: DEMO, followGit: 'existing' }] })
  proxy.head(git('feature-a'))
  chownSync(join(process.cwd(), '.git'), 65_534, 65_534)
  for (let client = 0; client < 2; client += 1) {
    assert.equal(await served(t, proxy), 'production')
  }
  const said = proxy.log.lines.filter(({ message }) => /belongs to another user/.test(message))
  assert.match(
    said.map(({ message }) => message).join(),
    /^\S+\/\.git belongs .* is not followed\./,
  )
  assert.equal(said.length, 1)
})
