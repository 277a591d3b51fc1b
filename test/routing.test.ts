/** One port for many targets: how clients choose one, and which errors they get. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import type pg from 'pg'

import { takeTargetOption } from '../src/session/target-choice.js'
import type { WireText } from '../src/wire/frontend.js'
import { emulatorForTests, needsPsql } from './support/emulator.js'
import { cancel, connectedClient, proxyBefore, psql, run, type TestProxy } from './support/proxy.js'

const emulator = await emulatorForTests()
const { control } = emulator

const TARGETS = [{ target: 'demo-instance', name: 'orders' }, 'second-instance'] as const
const ON = { targets: TARGETS, route: 'on' } as const
const hosts = {
  orders: control.instance('demo-instance').readWriteHost,
  second: control.instance('second-instance').readWriteHost,
}

let asked = 0

/** The host that a client of this user name, or of these settings, is led to. */
async function hostOf(
  t: TestContext,
  { port }: TestProxy,
  config: pg.ClientConfig,
): Promise<string | undefined> {
  const name = `asked ${++asked}`
  const client = await connectedClient(t, port, { ...config, application_name: name })
  await client.end()
  const login = control.logins.find(({ parameters }) => parameters.get('application_name') === name)
  return login?.host
}

test('a client chooses its target by the user name, and any other user name goes to the first', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  const choices = {
    orders: hosts.orders,
    'demo-instance': hosts.orders,
    'second-instance': hosts.second,
    'alice~second-instance': hosts.second,
    'a~b~second-instance': hosts.second,
    '~second-instance': hosts.second,
    anyone: hosts.orders,
    'second-instanc': hosts.orders,
    'Second-Instance': hosts.orders,
    'prøjects/x': hosts.orders,
  }
  for (const [user, host] of Object.entries(choices)) {
    assert.equal(await hostOf(t, proxy, { user }), host, user)
  }
})

test('a client chooses its target in options, which go to the server without the choice', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  for (const options of [
    '-c lakebase.target=second-instance -c geqo=off',
    '-c geqo=off -clakebase.target=second-instance',
    '--lakebase.target=second-instance --geqo=off',
    '-c geqo=off -c LakeBase.Target=second-instance',
  ]) {
    assert.equal(await hostOf(t, proxy, { options }), hosts.second, options)
    const { parameters } = control.logins.at(-1)!
    assert.doesNotMatch(parameters.get('options') ?? '', /lakebase/i)
    assert.match(parameters.get('options') ?? '', /geqo=off/)
  }
  const both = { user: 'orders', options: '-c lakebase.target=second-instance' }
  assert.equal(await hostOf(t, proxy, both), hosts.orders, 'the user name wins')
  assert.equal(control.logins.at(-1)!.parameters.has('options'), false)
})

test('a choice that is not served is refused with the names that are, without asking the workspace', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  await connectedClient(t, proxy.port)
  const calls = control.callCount()
  const refused = {
    code: '3D000',
    message: 'target "nowhere" is not served here',
    hint: 'Name one of them as the user, as in: psql -U orders',
  }
  for (const config of [
    { user: 'alice~nowhere' },
    { user: 'x~~nowhere' },
    { options: '-c lakebase.target=nowhere' },
  ]) {
    await assert.rejects(connectedClient(t, proxy.port, config), (error: pg.DatabaseError) => {
      assert.match(error.detail ?? '', /^This lakebase-proxy serves orders, second-instance\.\n/)
      const { code, message, hint } = error
      assert.deepEqual({ code, message, hint }, refused)
      return true
    })
  }
  await assert.rejects(connectedClient(t, proxy.port, { user: 'projects/shop/branches/dev' }), {
    code: '3D000',
  })
  assert.equal(control.callCount(), calls)
  assert.equal(proxy.daemon.status().targets[0]!.state, 'ready', 'it is the client who is wrong')
})

test('a mistyped lakebase.target never leads to the first target', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  for (const options of ['-c lakebase.traget=second-instance', '--Lakebase.Traget=a -c geqo=off']) {
    await assert.rejects(connectedClient(t, proxy.port, { options }), (error: pg.DatabaseError) => {
      assert.equal(error.code, '3D000')
      assert.match(error.message, /^unknown option "lakebase\.traget"$/i)
      assert.match(error.hint ?? '', /is lakebase\.target, as in: -c lakebase\.target=orders$/)
      return true
    })
  }
  const options = '-c lakebase.traget=second-instance'
  assert.equal(await hostOf(t, proxy, { user: 'second-instance', options }), hosts.second)
})

test('with route=required a client that names no target is refused', async (t) => {
  const proxy = await proxyBefore(t, emulator, { ...ON, route: 'required' })
  await assert.rejects(connectedClient(t, proxy.port), {
    code: '3D000',
    message: 'the client names no target',
  })
  assert.equal(await hostOf(t, proxy, { user: 'orders' }), hosts.orders)
})

test('only the first target listens, and one with a port of its own, which is for it alone', async (t) => {
  const proxy = await proxyBefore(t, emulator, {
    targets: [...TARGETS, { target: 'projects/demo', port: 0 }],
    route: 'on',
  })
  const [first, second, third] = proxy.daemon.targets
  assert.deepEqual(second!.listener.addresses, first!.listener.addresses)
  assert.notEqual(third!.listener.port, first!.listener.port)
  const atThird = { ...proxy, port: third!.listener.port }
  assert.match((await hostOf(t, atThird, { user: 'orders' })) ?? '', /^ep-/)
  assert.match((await hostOf(t, proxy, { user: 'projects/demo' })) ?? '', /^ep-/)
})

test('ROLE~NAME logs in as that role with user=client, and a name alone says that it wants one', async (t) => {
  const proxy = await proxyBefore(t, emulator, { ...ON, user: 'client' })
  const client = await connectedClient(t, proxy.port, { user: 'ada@example.com~second-instance' })
  const { rows } = await client.query('select current_user as role')
  assert.equal(rows[0].role, 'ada@example.com')
  await assert.rejects(connectedClient(t, proxy.port, { user: 'orders' }), {
    code: '28000',
    hint: 'Name both, as in ROLE~orders: this target logs in as the role that the client names.',
  })
})

test('a database named like the choice is libpq’s default: the target’s own takes its place', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  for (const user of ['orders', 'alice~orders']) {
    const client = await connectedClient(t, proxy.port, { user, database: user })
    const { rows } = await client.query('select current_database() as name')
    assert.equal(rows[0].name, 'databricks_postgres')
  }
})

test('limits and metrics are those of the target that the session went to', async (t) => {
  const proxy = await proxyBefore(t, emulator, {
    targets: [TARGETS[0], { target: 'second-instance', maxConnections: 1 }],
    route: 'on',
  })
  await connectedClient(t, proxy.port, { user: 'second-instance' })
  await assert.rejects(connectedClient(t, proxy.port, { user: 'second-instance' }), {
    code: '53300',
  })
  await connectedClient(t, proxy.port, { user: 'orders' })
  const { targets, sessions } = proxy.daemon.status()
  assert.deepEqual(
    targets.map(({ name, sessionsOpen, totals }) => [name, sessionsOpen, totals.connected]),
    [
      ['orders', 1, 1],
      ['second-instance', 1, 1],
    ],
  )
  assert.deepEqual(sessions.map(({ target }) => target).sort(), ['orders', 'second-instance'])
})

test('a cancel goes to where its session is', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  const client = await connectedClient(t, proxy.port, { user: 'second-instance' })
  const cancelled = assert.rejects(client.query('select pg_sleep(60)'), { code: '57014' })
  await cancel(proxy.port, client)
  await cancelled
  assert.equal(proxy.daemon.status().targets[1]!.totals.cancels, 1)
})

test('psql chooses by -U and in a URI, and \\c stays at its target', {
  skip: needsPsql,
}, async (t) => {
  const { port } = await proxyBefore(t, emulator, ON)
  const before = control.logins.length
  const flags = ['-XAtq', '-h', '127.0.0.1', '-p', `${port}`, '-U', 'second-instance']
  const then = ['-c', '\\c postgres', '-c', 'select current_database()']
  assert.equal((await run('psql', [...flags, ...then])).stdout, 'postgres\n')
  const uri = `postgresql://second-instance@127.0.0.1:${port}/databricks_postgres`
  assert.equal((await psql(uri, 'select 1')).stdout, '1\n')
  const option = `postgresql://anyone@127.0.0.1:${port}/?options=-c%20lakebase.target%3Dsecond-instance`
  assert.equal((await psql(option, 'select 1')).stdout, '1\n')
  const made = control.logins.slice(before)
  assert.ok(made.length >= 3)
  assert.deepEqual(new Set(made.map(({ host }) => host)), new Set([hosts.second]))
})

test('options are taken apart as PostgreSQL does, and what stays is byte for byte as it was sent', () => {
  const cases: Record<string, [string | undefined, string]> = {
    '': [undefined, ''],
    '-c lakebase.target=a': ['a', ''],
    ' \t-c  lakebase.target=a\n -c x=1': ['a', '-c x=1'],
    '-c lakebase.target=a -c lakebase.target=b': ['b', ''],
    '-c lakebase.target=a\\ b -c search_path=x\\ y\\\\': ['a b', '-c search_path=x\\ y\\\\'],
    '-c lakebase.target=': ['', ''],
    '-c lakebase.targets=a': [undefined, '-c lakebase.targets=a'],
    '-c xlakebase.target=a': [undefined, '-c xlakebase.target=a'],
    // The argument of a switch is not a switch.
    '-c -clakebase.target=a': [undefined, '-c -clakebase.target=a'],
    '-B -c lakebase.target=a': [undefined, '-B -c lakebase.target=a'],
    'lakebase.target=a': [undefined, 'lakebase.target=a'],
    '-c': [undefined, '-c'],
    '-c lakebase.target=a \\': ['a', '\\'],
    '\\-c lakebase.target=a': ['a', ''],
  }
  for (const [sent, [name, rest]] of Object.entries(cases)) {
    const { unknown, ...taken } = takeTargetOption(sent as WireText)
    assert.deepEqual(taken, { name, rest }, sent)
    assert.equal(unknown, sent.includes(' lakebase.targets') ? 'lakebase.targets' : undefined, sent)
  }
})
