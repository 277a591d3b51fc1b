/** Bad input: each gets what it deserves, and nobody else notices. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'

import {
  cancelRequest,
  message,
  RawClient,
  SSL_REQUEST,
  startupPacket,
} from './chaos/raw-client.js'
import { worldBefore } from './chaos/world.js'
import { emulatorForTests } from './support/emulator.js'
import { connectedClient } from './support/proxy.js'

const emulator = await emulatorForTests()

/** What makes no whole start-up packet of it gets no byte back, as at PostgreSQL. */
const closedWithoutAByte: Record<string, readonly Buffer[]> = {
  'an HTTP request': [Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
  'an HTTP/2 preface': [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')],
  'an SSH greeting': [Buffer.from('SSH-2.0-OpenSSH_9.7\r\n')],
  'a TLS hello': [Buffer.from('160301020001000001fc0303', 'hex')],
  'random bytes': [Buffer.concat([Buffer.of(0xff), randomBytes(5_000)])],
  'a length of 2 GiB': [Buffer.from('7fffffff00030000', 'hex')],
  'a negative length': [Buffer.from('ffffffff00030000', 'hex')],
  'a length of zero': [Buffer.from('0000000000030000', 'hex')],
  'a length of 10,005': [Buffer.from('0000271500030000', 'hex')],
  'SSLRequest twice': [SSL_REQUEST, SSL_REQUEST],
}

for (const [what, parts] of Object.entries(closedWithoutAByte)) {
  test(`${what} is closed without a byte, and a client beside it goes on`, async (t) => {
    const world = await worldBefore(t, emulator)
    const bystander = await connectedClient(t, world.port)
    const dialled = world.relay.connections.length
    for (let i = 0; i < 20; i++) {
      const client = await RawClient.connect(world.port)
      const said = await client.send(...parts).rest()
      assert.equal(said.toString(), what === 'SSLRequest twice' ? 'N' : '')
      client.socket.destroy()
    }
    const { rows } = await bystander.query('select 1 as one')
    assert.deepEqual(rows, [{ one: 1 }])
    assert.equal(world.relay.connections.length, dialled)
    await bystander.end()
    await world.assertNothingLeft()
  })
}

test('three bytes and silence are closed after handshake-timeout, without a byte', async (t) => {
  const world = await worldBefore(t, emulator, { handshakeTimeout: '300ms' })
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => RawClient.connect(world.port)),
  )
  const startedAt = performance.now()
  for (const client of clients) client.send([0, 0, 0])
  for (const client of clients) assert.equal((await client.rest()).length, 0)
  const tookMs = performance.now() - startedAt
  assert.ok(tookMs < 1_500, `took ${tookMs} ms`)
  await world.assertNothingLeft()
})

test('a start-up packet that dribbles in is not given more time for it', async (t) => {
  const world = await worldBefore(t, emulator, { handshakeTimeout: '400ms' })
  const client = await RawClient.connect(world.port)
  const packet = startupPacket({ user: 'anyone', options: 'x'.repeat(500) })
  let at = 0
  const timer = setInterval(() => client.send(packet.subarray(at, ++at)), 20)
  t.after(() => clearInterval(timer))
  assert.equal((await client.rest()).length, 0)
  assert.ok(at < 60, `${at} bytes were waited for`)
})

test('a client that does not answer the question for its password does not keep its place', async (t) => {
  const world = await worldBefore(t, emulator, {
    ...{ localAuth: 'password', localPassword: 'open sesame', maxConnections: 1 },
    ...{ handshakeTimeout: '400ms' },
  })
  const client = (await RawClient.connect(world.port)).startup()
  assert.equal((await client.message())?.type, 'R')
  const [error] = await client.until('E')
  assert.ok(error, 'it was not told why')
  await client.rest()
  const next = (await RawClient.connect(world.port)).startup()
  assert.equal((await next.message())?.type, 'R')
  next.socket.destroy()
  await world.assertNothingLeft()
})
