/** A server that does not even take the call: its machine is gone, or a firewall drops all that comes. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { deafPort, needsDeafPort as skip } from './chaos/deaf-port.js'
import { cancelRequest, RawClient } from './chaos/raw-client.js'
import { eventually, type World, within, worldBefore } from './chaos/world.js'
import { emulatorForTests } from './support/emulator.js'
import { FakeClock } from './support/fake-clock.js'
import { proxyBefore } from './support/proxy.js'

const emulator = await emulatorForTests()
const startup = { user: 'anyone', database: 'databricks_postgres' }
const KEY = Buffer.from('00000001ffffffff', 'hex')

function phaseOf({ daemon }: Pick<World, 'daemon'>): string | undefined {
  const [session] = daemon.targets[0]!.listener.sessions
  return session?.phase
}

test('it costs connect-timeout and no more, and the client is told', { skip }, async (t) => {
  const deaf = await deafPort(t)
  const world = await worldBefore(t, emulator, { upstreamPort: deaf.port, connectTimeout: '500ms' })
  const client = await RawClient.connect(world.port)
  const said = await within(2_000, client.login(startup))
  assert.ok(typeof said === 'object')
  assert.equal(said.code, '57P03')
  assert.match(said.message, /^connection to server at .* failed: timeout expired$/)
  client.socket.end()
  await world.assertNothingLeft()
  assert.equal(await deaf.callers(), 0)
})

for (const [how, leave] of [
  ['resets', (client: RawClient) => client.socket.resetAndDestroy()],
  ['hangs up', (client: RawClient) => client.socket.destroy()],
] as const) {
  test(`a client that ${how} meanwhile takes the dial with it`, { skip }, async (t) => {
    const deaf = await deafPort(t)
    const world = await worldBefore(t, emulator, { upstreamPort: deaf.port })
    const client = (await RawClient.connect(world.port)).startup(startup)
    await eventually(() => phaseOf(world) === 'dial', 'it is not dialled')
    while ((await deaf.callers()) !== 1);
    leave(client)
    await world.assertNothingLeft()
    assert.equal(world.ends().at(-1)?.outcome, 'client left')
    assert.equal(await deaf.callers(), 0)
  })
}

test('a cancel on its way there is given up on after 10 s, and its client was let go with it', {
  skip,
}, async (t) => {
  const deaf = await deafPort(t)
  const clock = new FakeClock()
  const proxy = await proxyBefore(t, emulator, { upstreamPort: deaf.port, clock })
  await proxy.daemon.targets[0]!.prime()
  const canceller = (await RawClient.connect(proxy.port)).send(cancelRequest(KEY))
  while ((await deaf.callers()) === 0);
  await clock.advance(10_000)
  assert.equal((await within(2_000, canceller.rest())).length, 0)
  const { facts } = await proxy.log.seen(
    ({ message }) => message === 'cancel request not delivered',
  )
  assert.match(String(facts.reason), /timeout expired/)
  assert.equal(await deaf.callers(), 0)
})

test('a client and a cancel that are on their way there hold no end of the proxy up', {
  skip,
}, async (t) => {
  const deaf = await deafPort(t)
  const world = await worldBefore(t, emulator, { upstreamPort: deaf.port })
  const client = (await RawClient.connect(world.port)).startup(startup)
  const canceller = (await RawClient.connect(world.port)).send(cancelRequest(KEY))
  while ((await deaf.callers()) < 2);
  await within(1_500, world.daemon.close())
  assert.match((await client.rest()).toString(), /57P03.*the proxy is shutting down/)
  assert.equal((await canceller.rest()).length, 0)
  assert.equal(await deaf.callers(), 0)
})
