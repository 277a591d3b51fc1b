/** Databases that are stopped, disabled, asleep or brand new, and the clients that come meanwhile. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type pg from 'pg'

import { demoInventory, instance } from '../src/emulator/inventory.js'
import { emulatorForTests } from './support/emulator.js'
import { proxyBefore } from './support/proxy.js'
import { ask, proxyForTests } from './support/started-proxy.js'

const inventory = demoInventory(Date.now())
// Two of one name, of which the API sees the first only: deleted, and created again.
inventory.instances.push(
  instance('recreated', 'AVAILABLE', 0),
  instance('recreated', 'AVAILABLE', 0),
)
const emulator = await emulatorForTests({ inventory, transitionMs: 1_500 })
const { control } = emulator
const DISABLED = 'projects/many/branches/disabled/endpoints/primary'
const ENDPOINT = 'projects/demo/branches/production/endpoints/primary'
const BRANCH = 'projects/demo/branches/production'
const WAKING = {
  severity: 'FATAL',
  sqlState: '57P03',
  message: 'the database system is starting up',
} as const
const REFUSED = {
  severity: 'FATAL',
  sqlState: '28000',
  message: 'External authorization failed.',
  detail:
    'This could be due to paused instances, disabling readable secondaries, IP ACLs or private link configuration.',
} as const

async function refusal(port: number): Promise<pg.DatabaseError> {
  try {
    await ask(port, 'select 1')
  } catch (error) {
    return error as pg.DatabaseError
  }
  throw new assert.AssertionError({ message: 'the connection was not refused' })
}

test('a client of a stopped instance reads so, and what to type', async () => {
  const { proxy, port } = await proxyForTests(emulator, { targets: ['stopped-instance'] })
  const error = await refusal(port)
  assert.deepEqual(
    [error.code, error.message],
    ['28000', 'database instance "stopped-instance" is stopped'],
  )
  assert.match(error.hint ?? '', /lakebase-proxy instances start stopped-instance/)
  assert.match(error.detail ?? '', /STOPPED/)
  await proxy.close()
})

test('an instance that is started meanwhile serves the next client', async () => {
  const { proxy, port } = await proxyForTests(emulator, { targets: ['stopped-instance'] })
  assert.equal((await refusal(port)).code, '28000')
  control.setInstanceState('stopped-instance', 'AVAILABLE')
  assert.equal((await ask(port, 'select 1 as one')).rows[0].one, 1)
  control.stopInstance('stopped-instance')
  await proxy.close()
})

test('an instance stopped under our feet is told of by its state, not by the front door’s riddle', async () => {
  const { proxy, port } = await proxyForTests(emulator, { targets: ['second-instance'] })
  await ask(port, 'select 1')
  control.stopInstance('second-instance')
  assert.equal((await refusal(port)).message, 'database instance "second-instance" is stopped')
  control.setInstanceState('second-instance', 'DELETING')
  assert.match((await refusal(port)).message, /is being deleted/)
  control.setInstanceState('second-instance', 'AVAILABLE')
  await proxy.close()
})

test('with auto-start ten clients at once start it once, wait, and work', async () => {
  const { proxy, port } = await proxyForTests(emulator, {
    targets: ['stopped-instance'],
    autoStart: true,
  })
  const before = control.callCount('instance-update')
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => ask(port, 'select 1 as one', { connectionTimeoutMillis: 0 })),
  )
  assert.deepEqual(
    answers.map(({ rows }) => rows[0].one),
    Array(10).fill(1),
  )
  assert.equal(control.callCount('instance-update') - before, 1)
  control.stopInstance('stopped-instance')
  await proxy.close()
})

test('with auto-start and too little time, the clients read that it is still starting', async () => {
  control.behaviour.transitionMs = 60_000
  const { proxy, port } = await proxyForTests(emulator, {
    targets: ['stopped-instance'],
    autoStart: true,
    startTimeout: '1s',
  })
  const error = await refusal(port)
  assert.equal(error.code, '57P03')
  assert.match(error.message, /"stopped-instance" did not become available in 1 s/)
  assert.match(error.hint ?? '', /--start-timeout/)
  control.behaviour.transitionMs = 1_500
  control.stopInstance('stopped-instance')
  await proxy.close()
})

test('a disabled endpoint is told of: no connection enables it', async () => {
  const { proxy, port } = await proxyForTests(emulator, { targets: [DISABLED] })
  const error = await refusal(port)
  assert.deepEqual([error.code, error.message], ['28000', `endpoint "${DISABLED}" is disabled`])
  await proxy.close()
})

test('with auto-start a client that comes while it starts is held as long, no matter who started it', async () => {
  // Longer than connect-timeout, which on a busy machine must still be enough for a login.
  control.behaviour.transitionMs = 4_000
  const { proxy, port } = await proxyForTests(emulator, {
    targets: ['stopped-instance'],
    autoStart: true,
    connectTimeout: '3s',
  })
  const before = control.callCount('instance-update')
  control.startInstance('stopped-instance')
  const client = { connectionTimeoutMillis: 0 }
  assert.equal((await ask(port, 'select 1 as one', client)).rows[0].one, 1)
  assert.equal(control.callCount('instance-update'), before)
  control.behaviour.transitionMs = 1_500
  control.stopInstance('stopped-instance')
  await proxy.close()
})

test('with auto-start, what no start helps is told of at once', async () => {
  const { proxy, port } = await proxyForTests(emulator, {
    targets: [DISABLED, 'second-instance'],
    autoStart: true,
  })
  assert.match((await refusal(port)).message, /is disabled/)
  control.setInstanceState('second-instance', 'DELETING')
  assert.match((await refusal(proxy.addresses[1]!.port)).message, /is being deleted/)
  control.setInstanceState('second-instance', 'AVAILABLE')
  await proxy.close()
})

test('an instance that is deleted is told of as such, and found at its new host when created again', async () => {
  const { proxy, port } = await proxyForTests(emulator, { targets: ['recreated'] })
  await ask(port, 'select 1')
  const at = inventory.instances.findIndex(({ name }) => name === 'recreated')
  const [old, renewed] = inventory.instances.splice(at, 2)
  old!.state = 'DELETING' // for the front door, which still knows its host
  const error = await refusal(port)
  assert.deepEqual([error.code, error.routine], ['57P03', undefined])
  assert.match(error.message, /^database instance "recreated" does not exist in /)
  inventory.instances.push(renewed!)
  assert.equal((await ask(port, 'select 1 as one')).rows[0].one, 1)
  assert.equal(control.logins.at(-1)!.host, renewed!.readWriteHost)
  await proxy.close()
})

test('where the state is fine, an IP access list or a private link is to blame, and it says so at once', async () => {
  const { proxy, port } = await proxyForTests(emulator)
  control.failFront({ at: 'startup', refuse: REFUSED }, 1)
  const error = await refusal(port)
  assert.deepEqual([error.code, error.message], ['28000', 'External authorization failed.'])
  assert.match(error.hint ?? '', /IP access list or a private link/)
  await proxy.close()
})

test('a login refused because the instance was just starting is tried again, not explained', async (t) => {
  control.setInstanceState('second-instance', 'STARTING')
  const { daemon, port } = await proxyBefore(t, emulator, { targets: ['second-instance'] })
  await daemon.targets[0]!.prime()
  control.setInstanceState('second-instance', 'AVAILABLE')
  control.failFront({ at: 'startup', refuse: REFUSED }, 1)
  assert.equal((await ask(port, 'select 1 as one')).rows[0].one, 1)
})

test('a branch younger than five minutes is tried again, an older one is not', async () => {
  const { proxy, port } = await proxyForTests(emulator, { targets: [ENDPOINT] })
  await ask(port, 'select 1')
  const { createdAt } = control.branch(BRANCH)
  control.branch(BRANCH).createdAt = Date.now() - 60_000
  control.failFront({ at: 'startup', refuse: REFUSED }, 2)
  assert.equal((await ask(port, 'select 1 as one')).rows[0].one, 1)
  control.branch(BRANCH).createdAt = createdAt
  control.failFront({ at: 'startup', refuse: REFUSED }, 1)
  assert.equal((await refusal(port)).code, '28000')
  await proxy.close()
})

for (const [what, fault] of [
  ['resets at first', { at: 'accept', how: 'reset' }],
  ['closes before TLS', { at: 'tls', how: 'close' }],
  [
    'says 57P03',
    {
      at: 'startup',
      refuse: WAKING,
    },
  ],
] as const) {
  test(`a waking endpoint that ${what} is tried again until it is awake`, async () => {
    const { proxy, port } = await proxyForTests(emulator, { targets: [ENDPOINT] })
    control.failFront(fault, 3)
    assert.equal((await ask(port, 'select 1 as one')).rows[0].one, 1)
    await proxy.close()
  })
}

test('a server that does not wake within wake-timeout is 57P03, in its own words', async () => {
  const { proxy, port } = await proxyForTests(emulator, {
    targets: [ENDPOINT],
    connectTimeout: '1s',
    wakeTimeout: '1s',
  })
  control.failFront({
    at: 'startup',
    refuse: WAKING,
  })
  const error = await refusal(port)
  assert.deepEqual([error.code, error.message], ['57P03', 'the database system is starting up'])
  assert.match(error.detail ?? '', /Tried for 1 s/)
  control.clearFaults()
  await proxy.close()
})
