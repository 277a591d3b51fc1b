/** What becomes of a session when the way to the server fails, at every point of its life. */

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'

import { RawClient } from './chaos/raw-client.js'
import { Relay } from './chaos/relay.js'
import { type World, within, worldBefore } from './chaos/world.js'
import { emulatorForTests } from './support/emulator.js'

const emulator = await emulatorForTests()
const { control } = emulator
const { readWriteHost: host } = control.instance('demo-instance')
const startup = { user: 'anyone', database: 'databricks_postgres' }

async function loggedIn(world: Pick<World, 'port'>): Promise<RawClient> {
  const client = await RawClient.connect(world.port)
  assert.equal(await client.login(startup), 'ready')
  return client
}

test('a server that breaks in the middle of a query: what came of the answer is delivered, then the end', async (t) => {
  const world = await worldBefore(t, emulator)
  world.relay.plan = () => [{ how: 'reset', direction: 'down', atByte: 300_000 }]
  const client = await loggedIn(world)
  client.query("select repeat('x', 1000) from generate_series(1, 10000)")
  const answer = await client.rest()
  assert.ok(answer.length > 200_000 && answer.length < 300_000, `${answer.length} bytes came`)
  assert.equal(client.socket.errored, null)
  client.socket.end()
  await world.assertNothingLeft()
  const [end] = world.ends()
  assert.equal(end?.bytesDown, answer.length)
  const blamed = end?.outcome === 'upstream reset' || end?.reason === 'server closed the connection'
  assert.ok(blamed, `the log blames ${end?.outcome}`)
})

test('an administrator who ends a session is quoted to its client, word for word', async (t) => {
  const world = await worldBefore(t, emulator)
  const client = await loggedIn(world)
  client.query('select pg_backend_pid()')
  const row = (await client.until('Z')).find(({ type }) => type === 'D')
  const pid = row!.body.toString('utf8', 6)
  await control.query(`select pg_terminate_backend(${pid})`)
  assert.match((await client.rest()).toString(), /57P01.*terminating connection due to admin/)
  client.socket.end()
  await world.assertNothingLeft()
  assert.equal(world.ends()[0]?.reason, 'the compute was suspended or restarted')
})

test('a bit turned over on its way is a broken connection, never a wrong byte', async (t) => {
  const world = await worldBefore(t, emulator)
  for (const direction of ['down', 'up'] as const) {
    const atByte = direction === 'down' ? 50_000 : 4_000
    world.relay.plan = () => [{ how: 'corrupt', direction, atByte }]
    const client = await loggedIn(world)
    const row = 'y'.repeat(1000)
    client.query(`select repeat('y', 1000), '${row}' from generate_series(1, 1000)`)
    for (let i = 0; i < 5; i++) client.query(`select '${row}'`)
    const answer = (await client.rest()).toString()
    const runs = [...answer.matchAll(/y+/g)].map(([run]) => run.length)
    assert.ok(runs.slice(0, -1).every((length) => length === 1000))
    assert.ok(runs.length < 2_000, 'no fault was used')
    client.socket.end()
  }
  assert.deepEqual(
    world.relay.connections.map(({ met }) => met.length),
    [1, 1],
  )
  await world.assertNothingLeft()
})

const silences = {
  'before SSLRequest is answered': { direction: 'down', atByte: 0 },
  'in the TLS handshake': { direction: 'up', atByte: 100 },
  'in the login': { direction: 'down', atByte: 1_600 },
} as const

for (const [when, where] of Object.entries(silences)) {
  test(`a server that falls silent ${when} costs connect-timeout and no more, and the client is told`, async (t) => {
    const world = await worldBefore(t, emulator, { connectTimeout: '500ms' })
    world.relay.plan = () => [{ how: 'black-hole', ...where }]
    const client = await RawClient.connect(world.port)
    const said = await within(5_000, client.login(startup))
    assert.ok(typeof said === 'object')
    assert.equal(said.code, '57P03')
    assert.match(said.message, /timeout expired$/)
    assert.match(said.hint ?? '', /doctor/)
    client.socket.end()
    await world.assertNothingLeft()
  })
}

test('a server that falls silent in a session: its client may leave at any time, and idle-timeout ends it', async (t) => {
  const world = await worldBefore(t, emulator, { idleTimeout: '500ms' })
  const [first, second] = [await loggedIn(world), await loggedIn(world)]
  for (const each of world.relay.connections) each.blackHole()
  first.socket.resetAndDestroy()
  await within(5_000, world.relay.connections[0]!.left)
  second.query('select 1')
  assert.equal((await within(5_000, second.rest())).length, 0)
  await world.assertNothingLeft()
  assert.deepEqual(
    world.ends().map(({ outcome }) => outcome),
    ['client reset', 'idle timeout'],
  )
})

test('both legs ask for keep-alives, so that a peer that is gone is noticed', async (t) => {
  const world = await worldBefore(t, emulator)
  const client = await loggedIn(world)
  const timers = await keepAliveTimers([client.socket.localPort!, world.port], world.relay.port)
  if (timers === undefined) return t.skip('no /proc/net/tcp here')
  assert.deepEqual(timers, { local: true, upstream: true })
  client.socket.end()
})

/** Linux tells the timer of each connection: 02 is the keep-alive one. */
async function keepAliveTimers(
  [clientPort, port]: readonly [number, number],
  upstreamPort: number,
): Promise<{ local: boolean; upstream: boolean } | undefined> {
  const text = await readFile('/proc/net/tcp', 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const lines = text.split('\n').map((line) => line.trim().split(/\s+/))
  const hex = (each: number): string => `:${each.toString(16).toUpperCase().padStart(4, '0')}`
  const hasTimer = (isIt: (local: string, remote: string) => boolean): boolean =>
    lines.some(([, local = '', remote = '', , , timer = '']) => {
      return isIt(local, remote) && timer.startsWith('02:')
    })
  return {
    local: hasTimer((near, far) => near.endsWith(hex(port)) && far.endsWith(hex(clientPort))),
    upstream: hasTimer((_, far) => far.endsWith(hex(upstreamPort))),
  }
}

test('a server whose address has changed is found again by the client that first misses it', async (t) => {
  const world = await worldBefore(t, emulator)
  const moved = await Relay.start({
    ...{ host: '127.0.0.2', port: world.relay.port, to: { port: emulator.frontPort } },
  }).catch(() => undefined)
  if (moved === undefined) return t.skip('127.0.0.2 is not an address of this machine')
  t.after(() => moved.close())
  t.after(() => control.setDns(host, { addresses: ['127.0.0.1'] }))
  control.setDns(host, { addresses: ['127.0.0.2'] })
  await world.relay.close()
  const client = await within(5_000, loggedIn(world))
  assert.equal(moved.connections.length, 1)
  client.socket.end()
})

test('a server whose old address has become a black hole is found at its new one, within connect-timeout', async (t) => {
  const world = await worldBefore(t, emulator, { connectTimeout: '4s' })
  const moved = await Relay.start({
    ...{ host: '127.0.0.2', port: world.relay.port, to: { port: emulator.frontPort } },
  }).catch(() => undefined)
  if (moved === undefined) return t.skip('127.0.0.2 is not an address of this machine')
  t.after(() => moved.close())
  t.after(() => control.setDns(host, { addresses: ['127.0.0.1'] }))
  world.relay.plan = () => [{ how: 'black-hole', direction: 'up', atByte: 0 }]
  control.setDns(host, { addresses: ['127.0.0.2'] })
  const client = await within(3_500, loggedIn(world))
  client.socket.end()
  const next = await within(1_500, loggedIn(world))
  next.socket.end()
  await world.assertNothingLeft()
})

test('a server that resets one connection and is silent at the next is tried again, within connect-timeout', async (t) => {
  const world = await worldBefore(t, emulator, { connectTimeout: '4s' })
  control.failFront({ at: 'accept', how: 'reset' }, 1)
  control.failFront({ at: 'accept', how: 'hang' }, 1)
  const client = await within(3_500, loggedIn(world))
  assert.equal(world.relay.connections.length, 3)
  client.socket.end()
  await world.assertNothingLeft()
})

test('of several addresses a dead one is waited for once, and comes last from then on', async (t) => {
  control.setDns(host, { addresses: ['127.0.0.3', '127.0.0.1'], ttlSeconds: 30 })
  t.after(() => control.setDns(host, { addresses: ['127.0.0.1'] }))
  const world = await worldBefore(t, emulator)
  const first = await within(5_000, loggedIn(world)) // 127.0.0.3 refuses: it has no listener
  const second = await within(1_500, loggedIn(world))
  first.socket.end()
  second.socket.end()
  await world.assertNothingLeft()
})
