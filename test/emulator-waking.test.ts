/** Endpoints of the emulator that wake, are young or are suspended: what the API and a login then say. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { beforeEach, test } from 'node:test'

import { demoUser } from '../src/emulator/inventory.js'
import { emulatorForTests, frontClient } from './support/emulator.js'
import type { Misbehaviour } from './support/emulator-control.js'
import { FakeClock, settle } from './support/fake-clock.js'

const clock = new FakeClock()
const emulator = await emulatorForTests({ clock })
const { control } = emulator
const path = 'projects/many/branches/dev/endpoints/primary'
const endpoint = control.endpoint(path)
const usual = { ...control.behaviour }

beforeEach(() => {
  Object.assign(control.behaviour, usual)
  endpoint.state = 'ACTIVE'
})

function client(host = endpoint.host) {
  const { text: password } = control.mintToken(demoUser)
  return frontClient(emulator, { host, user: demoUser.userName, password })
}

async function login(): Promise<void> {
  const each = client()
  await each.connect()
  await each.end()
}

async function status(): Promise<Record<string, unknown>> {
  const response = await fetch(`${emulator.workspaceUrl}/api/2.0/postgres/${path}`, {
    headers: { authorization: `Bearer ${demoUser.pat}` },
  })
  return ((await response.json()) as { status: Record<string, unknown> }).status
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await settle()
}

test('a connection to an idle endpoint is held until it is awake, and the API says that it wakes', async () => {
  control.behaviour.wakeMs = 15_000
  endpoint.state = 'IDLE'
  const loggedIn = login()
  await until(() => endpoint.pendingState === 'ACTIVE')
  const waking = await status()
  assert.deepEqual([waking.current_state, waking.pending_state], ['IDLE', 'ACTIVE'])
  await clock.advance(14_999)
  assert.equal(endpoint.state, 'IDLE')
  await clock.advance(1)
  await loggedIn
  const awake = await status()
  assert.deepEqual([awake.current_state, awake.pending_state], ['ACTIVE', undefined])
})

const texts: [Misbehaviour['whileWaking'], string, RegExp][] = [
  ['starting up', '57P03', /^the database system is starting up$/],
  ['no connection', '08006', /^could not connect to the compute$/],
  ['no compute', 'XX000', /^Couldn't connect to compute node$/],
  ['unavailable', 'XX000', /temporarily unavailable/],
]

for (const [whileWaking, code, message] of texts) {
  test(`a waking endpoint can answer ${code}, "${whileWaking}", until it is awake`, async () => {
    Object.assign(control.behaviour, { whileWaking, wakeMs: 15_000 })
    endpoint.state = 'IDLE'
    await assert.rejects(login(), { code, message })
    await clock.advance(14_999)
    await assert.rejects(login(), { code, message })
    await clock.advance(1)
    await login()
  })
}

test('an endpoint that is being made is unavailable, and a degraded one serves', async () => {
  endpoint.state = 'INIT'
  await assert.rejects(login(), { code: 'XX000', message: /temporarily unavailable/ })
  assert.equal((await status()).current_state, 'INIT')
  endpoint.state = 'DEGRADED'
  await login()
  assert.equal((await status()).current_state, 'DEGRADED')
})

test('a young branch refuses logins for a while, before the password or after it', async (t) => {
  const branch = control.branch('projects/many/branches/dev')
  const { createdAt } = branch
  t.after(() => {
    branch.createdAt = createdAt
  })
  control.behaviour.youngMs = 60_000
  branch.createdAt = clock.now()
  await assert.rejects(login(), { code: '28000', message: 'External authorization failed.' })
  control.behaviour.youngRefusal = 'password'
  await assert.rejects(login(), {
    ...{ code: '28P01', message: 'password authentication failed for user "ada@example.com"' },
  })
  await clock.advance(60_000)
  await login()
})

test('a suspend ends the sessions of its endpoint with 57P01 and no others, and a connection wakes it', async () => {
  const here = client()
  const elsewhere = client(
    control.endpoint('projects/demo/branches/production/endpoints/primary').host,
  )
  await Promise.all([here.connect(), elsewhere.connect()])
  const error = once(here, 'error')
  await control.suspendEndpoint(path)
  assert.equal(((await error) as [{ code: string }])[0].code, '57P01')
  assert.equal((await status()).current_state, 'IDLE')
  await elsewhere.query('select 1')
  await elsewhere.end()
  const woken = login()
  await until(() => endpoint.pendingState === 'ACTIVE')
  await clock.advance(control.behaviour.wakeMs)
  await woken
})
