/** `branch-from`: work on a new branch, of which nothing is left afterwards. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'

import { branchIdOf, isMadeByUs } from '../src/branches/branch-name.js'
import { startProxy } from '../src/daemon/start-proxy.js'
import { Random } from './chaos/random.js'
import { cli, startCli } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { JumpingClock, until } from './support/jumping-clock.js'
import { refusal } from './support/load-config.js'
import { connectedClient, proxyBefore, type Ran, temporaryFolder } from './support/proxy.js'

const clock = new JumpingClock()
const emulator = await emulatorForTests({ clock, transitionMs: 50 })
const { control } = emulator
const HOUR = 3_600_000
const env = { ...emulator.env }
const FROM = ['--branch-from', 'projects/demo']

/** The branches of the project that we made, as the emulator holds them. */
const ours = () =>
  control.branches('projects/demo').filter(({ name }) => isMadeByUs(branchIdOf(name)))
const idsOf = (): string[] => ours().map(({ name }) => branchIdOf(name))

async function purgeAll(): Promise<void> {
  clock.jump(8 * 24 * HOUR)
  await until(() => ours().length === 0)
}

test('exec works on a branch with the data of its source, and purges it at the end', async (t) => {
  await control.query('create table branch_from as select 1 as number', 'databricks_postgres')
  t.after(() => control.query('drop table branch_from', 'databricks_postgres'))
  control.behaviour.youngMs = 1_500
  const sql = 'insert into branch_from values (2); select count(*) from branch_from'
  const { code, stdout, stderr } = await cli(['exec', ...FROM, '--', 'psql', '-XAtqc', sql], env)
  control.behaviour.youngMs = 0
  assert.deepEqual([code, stdout], [0, '2\n'], stderr)
  assert.match(
    stderr,
    /branch projects\/demo\/branches\/ada-\S*[0-9a-f]{8}-[0-9a-f]{6} takes connections/,
  )
  const [[count]] = (await control.query(
    'select count(*) from branch_from',
    'databricks_postgres',
  )) as [[string]]
  assert.equal(count, '1')
  assert.deepEqual(idsOf(), [])
  assert.match(JSON.stringify(control.calls('branch-delete').at(-1)), /purge/)
})

test('the exit code is the program’s, and a program that fails leaves no branch either', async () => {
  assert.equal((await cli(['exec', ...FROM, '--', 'sh', '-c', 'exit 7'], env)).code, 7)
  assert.equal((await cli(['exec', ...FROM, '--', 'no-such-program'], env)).code, 127)
  assert.deepEqual(idsOf(), [])
})

test('twenty at once on one git branch have a branch each, and none is left', async (t) => {
  const folder = await temporaryFolder(t)
  execFileSync('git', ['init', '-q', '-b', 'feature/Login', folder])
  control.behaviour.maxUnarchivedBranches = 21
  const before = control.callCount('branch-create')
  // Twenty processes and their databases share few cores: each has time.
  const patient = ['--connect-timeout', '60s', '--wake-timeout', '60s']
  const run = (): Promise<Ran> =>
    cli(['exec', ...FROM, ...patient, '--', 'sh', '-c', 'echo $PGPORT'], env, folder)
  const all = await Promise.all(Array.from({ length: 20 }, run))
  control.behaviour.maxUnarchivedBranches = 10
  for (const { code, stderr } of all) assert.equal(code, 0, stderr)
  const names = all.map(({ stderr }) => /branches\/(\S+) takes/.exec(stderr)?.[1])
  assert.equal(new Set(names).size, 20)
  for (const name of names) assert.match(name!, /^ada-feature-login-[0-9a-f]{8}-[0-9a-f]{6}$/)
  assert.equal(control.callCount('branch-create') - before, 20)
  assert.deepEqual(idsOf(), [])
})

test('killed at any moment, it leaves nothing once the ttl is over', async (t) => {
  const script = 'echo started >&2; exec sleep 20 >/dev/null 2>&1'
  const start = () =>
    startCli(t, ['exec', ...FROM, '--branch-ttl', '1h', '--', 'sh', '-c', script], { env })
  const made = control.callCount('branch-create')
  const early = start()
  await until(() => control.callCount('branch-create') > made)
  early.child.kill('SIGKILL')
  const late = start()
  await late.saw(/started/)
  late.child.kill('SIGKILL')
  await Promise.all([early.done, late.done])
  await until(() => ours().every(({ state }) => state === 'READY'))
  assert.equal(ours().length, 2)
  clock.jump(HOUR)
  await until(() => ours().length === 0)
})

test('killed at random moments from the first request to the deletion, it leaves nothing once the ttl is over', async (t) => {
  const random = new Random(20_261_126)
  const folder = await temporaryFolder(t)
  const marks = new Set<string>()
  for (let run = 0; run < 8; run += 1) {
    const before = [control.callCount(), control.logins.length] as const
    const after = random.between(1, 16)
    const running = startCli(
      t,
      ['exec', ...FROM, '--branch-ttl', '1h', '--', 'psql', '-XAtc', 'select 1'],
      { env, cwd: folder },
    )
    let isOver = false
    void running.done.then(() => {
      isOver = true
    })
    const events = (): number => control.callCount() - before[0] + control.logins.length - before[1]
    await until(() => isOver || events() >= after)
    marks.add(isOver ? 'over' : (control.calls().at(-1)?.api ?? 'none'))
    running.child.kill('SIGKILL')
    await running.done
    await until(() => ours().every(({ state }) => state === 'READY'))
    for (const { expireAt, createdAt } of ours()) assert.equal(expireAt, createdAt + HOUR)
    if (run % 3 === 2) clock.jump(HOUR)
  }
  // It was killed at different points of its way.
  assert.ok(marks.size >= 4, [...marks].join())
  clock.jump(HOUR)
  await until(() => ours().length === 0)
})

test('branch-from that is taken away counts after a restart: until then all stay on the branch', async (t) => {
  const { daemon, port, settings, log } = await proxyBefore(t, emulator, {
    ...{ targets: ['projects/demo'], branchFrom: 'projects/demo', clock },
  })
  const [branch] = ours()
  const hosts = branch!.endpoints.map(({ host }) => host)
  const open = await connectedClient(t, port)
  const [target] = daemon.targets
  await daemon.reload(settings({ branchFrom: undefined }))
  assert.equal(daemon.targets[0], target)
  await connectedClient(t, port)
  assert.ok(hosts.includes(control.logins.at(-1)!.host!))
  const warning = /^branch-from, branch-ttl or keep-branch changed: it counts after a restart$/
  await log.seen(({ message }) => warning.test(message))
  await daemon.reload(settings({ branchFrom: undefined, targets: ['demo-instance'] }))
  assert.equal((await open.query('select 1 as one')).rows[0].one, 1, 'an open session stays')
  await daemon.reload(settings({ branchFrom: undefined }))
  await connectedClient(t, daemon.targets[0]!.listener.port)
  assert.ok(hosts.includes(control.logins.at(-1)!.host!), 'the data of the source is not touched')
  await daemon.close()
  assert.ok(ours().every(({ deletedAt }) => deletedAt !== undefined))
  await purgeAll()
})

test('a signal during the start leaves no branch', async (t) => {
  control.behaviour.transitionMs = 2_000
  t.after(() => {
    control.behaviour.transitionMs = 50
  })
  const made = control.callCount('branch-create')
  const running = startCli(t, ['exec', ...FROM, '--', 'true'], { env })
  await until(() => control.callCount('branch-create') > made && control.callCount('operation') > 0)
  running.kill('SIGINT')
  assert.equal((await running.done).code, 130)
  assert.deepEqual(idsOf(), [])
})

test('start names it for user and git branch, the next one gets a number, and each deletes its own', async (t) => {
  const args = ['start', ...FROM, '--port', '0', '--admin-port', '0']
  const folder = await temporaryFolder(t)
  execFileSync('git', ['init', '-q', '-b', 'topic', folder])
  const first = startCli(t, args, { env, cwd: folder })
  await first.saw(/lakebase-proxy has started/)
  const second = startCli(t, args, { env, cwd: folder })
  await second.saw(/lakebase-proxy has started/)
  const [base, numbered] = idsOf()
  assert.match(base!, /^ada-topic-[0-9a-f]{8}$/)
  assert.equal(numbered, `${base}-2`)
  first.kill('SIGTERM')
  assert.equal((await first.done).code, 0)
  assert.deepEqual(
    ours()
      .filter(({ deletedAt }) => deletedAt === undefined)
      .map(({ name }) => branchIdOf(name)),
    [numbered],
  )
  second.kill('SIGTERM')
  assert.equal((await second.done).code, 0)
  await purgeAll()
})

test('while the proxy runs, half of the life is never used up', async (t) => {
  const options = {
    targets: ['projects/demo'],
    branchFrom: 'projects/demo',
    branchTtl: '1h',
    clock,
  }
  const { daemon, port } = await proxyBefore(t, emulator, options)
  const [branch] = ours()
  for (let half = 0; half < 3; half += 1) {
    const before = branch!.expireAt!
    clock.jump(HOUR / 2)
    await until(() => branch!.expireAt! > before)
    const leftMs = branch!.expireAt! - clock.now()
    assert.ok(leftMs > 0.9 * HOUR && leftMs <= HOUR + 1_000, `${leftMs} ms are left`)
  }
  await connectedClient(t, port)
  for (const call of control.calls('branch-update')) {
    assert.match(JSON.stringify(call), /spec\.expiration/)
    assert.doesNotMatch(JSON.stringify(call), /no_expiry/)
  }
  await daemon.close()
  await purgeAll()
})

test('keep-branch lets it live for 7 days, or as long as the workspace allows, and says its name', async (t) => {
  for (const [capHours, days, span] of [
    [30 * 24, 7, '7 days'],
    [50, 2, '2 days'],
    [24, 1, '1 day'],
    [12, 0.5, '12 hours'],
  ] as const) {
    control.behaviour.maxBranchLifeMs = capHours * HOUR
    const { daemon, log } = await proxyBefore(t, emulator, {
      ...{ targets: ['projects/demo'], branchFrom: 'projects/demo', keepBranch: true, clock },
    })
    await daemon.close()
    const [branch] = ours()
    const leftDays = (branch!.expireAt! - clock.now()) / 24 / HOUR
    assert.ok(leftDays > days - 0.01 && leftDays <= days + 0.01, `${leftDays} days`)
    assert.ok(
      log.lines.some(({ message }) => message === `branch ${branch!.name} is kept for ${span}`),
    )
    await purgeAll()
  }
  control.behaviour.maxBranchLifeMs = 30 * 24 * HOUR
})

test('a deletion that fails is told, and the branch goes with its life', async () => {
  control.failApi('branch-delete', { status: 500, errorCode: 'INTERNAL_ERROR', message: 'no luck' })
  const { code, stderr } = await cli(['exec', ...FROM, '--', 'true'], env)
  control.clearFaults()
  assert.equal(code, 0)
  assert.match(stderr, /branch could not be deleted, it expires by itself/)
  assert.equal(ours().length, 1)
  await purgeAll()
})

test('with branch-from and no TARGET, the new branch is the target; a TARGET of another project is an error', async (t) => {
  const told = await refusal(t, {
    targets: ['my-instance'],
    flags: { 'branch-from': 'projects/demo' },
  })
  assert.match(told, /no target is served from a new branch of "?projects\/demo/)
  const wrong = await refusal(t, { flags: { 'branch-from': 'demo' } })
  assert.match(wrong, /branch-from must be projects\/P or projects\/P\/branches\/B/)
  const others = { ...env, LAKEBASE_PROXY_TARGETS: 'demo-instance second-instance' }
  const { code, stdout } = await cli(['exec', ...FROM, '--', 'psql', '-XAtc', 'select 1'], others)
  assert.deepEqual([code, stdout], [0, '1\n'])
})

test('its branch that was protected meanwhile is not deleted, and that is told', async (t) => {
  const { daemon, log } = await proxyBefore(t, emulator, {
    ...{ targets: ['projects/demo'], branchFrom: 'projects/demo', clock },
  })
  const [branch] = ours()
  branch!.isProtected = true
  const before = control.callCount('branch-delete')
  await daemon.close()
  assert.equal(control.callCount('branch-delete'), before)
  await log.seen(({ message }) => /could not be deleted.* is protected, and is not/.test(message))
  branch!.isProtected = false
  await purgeAll()
})

test('a later branch with the name of its own is neither extended nor deleted', async (t) => {
  const headers = { authorization: `Bearer ${env.DATABRICKS_TOKEN}` }
  for (const keepBranch of [false, true]) {
    const { daemon, log } = await proxyBefore(t, emulator, {
      ...{ targets: ['projects/demo'], branchFrom: 'projects/demo', branchTtl: '1h' },
      ...{ keepBranch, clock },
    })
    const { name } = ours()[0]!
    const url = `${emulator.workspaceUrl}/api/2.0/postgres/${name}?purge=true`
    assert.equal((await fetch(url, { method: 'DELETE', headers })).status, 200)
    const later = await control.createBranch('projects/demo', branchIdOf(name))
    const before = [control.callCount('branch-update'), control.callCount('branch-delete')]
    if (!keepBranch) {
      clock.jump(HOUR / 2)
      await log.seen(({ message }) => /be extended: .* and is left alone$/.test(message))
    }
    await daemon.close()
    await log.seen(({ message }) =>
      /^branch could not be (deleted|kept for longer): .* and is left alone$/.test(message),
    )
    const after = [control.callCount('branch-update'), control.callCount('branch-delete')]
    assert.deepEqual(after, before)
    assert.equal(control.branch(name), later)
    await fetch(url, { method: 'DELETE', headers })
  }
})

test('the library gives a branch the name that the command gives it', async (t) => {
  const folder = await temporaryFolder(t)
  const git = (...args: string[]): void => {
    const names = ['-c', 'user.name=a', '-c', 'user.email=a@b']
    execFileSync('git', ['-C', folder, ...names, ...args], { stdio: 'ignore' })
  }
  git('init', '-b', 'topic')
  git('commit', '--allow-empty', '-m', 'first')
  const command = startCli(t, ['start', ...FROM, '--port', '0', '--no-admin'], { env, cwd: folder })
  await command.saw(/lakebase-proxy has started/)
  const [name] = idsOf()
  command.kill('SIGTERM')
  await command.done
  await purgeAll()
  const cwd = process.cwd()
  process.chdir(folder)
  t.after(() => process.chdir(cwd))
  const own = { ...env, PATH: process.env.PATH }
  const proxy = await startProxy({
    ...{ targets: ['projects/demo'], branchFrom: 'projects/demo', port: 0, env: own },
  })
  t.after(() => proxy.close())
  assert.deepEqual(idsOf(), [name])
  await proxy.close()
  await purgeAll()
})
