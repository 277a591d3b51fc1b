/** Clients that leave at every phase, that only look in, and that cancel: nothing is left of them. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { FrontPhase } from '../src/emulator/front-connection.js'
import { cancelRequest, message, RawClient, startupPacket } from './chaos/raw-client.js'
import { eventually, SettableClock, type World, within, worldBefore } from './chaos/world.js'
import { emulatorForTests } from './support/emulator.js'
import { connectedClient } from './support/proxy.js'

const emulator = await emulatorForTests()
const { control } = emulator
const startup = { user: 'anyone', database: 'databricks_postgres' }

function phaseOf(world: World): string | undefined {
  const [session] = world.daemon.targets[0]!.listener.sessions
  return session?.phase
}

const leaving = {
  resets: (client: RawClient) => client.socket.resetAndDestroy(),
  'hangs up': (client: RawClient) => client.socket.destroy(),
}

/** Where the server is made to hang, and what the session calls it. */
const hangs: readonly (readonly [FrontPhase, string])[] = [
  ['accept', 'tls'],
  ['ssl-request', 'tls'],
  ['tls', 'tls'],
  ['startup', 'login'],
  ['password', 'login'],
  ['greeting', 'login'],
]

for (const [how, leave] of Object.entries(leaving)) {
  test(`a client that ${how} while its server is dialled takes the dial with it, in every phase`, async (t) => {
    const world = await worldBefore(t, emulator)
    for (const [at, phase] of hangs) {
      await t.test(at, async () => {
        control.clearFaults()
        control.failFront({ at, how: 'hang' })
        const dialled = world.relay.connections.length
        const client = (await RawClient.connect(world.port)).startup(startup)
        const connection = await world.relay.connection(dialled)
        await eventually(() => phaseOf(world) === phase, `it does not come to ${phase}`)
        leave(client)
        await within(5_000, connection.left)
        await world.assertNothingLeft()
        assert.equal(world.ends().at(-1)?.outcome, 'client left')
        assert.equal(world.relay.connections.length, dialled + 1, 'it was dialled again')
      })
    }
    control.clearFaults()
  })

  test(`a client that ${how} before its StartupMessage is not logged as an error`, async (t) => {
    const world = await worldBefore(t, emulator)
    const packet = startupPacket(startup)
    for (let length = 0; length < packet.length; length++) {
      const client = await RawClient.connect(world.port)
      if (length > 0) client.send(packet.subarray(0, length))
      leave(client)
    }
    await world.assertNothingLeft()
    assert.equal(world.relay.connections.length, 0)
  })

  test(`a client that ${how} while the workspace is asked is not dialled for`, async (t) => {
    const clock = new SettableClock()
    const world = await worldBefore(t, emulator, { clock })
    clock.aheadMs += 2 * 3600_000 // the token has expired
    control.failApi('credentials', { how: 'hang' })
    const client = (await RawClient.connect(world.port)).startup(startup)
    await eventually(() => phaseOf(world) === 'resolve', 'it does not ask')
    leave(client)
    await world.assertNothingLeft()
    assert.equal(world.ends().at(-1)?.outcome, 'client left')
    assert.equal(world.relay.connections.length, 0)
  })

  test(`a client that ${how} in the middle of an answer takes its server connection with it`, async (t) => {
    const world = await worldBefore(t, emulator)
    const client = await RawClient.connect(world.port)
    assert.equal(await client.login(startup), 'ready')
    client.query("select repeat('x', 1000) from generate_series(1, 1000000)")
    await client.read(500_000)
    leave(client)
    await within(5_000, world.relay.connections[0]!.left)
    await world.assertNothingLeft()
  })
}

test('a client that has said all it wants and ends its side gets all of the answer', async (t) => {
  const world = await worldBefore(t, emulator)
  const client = await RawClient.connect(world.port)
  client.startup(startup)
  client.send(message('Q', "select repeat('x', 1000) from generate_series(1, 20000)\0"))
  client.socket.end()
  const answer = await client.rest()
  assert.equal(answer.toString('latin1').match(/x{1000}/g)?.length, 20_000)
  await world.assertNothingLeft()
})

test('a cancel whose client has left arrives, however long its way takes', async (t) => {
  const world = await worldBefore(t, emulator)
  const client = await RawClient.connect(world.port)
  client.startup(startup)
  const greeting = await client.until('Z')
  const key = greeting.find(({ type }) => type === 'K')!.body
  client.query('select pg_sleep(60)')
  await eventually(() => world.relay.connections[0]!.passed.up > 0, 'nothing goes up')
  world.relay.plan = () => [{ how: 'delay', direction: 'down', ms: 100 }]
  const canceller = await RawClient.connect(world.port)
  canceller.send(cancelRequest(key)).socket.destroy()
  const answer = await within(5_000, client.until('Z'))
  assert.match(answer.find(({ type }) => type === 'E')!.body.toString(), /C57014/)
  client.socket.destroy()
  await world.assertNothingLeft()
})

test('a flood of cancels with made-up keys: sessions go on, new ones get in, and few are under way at once', async (t) => {
  const world = await worldBefore(t, emulator, { maxConnections: 2 })
  const bystander = await connectedClient(t, world.port, { database: 'databricks_postgres' })
  world.relay.plan = () => [{ how: 'delay', direction: 'down', ms: 20 }]
  const flood = Promise.all(
    Array.from({ length: 300 }, async () => {
      const client = await RawClient.connect(world.port)
      await client.send(cancelRequest(Buffer.from('0000000000000000', 'hex'))).rest()
      client.socket.destroy()
    }),
  )
  let most = 0
  const watch = setInterval(() => {
    most = Math.max(most, world.relay.openCount)
  }, 1)
  let isOver = false
  const done = flood.finally(() => {
    clearInterval(watch)
    isOver = true
  })
  while (!isOver) {
    await within(20_000, bystander.query('select 1'))
    const client = await RawClient.connect(world.port)
    assert.equal(await within(20_000, client.login(startup)), 'ready')
    client.socket.destroy()
    await eventually(() => world.daemon.targets[0]!.sessions.admitted === 1, 'it does not leave')
  }
  await done
  assert.ok(most <= 16 + 3, `${most} connections to the server at once`)
  await bystander.end()
  await world.assertNothingLeft()
})

test('ten thousand probes that connect and leave cost nothing: no file, no line in the log', async (t) => {
  const world = await worldBefore(t, emulator)
  const lines = world.log.lines.filter(({ level }) => level !== 'debug').length
  for (let round = 0; round < 50; round++) {
    await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const client = await RawClient.connect(world.port)
        if (i % 2 === 0) client.socket.resetAndDestroy()
        else client.socket.destroy()
        await client.closed
      }),
    )
  }
  await world.assertNothingLeft()
  assert.equal(world.log.lines.filter(({ level }) => level !== 'debug').length, lines)
  assert.equal(world.relay.connections.length, 0)
})
