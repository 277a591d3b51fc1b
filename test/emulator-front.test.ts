/**
 * How strict the emulator's front door is: each rule that the real one is known to hold, tried byte
 * by byte. What the proxy may rely on, it may rely on because this is refused.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import tls from 'node:tls'

import type { FrontConnection, FrontContext } from '../src/emulator/front-connection.js'
import { readSslRequest } from '../src/emulator/front-handshake.js'
import { demoUser } from '../src/emulator/inventory.js'
import { emulatorForTests } from './support/emulator.js'
import { cancelRequest, connect, readAll, socketPair } from './support/sockets.js'

const emulator = await emulatorForTests({ handshakeTimeoutMs: 1_000 })
const { control } = emulator
const host = control.instance('demo-instance').readWriteHost
const sslRequest = Buffer.from('0000000804d2162f', 'hex')

/** Length, code or version, and the rest. */
function packet(code: number, rest: Buffer | string = ''): Buffer {
  const body = Buffer.from(rest)
  const head = Buffer.alloc(8)
  head.writeInt32BE(8 + body.length, 0)
  head.writeInt32BE(code, 4)
  return Buffer.concat([head, body])
}

const startup = (version = 196608) =>
  packet(version, `user\0${demoUser.userName}\0database\0databricks_postgres\0\0`)

/** Fields of the ErrorResponse that these bytes are, by their letters. */
function errorFields(bytes: Buffer): Record<string, string> {
  assert.equal(bytes.toString('latin1', 0, 1), 'E', `not an error: ${bytes.toString('hex')}`)
  assert.equal(bytes.length, 1 + bytes.readInt32BE(1))
  const fields = bytes.toString('utf8', 5).split('\0').filter(Boolean)
  return Object.fromEntries(fields.map((field) => [field[0]!, field.slice(1)]))
}

/** What the front door says to these bytes, in plaintext, until it closes. */
async function said(bytes: Buffer): Promise<Buffer> {
  const socket = await connect(emulator.frontPort)
  socket.write(bytes)
  return readAll(socket)
}

async function startTls(options: tls.ConnectionOptions): Promise<tls.TLSSocket> {
  const socket = await connect(emulator.frontPort)
  socket.write(sslRequest)
  const [answer] = (await once(socket, 'data')) as [Buffer]
  assert.equal(answer.toString(), 'S')
  socket.pause()
  const client = tls.connect({ socket, ca: emulator.caPem, ...options })
  client.on('error', () => {})
  await once(client, 'secureConnect')
  return client
}

/** What the front door says to these bytes over TLS, until it closes. */
async function saidOverTls(bytes: Buffer): Promise<Buffer> {
  const client = await startTls({ servername: host })
  client.write(bytes)
  return readAll(client)
}

test('anything but SSLRequest or CancelRequest is 08P01', async () => {
  for (const [name, bytes] of Object.entries({
    'a plaintext StartupMessage': startup(),
    GSSENCRequest: packet(80877104),
  })) {
    const fields = errorFields(await said(bytes))
    const code = bytes.readInt32BE(4)
    assert.equal(fields.C, '08P01', name)
    assert.equal(fields.S, 'FATAL')
    assert.equal(fields.M, `Invalid protocol version. Protocol version: ${code}`)
    assert.match(fields.D!, /^Ensure that connection is using SSL/)
  }
})

test('bytes after SSLRequest are refused', async () => {
  const fields = errorFields(await said(Buffer.concat([sslRequest, startup()])))
  assert.equal(fields.C, '08P01')
  assert.equal(fields.M, 'Received unencrypted data after SSL request.')
})

test('direct TLS is waited for as a very long packet, until the time-out', async () => {
  const socket = await connect(emulator.frontPort)
  const client = tls.connect({ socket, ca: emulator.caPem, servername: host })
  client.on('error', () => {}) // the front door's error is no TLS record
  let established = false
  client.on('secureConnect', () => {
    established = true
  })
  const startedAt = performance.now()
  await new Promise((resolve) => client.once('close', resolve))
  assert.equal(established, false)
  assert.ok(performance.now() - startedAt > 900)
})

test('silence ends at the time-out with 08006', async () => {
  const fields = errorFields(await said(Buffer.from([0, 0])))
  assert.equal(fields.C, '08006')
  assert.equal(fields.M, 'Client handshake timeout.')
})

test('TLS without SNI is 08006', async () => {
  const client = await startTls({ checkServerIdentity: () => undefined, host: '127.0.0.1' })
  const fields = errorFields(await readAll(client))
  assert.equal(fields.C, '08006')
  assert.equal(fields.M, 'Connection does not have SNI.')
  assert.equal(fields.D, 'Please upgrade your client to support SNI.')
})

test('each host name has its own certificate', async () => {
  const client = await startTls({ servername: host })
  assert.equal(client.getPeerCertificate().subjectaltname, `DNS:${host}`)
  client.destroy()
})

test('a StartupMessage shorter than 8 or longer than 9999 bytes is 08006', async () => {
  for (const length of [0, 7, 10_000, 2_000_000_000, -1]) {
    const bytes = Buffer.alloc(8)
    bytes.writeInt32BE(length, 0)
    bytes.writeInt32BE(196608, 4)
    const fields = errorFields(await saidOverTls(bytes))
    assert.equal(fields.C, '08006')
    assert.equal(fields.M, 'Invalid length of startup packet.')
  }
})

test('any protocol but exactly 3.0 is 0A000', async () => {
  for (const [version, name] of [
    [0x0003_0002, '3.2'],
    [0x0002_0000, '2.0'],
    [0x0003_270f, '3.9999'],
  ] as const) {
    const fields = errorFields(await saidOverTls(startup(version)))
    assert.equal(fields.C, '0A000')
    assert.equal(fields.M, `Unsupported frontend protocol ${name}. Server supports 3.0 to 3.0`)
  }
})

test('a StartupMessage without a user is 28000', async () => {
  const fields = errorFields(await saidOverTls(packet(196608, 'database\0x\0\0')))
  assert.equal(fields.C, '28000')
})

test('an unknown host is denied by external authorization', async () => {
  const client = await startTls({
    servername: 'instance-none.database.cloud.databricks.com',
    checkServerIdentity: () => undefined,
    rejectUnauthorized: false,
  })
  client.write(startup())
  const fields = errorFields(await readAll(client))
  assert.equal(fields.C, '28000')
  assert.equal(fields.M, 'External authorization failed.')
})

test('a StartupMessage in many segments is read, and answered with a request for a password', async () => {
  const client = await startTls({ servername: host })
  for (const byte of startup()) client.write(Buffer.from([byte]))
  const [answer] = (await once(client, 'data')) as [Buffer]
  assert.equal(answer.toString('hex'), '520000000800000003')
  client.write(Buffer.from('70ffffffff', 'hex'))
  assert.equal(errorFields(await readAll(client)).C, '08P01')
})

test('the front door waits for a PostgreSQL that never takes a cancel no longer than for a handshake', async () => {
  const [client, front] = await socketPair()
  const [toPostgres, postgres] = await socketPair()
  const context = {
    behaviour: { cancelLookupMs: 0 },
    onPhase() {},
    clusters: { running: () => [{ connect: () => toPostgres }] },
  } as unknown as FrontContext
  const limit = new AbortController()
  client.write(cancelRequest({ processID: 1, secretKey: 2 }))
  const connection = {} as FrontConnection
  const reading = readSslRequest(front, connection, context, limit.signal)
  await once(postgres, 'readable')
  limit.abort()
  await assert.rejects(reading, { name: 'AbortError' })
  assert.equal(toPostgres.destroyed, true)
  for (const socket of [client, front, postgres]) socket.destroy()
})

test('a client that leaves at any point leaves nothing behind', async () => {
  const reached: ((socket: Socket) => void)[] = [
    () => {},
    (socket) => socket.write(sslRequest.subarray(0, 3)),
    (socket) => socket.write(sslRequest),
  ]
  for (const say of reached) {
    for (const leave of ['end', 'resetAndDestroy'] as const) {
      const socket = await connect(emulator.frontPort)
      say(socket)
      socket[leave]()
      socket.resume()
      await once(socket, 'close')
    }
  }
  const client = await startTls({ servername: host })
  client.write(startup())
  await once(client, 'data')
  client.destroy()
  while (control.connections().length > 0) await delay(5)
})

/** A logged-in connection that speaks bytes. */
async function session(): Promise<tls.TLSSocket> {
  const client = await startTls({ servername: host })
  client.write(startup())
  await once(client, 'data')
  const password = Buffer.from(`${control.mintToken(demoUser).text}\0`)
  client.write(message('p', password))
  return client
}

function message(type: string, body: Buffer | string): Buffer {
  const bytes = Buffer.from(body)
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(4 + bytes.length, 1)
  return Buffer.concat([head, bytes])
}

test('a client that ends its side ends the connection, and loses the answer on its way', async () => {
  const client = await session()
  client.end(message('Q', 'select pg_sleep(60)\0'))
  const bytes = await readAll(client)
  assert.doesNotMatch(bytes.toString('latin1'), /SELECT 1/)
  while (control.connections().length > 0) await delay(5)
})

test('a client that does not read holds the server back, and nothing piles up between', async () => {
  const client = await session()
  client.pause()
  const before = process.memoryUsage().rss
  client.write(message('Q', "select repeat('x', 10000) from generate_series(1, 20000)\0"))
  await delay(500)
  assert.ok(process.memoryUsage().rss - before < 60_000_000)
  client.destroy()
})
