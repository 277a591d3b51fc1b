/** What clients notice of a workspace, a DNS or a clock that fails: as little as can be. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RawClient, type ServerSaid } from './chaos/raw-client.js'
import { eventually, SettableClock, type World, within, worldBefore } from './chaos/world.js'
import { emulatorForTests } from './support/emulator.js'
import type { ApiFault } from './support/emulator-faults.js'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

/** The right time, by which the emulator judges tokens. A proxy may have another. */
const worldClock = new SettableClock()
const emulator = await emulatorForTests({ clock: worldClock })
const { control } = emulator
const { readWriteHost: host } = control.instance('demo-instance')
const startup = { user: 'anyone', database: 'databricks_postgres' }

async function logIn(world: Pick<World, 'port'>): Promise<'ready' | ServerSaid | undefined> {
  const client = await RawClient.connect(world.port)
  const answer = await client.login(startup)
  client.socket.destroy()
  return answer
}

/** What may go wrong with the workspace, and what its reason reads like. */
const outages: Record<string, { fault: ApiFault; reason: RegExp }> = {
  'answers 500': {
    fault: { status: 500 },
    reason: /^could not mint a database credential for "de/,
  },
  'answers 429': { fault: { status: 429 }, reason: /limits the rate of requests/ },
  'resets its connections': {
    fault: { how: 'reset' },
    reason: /^could not reach 127\.0\.0\.1:\d+/,
  },
  'sends a web page': { fault: { how: 'garbage' }, reason: /sent a web page where JSON was expec/ },
  'does not answer': { fault: { how: 'hang' }, reason: /did not answer within 0\.\d+ s/ },
}

test('a workspace that fails while the token is good: no client notices, and the log warns', async (t) => {
  for (const [what, { fault }] of Object.entries(outages)) {
    await t.test(what, async (t) => {
      const clock = new SettableClock()
      const world = await worldBefore(t, emulator, { clock, connectTimeout: '1s' })
      control.failApi('credentials', fault)
      clock.aheadMs += 52 * MINUTE_MS // its last ten minutes: stale
      for (let i = 0; i < 3; i++) assert.equal(await logIn(world), 'ready')
      const warning = await world.log.seen(({ message }) => /not refreshed/.test(message))
      assert.equal(warning.level, 'warn')
      assert.equal(await logIn(world), 'ready')
    })
  }
})

test('a workspace that fails once the token has expired: 57P03 with the reason, until it is back', async (t) => {
  for (const [what, { fault, reason }] of Object.entries(outages)) {
    await t.test(what, async (t) => {
      const clock = new SettableClock()
      const world = await worldBefore(t, emulator, { clock, connectTimeout: '1s' })
      control.failApi('credentials', fault)
      clock.aheadMs += 61 * MINUTE_MS
      const said = await within(5_000, logIn(world))
      assert.ok(typeof said === 'object')
      assert.equal(said.code, '57P03')
      assert.match(said.message, reason)
      control.clearFaults()
      assert.equal(await logIn(world), 'ready')
      await world.assertNothingLeft()
    })
  }
})

test('a workspace that is gone altogether, and a client that leaves meanwhile: the others get their answer', async (t) => {
  const clock = new SettableClock()
  const world = await worldBefore(t, emulator, { clock, connectTimeout: '1s' })
  control.failApi(undefined, { how: 'hang' })
  clock.aheadMs += 61 * MINUTE_MS
  const leaver = (await RawClient.connect(world.port)).startup(startup)
  const others = Array.from({ length: 20 }, () => logIn(world))
  leaver.socket.resetAndDestroy()
  for (const said of await within(5_000, Promise.all(others))) {
    assert.ok(typeof said === 'object' && said.code === '57P03')
  }
  await world.assertNothingLeft()
})

test('a credential that had expired before it came is 57P03, and says so', async (t) => {
  const clock = new SettableClock()
  const world = await worldBefore(t, emulator, { clock, connectTimeout: '1s' })
  control.behaviour.tokenTtlMs = -5_000
  t.after(() => {
    control.behaviour.tokenTtlMs = HOUR_MS
  })
  clock.aheadMs += 61 * MINUTE_MS
  const said = await logIn(world)
  assert.ok(typeof said === 'object' && said.code === '57P03')
  assert.match(said.message, /minted a credential that has already expired$/)
  assert.match(said.detail ?? '', /^It ended [4-6] s before it came\./)
})

test('after three hours asleep the first clients get a new token, with one request and no refusal', async (t) => {
  const world = await worldBefore(t, emulator, { clock: worldClock })
  const before = await RawClient.connect(world.port)
  assert.equal(await before.login(startup), 'ready')
  const calls = control.callCount('credentials')
  const dialled = world.relay.connections.length
  worldClock.aheadMs += 3 * HOUR_MS
  const answers = await Promise.all(Array.from({ length: 20 }, () => logIn(world)))
  assert.ok(answers.every((answer) => answer === 'ready'))
  assert.equal(control.callCount('credentials'), calls + 1)
  assert.equal(world.relay.connections.length, dialled + 20)
  before.query('select 1')
  assert.equal((await before.until('Z')).at(-1)?.type, 'Z')
  before.socket.destroy()
  await world.assertNothingLeft()
})

for (const hours of [2, -2]) {
  test(`a clock that is ${hours} hours wrong: a token’s life is counted by the workspace’s own`, async (t) => {
    control.behaviour.tokenTtlMs = 2_000
    t.after(() => {
      control.behaviour.tokenTtlMs = HOUR_MS
    })
    const clock = new SettableClock()
    clock.aheadMs = worldClock.aheadMs + hours * HOUR_MS
    const world = await worldBefore(t, emulator, { clock })
    const minted = control.mintedCount
    // Twice its life: a token that was kept too long would be refused, and dialled with again.
    await eventually(() => control.mintedCount >= minted + 3, 'it is not refreshed')
    const dialled = world.relay.connections.length
    assert.equal(await logIn(world), 'ready')
    assert.equal(world.relay.connections.length, dialled + 1)
  })
}

test('DNS that has died: the address that was good is used on, and at most one client waits for better', async (t) => {
  const world = await worldBefore(t, emulator)
  assert.equal(await logIn(world), 'ready')
  control.setDns(host, { addresses: [], failure: 'silence' })
  t.after(() => control.setDns(host, { addresses: ['127.0.0.1'] }))
  control.failFront({ at: 'accept', how: 'reset' }, 1) // a failed dial asks for the address again
  assert.equal(await within(8_000, logIn(world)), 'ready')
  for (let i = 0; i < 3; i++) assert.equal(await within(1_500, logIn(world)), 'ready')
  await world.assertNothingLeft()
})

test('DNS that never worked: 57P03 names the host and what to type', async (t) => {
  const { readWriteHost } = control.instance('second-instance')
  control.setDns(readWriteHost, { addresses: [], failure: 'NXDOMAIN' })
  t.after(() => control.setDns(readWriteHost, { addresses: ['127.0.0.1'] }))
  const world = await worldBefore(t, emulator, { targets: ['second-instance'] })
  const said = await logIn(world)
  assert.ok(typeof said === 'object' && said.code === '57P03')
  assert.equal(said.message, `could not translate host name "${readWriteHost}" to address`)
  assert.match(said.hint ?? '', /--hostaddr/)
})
