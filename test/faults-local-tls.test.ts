/** Clients over local TLS that leave, half-close, or go on with noise: as good as those in the clear. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import tls, { type ConnectionOptions, type TLSSocket } from 'node:tls'
import { RawClient, SSL_REQUEST, startupPacket } from './chaos/raw-client.js'
import { Relay, type RelayFault } from './chaos/relay.js'
import { eventually, type World, within, worldBefore } from './chaos/world.js'
import { emulatorForTests } from './support/emulator.js'
import { FakeClock } from './support/fake-clock.js'
import { proxyBefore } from './support/proxy.js'
import { connect, readAll } from './support/sockets.js'

const emulator = await emulatorForTests()
const { control } = emulator
const STARTUP = startupPacket({ user: 'anyone', database: 'databricks_postgres' })

async function secure(
  { port }: Pick<World, 'port'>,
  options: ConnectionOptions = {},
): Promise<TLSSocket> {
  const socket = await connect(port)
  socket.write(SSL_REQUEST)
  await once(socket, 'readable')
  assert.equal(String(socket.read(1)), 'S')
  const secured = tls.connect({ socket, rejectUnauthorized: false, ...options })
  secured.on('error', () => {})
  await once(secured, 'secureConnect')
  return secured
}

function sessionOf(world: World) {
  const [session] = world.daemon.targets[0]!.listener.sessions
  return session
}

for (const [how, leave] of [
  ['hangs up', (client: TLSSocket) => client.destroy()],
  ['ends TLS', (client: TLSSocket) => client.end()],
] as const) {
  test(`a client that ${how} while its server is dialled takes the dial with it`, async (t) => {
    const world = await worldBefore(t, emulator, { localTls: 'auto' })
    control.failFront({ at: 'startup', how: 'hang' })
    const client = await secure(world)
    const dialled = world.relay.connections.length
    client.write(STARTUP)
    const connection = await world.relay.connection(dialled)
    await eventually(() => sessionOf(world)?.phase === 'login', 'it does not come to the login')
    leave(client)
    await within(1_000, connection.left)
    await world.assertNothingLeft()
    assert.equal(world.ends().at(-1)?.outcome, 'client left')
  })
}

test('a client that leaves in the middle of the TLS handshake is let go at once', async (t) => {
  const { port, log } = await proxyBefore(t, emulator, {
    localTls: 'auto',
    clock: new FakeClock(), // handshake-timeout never comes
  })
  const socket = await connect(port)
  socket.write(SSL_REQUEST)
  await once(socket, 'readable')
  assert.equal(String(socket.read(1)), 'S')
  socket.end(Buffer.from('160301020001', 'hex'))
  assert.equal((await within(1_000, readAll(socket))).length, 0)
  const { facts } = await log.seen(({ message }) => message === 'session ended')
  assert.equal(facts.reason, 'TLS with the client failed: connection closed')
})

test('noise within TLS is closed without a byte, and nothing is left of it', async (t) => {
  const world = await worldBefore(t, emulator, { localTls: 'auto' })
  const client = await secure(world)
  client.write('GET / HTTP/1.1\r\n\r\n')
  assert.equal((await within(2_000, readAll(client))).length, 0)
  await world.assertNothingLeft()
  assert.equal(world.ends().at(-1)?.outcome, 'no startup packet')
})

test('a second SSLRequest within TLS ends the connection', async (t) => {
  const world = await worldBefore(t, emulator, { localTls: 'auto' })
  const client = await secure(world)
  client.write(SSL_REQUEST)
  assert.equal((await within(2_000, readAll(client))).length, 0)
  await world.assertNothingLeft()
})

test('an error before login is read whole over TLS, in its place', async (t) => {
  const world = await worldBefore(t, emulator, { localTls: 'auto' })
  control.failFront({ at: 'ssl-request', answer: 'N' }, 1)
  const client = new RawClient(await secure(world))
  client.send(STARTUP)
  const [error] = await within(5_000, client.until('E'))
  assert.match(String(error?.body), /C08006\0Mserver does not support TLS/)
  assert.equal((await within(3_000, client.rest())).length, 0)
  client.socket.end()
  await world.assertNothingLeft()
})

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`a record of ${maxVersion} that was changed on its way ends the session`, async (t) => {
    const world = await worldBefore(t, emulator, { localTls: 'auto' })
    const relay = await Relay.start({ to: { port: world.port } })
    t.after(() => relay.close())
    const faults: RelayFault[] = []
    relay.plan = () => faults
    const client = new RawClient(await secure({ port: relay.port }, { maxVersion }))
    client.send(STARTUP)
    await client.until('Z')
    const connection = await relay.connection(0)
    // The last byte of the next record: it is part of what proves the record.
    faults.push({ how: 'corrupt', direction: 'up', atByte: connection.passed.up + 20 })
    client.query('select 1')
    await world.assertNothingLeft()
    assert.equal(world.ends().at(-1)?.outcome, 'client reset')
  })
}

test('a client of TLS 1.2 that asks for a second handshake is refused it', async (t) => {
  const world = await worldBefore(t, emulator, { localTls: 'auto' })
  const client = await secure(world, { maxVersion: 'TLSv1.2' })
  const answer = new Promise<Error | null>((resolve) => {
    client.once('error', resolve)
    client.renegotiate({ rejectUnauthorized: false }, resolve)
  })
  const refusal = (await within(5_000, answer)) as NodeJS.ErrnoException | null
  assert.equal(refusal?.code, 'ERR_SSL_NO_RENEGOTIATION')
  client.destroy()
  await world.assertNothingLeft()
})
