/** `branches`: list, create and delete, as a user runs them. */

import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { cliHere } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { otherUser } from './support/identities.js'
import { routes, ScriptedWorkspace } from './support/scripted-workspace.js'

const emulator = await emulatorForTests({ transitionMs: 50 })
const { control } = emulator
const PROJECT = 'projects/demo'
const nameOf = (id: string): string => `${PROJECT}/branches/${id}`

beforeEach(() => {
  control.behaviour.maxUnarchivedBranches = 10
})

const branches = (...args: string[]) => cliHere(['branches', ...args], { env: { ...emulator.env } })

test('create prints the name alone once the branch takes connections; list shows it; delete deletes it', async () => {
  control.behaviour.youngMs = 1_500
  const made = await branches('create', 'fix-login', '--from', PROJECT, '--ttl', '8h')
  control.behaviour.youngMs = 0
  assert.deepEqual([made.code, made.stdout], [0, `${nameOf('fix-login')}\n`], made.stderr)
  assert.match(made.stderr, /takes connections, and expires in 8h \(\d+ s\)\n$/)
  assert.ok(
    control.logins.some(
      ({ host }) => host === control.endpoint(`${nameOf('fix-login')}/endpoints/primary`).host,
    ),
  )

  const own = 'ada-fix-login-0123abcd'
  assert.equal((await branches('create', own, '--from', nameOf('fix-login'))).code, 0)
  const { stdout } = await branches('list', 'demo')
  const lines = stdout.trimEnd().split('\n')
  assert.match(lines[0]!, /^BRANCH +STATE +AGE +EXPIRES +SOURCE +MADE BY$/)
  const line = (id: string) => lines.find((each) => each.startsWith(`${nameOf(id)} `))
  assert.match(line('production')!, /READY, default +\S+( \S+)? +never +- +-$/)
  assert.match(line('fix-login')!, /READY +\d+s +in (8h|7h 59m) +production +-$/)
  assert.match(line(own)!, /READY +\d+s +in (2h|1h 59m) +fix-login +lakebase-proxy$/)
  const json = JSON.parse((await branches('list', PROJECT, '--json')).stdout) as Record<
    string,
    unknown
  >[]
  const found = json.find(({ name }) => name === nameOf(own))!
  assert.deepEqual(
    [found.state, found.source, found.madeByLakebaseProxy, typeof found.expiresAt],
    ['READY', nameOf('fix-login'), true, 'string'],
  )

  const soft = await branches('delete', nameOf('fix-login'))
  assert.deepEqual([soft.code, soft.stdout], [0, ''])
  assert.match(soft.stderr, /is deleted; it can be brought back for some days/)
  assert.equal((await branches('delete', nameOf(own), '--purge')).code, 0)
  const left = await branches('list', 'demo')
  assert.doesNotMatch(left.stdout, /fix-login/)
  const listed = await branches('create', 'production', '--from', PROJECT)
  assert.match(listed.stderr, /already exists/)
  assert.doesNotMatch(listed.stderr, /Detail:/)
  const reserved = await branches('create', 'fix-login', '--from', PROJECT)
  assert.equal(reserved.code, 1)
  assert.match(reserved.stderr, /already exists[\s\S]*keeps its name until it is purged/)
  await branches('delete', nameOf('fix-login'), '--purge')
})

test('never asked for: a branch that does not expire, or one in the place of another', () => {
  const calls = control.calls('branch-create')
  assert.ok(calls.length > 0)
  for (const call of calls) {
    assert.doesNotMatch(JSON.stringify(call), /no_expiry|replace_existing/)
    assert.match(JSON.stringify(call), /ttl/)
  }
})

test('a default or a protected branch is not deleted, and the workspace is not even asked to', async (t) => {
  await control.createBranch(PROJECT, 'guarded')
  control.branch(nameOf('guarded')).isProtected = true
  t.after(() => {
    control.branch(nameOf('guarded')).isProtected = false
    return branches('delete', nameOf('guarded'), '--purge')
  })
  const before = control.callCount('branch-delete')
  for (const [id, why] of [
    ['production', 'the default branch'],
    ['guarded', 'protected'],
  ] as const) {
    const { code, stderr } = await branches('delete', nameOf(id), '--purge')
    assert.equal(code, 1)
    assert.match(stderr, new RegExp(`is ${why}.*and is not deleted`))
  }
  assert.equal(control.callCount('branch-delete'), before)
  assert.equal((await branches('delete', nameOf('nosuch'))).code, 1)
})

test('a bare name is enough where there is one project, and is not guessed at where there are several', async (t) => {
  const several = await branches('delete', 'fix')
  assert.equal(several.code, 2)
  assert.match(
    several.stderr,
    /Say which is meant: projects\/demo\/branches\/fix, projects\/many\/branches\/fix/,
  )
  const path = '/api/2.0/postgres/projects'
  const workspace = await ScriptedWorkspace.start(
    t,
    routes({
      [`GET ${path}`]: { body: { projects: [{ name: 'projects/shop' }] } },
      [`GET ${path}/shop/branches/fix`]: { body: { name: 'projects/shop/branches/fix' } },
      [`DELETE ${path}/shop/branches/fix`]: { body: { name: 'operation', done: true } },
    }),
  )
  const env = { DATABRICKS_HOST: workspace.host, DATABRICKS_TOKEN: 'dapi-secret' }
  const one = await cliHere(['branches', 'delete', 'fix'], { env })
  assert.equal(one.code, 0, one.stderr)
  assert.match(one.stderr, /^projects\/shop\/branches\/fix is deleted/)
})

test('a project that is full says which branches are ours, how old they are and when they expire', async (t) => {
  const own = 'ada-full-0123abcd'
  assert.equal((await branches('create', own, '--from', PROJECT, '--ttl', '2h')).code, 0)
  t.after(() => branches('delete', nameOf(own), '--purge'))
  control.behaviour.maxUnarchivedBranches = 2
  const { code, stderr } = await branches('create', 'one-more', '--from', PROJECT)
  assert.equal(code, 1)
  assert.match(stderr, /limit of 2 unarchived branches/)
  assert.match(
    stderr,
    /Made by lakebase-proxy:\n {2}ada-full-0123abcd: \d+s old, expires in (2h|1h 59m)/,
  )
  assert.doesNotMatch(stderr, / {2}production/)
  assert.match(
    stderr,
    /Hint: Delete one that is not needed: lakebase-proxy branches delete projects\/demo\/branches\/NAME/,
  )
})

test('without the permission, the error says which one is needed', async () => {
  const env = { ...emulator.env, DATABRICKS_TOKEN: otherUser.pat! }
  const { code, stderr } = await cliHere(['branches', 'create', 'theirs', '--from', PROJECT], {
    env,
  })
  assert.equal(code, 1)
  assert.match(stderr, /not allowed to create branch projects\/demo\/branches\/theirs/)
  assert.match(stderr, /Hint: This needs the permission CAN MANAGE on projects\/demo/)
})

test('a life that the workspace does not allow, and an operation that fails, are told with their reason', async () => {
  control.behaviour.maxBranchLifeMs = 3_600_000
  const long = await branches('create', 'long', '--from', PROJECT, '--ttl', '2h')
  control.behaviour.maxBranchLifeMs = 30 * 24 * 3_600_000
  assert.equal(long.code, 1)
  assert.match(
    long.stderr,
    /exceeds the maximum[\s\S]*does not let a branch live for 2h: ask for less/,
  )
  const lost = await branches('create', 'lost', '--from', `${PROJECT}/branches/nosuch`)
  assert.equal(lost.code, 1)
  assert.match(lost.stderr, /could not create branch .*source branch id not found/)
})

test('wrong usage is 2: no --from, a name that does not fit, a wrong ttl, a TARGET that is not a project', async () => {
  const usages: [string[], RegExp][] = [
    [['create', 'x'], /--from projects\/P/],
    [['create', 'Fix_Login', '--from', PROJECT], /Such as: fix-login/],
    [
      ['create', 'x', '--from', 'demo-instance'],
      /--from must be projects\/P or projects\/P\/branches\/B/,
    ],
    [['create', 'x', '--from', PROJECT, '--ttl', '1s'], /--ttl must be from 5s to 720h/],
    [['list', 'a/b'], /Write it as projects\/P/],
    [['delete', 'projects/demo'], /Write it as projects\/P\/branches\/NAME/],
  ]
  for (const [args, expected] of usages) {
    const { code, stderr } = await branches(...args)
    assert.equal(code, 2, stderr)
    assert.match(stderr, expected)
  }
})

test('a project that does not exist is answered with the nearest, and an instance with what it is', async () => {
  const near = await branches('list', 'projects/dmo')
  assert.match(
    near.stderr,
    /projects\/dmo does not exist in .*\nHint: Did you mean projects\/demo\?/,
  )
  const instance = await branches('list', 'demo-instance')
  assert.match(
    instance.stderr,
    /"demo-instance" is a Provisioned instance, which has no branches\n/,
  )
})
