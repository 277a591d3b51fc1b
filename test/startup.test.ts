/** What a client may say before its first query, byte by byte. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { test } from 'node:test'

import { parseErrorResponse } from '../src/wire/backend.js'
import { readExactly } from '../src/wire/byte-reader.js'
import { startupMessage, type WireText } from '../src/wire/frontend.js'
import { emulatorForTests } from './support/emulator.js'
import { connect, readAll } from './support/sockets.js'
import { proxyForTests } from './support/started-proxy.js'
import { wireParameters } from './support/wire-parameters.js'

const emulator = await emulatorForTests()
const { port } = await proxyForTests(emulator, { handshakeTimeout: '2s' })
const { signal } = new AbortController()

const int32 = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [at, value] of values.entries()) bytes.writeInt32BE(value, 4 * at)
  return bytes
}
const SSL_REQUEST = int32(8, 80877103)
const GSSENC_REQUEST = int32(8, 80877104)
const STARTUP = startupMessage(wireParameters({ user: 'anybody' }))
const withVersion = (packet: Buffer, version: number): Buffer => {
  const copy = Buffer.from(packet)
  copy.writeInt32BE(version, 4)
  return copy
}

interface Message {
  type: string
  bytes: Buffer
}

async function nextMessage(socket: Socket): Promise<Message> {
  const head = await readExactly(socket, 5, signal)
  const rest = head.readInt32BE(1) - 4
  const body = rest === 0 ? Buffer.alloc(0) : await readExactly(socket, rest, signal)
  return { type: head.toString('latin1', 0, 1), bytes: Buffer.concat([head, body]) }
}

/** Every message up to ReadyForQuery or an error. */
async function untilReady(socket: Socket): Promise<Message[]> {
  const messages: Message[] = []
  for (;;) {
    const message = await nextMessage(socket)
    messages.push(message)
    if (message.type === 'Z' || message.type === 'E') return messages
  }
}

async function say(...packets: Buffer[]): Promise<Socket> {
  const socket = await connect(port)
  for (const packet of packets) socket.write(packet)
  return socket
}

const types = (messages: Message[]): string => messages.map(({ type }) => type).join('')

test('a plain StartupMessage gets the server’s own greeting', async () => {
  const socket = await say(STARTUP)
  const greeting = await untilReady(socket)
  assert.match(types(greeting), /^RS+KZ$/)
  const text = Buffer.concat(greeting.map(({ bytes }) => bytes)).toString('latin1')
  assert.match(text, /server_version\0\d+/)
  socket.destroy()
})

test('a StartupMessage that arrives one byte at a time is the same', async () => {
  const socket = await connect(port)
  for (const byte of STARTUP) {
    socket.write(Buffer.of(byte))
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.match(types(await untilReady(socket)), /^RS+KZ$/)
  socket.destroy()
})

for (const [what, requests] of [
  ['SSLRequest', [SSL_REQUEST]],
  ['GSSENCRequest', [GSSENC_REQUEST]],
  ['SSLRequest, then GSSENCRequest', [SSL_REQUEST, GSSENC_REQUEST]],
  ['GSSENCRequest, then SSLRequest', [GSSENC_REQUEST, SSL_REQUEST]],
] as const) {
  test(`${what} is answered N, and the client goes on in the clear`, async () => {
    const socket = await connect(port)
    for (const request of requests) {
      socket.write(request)
      assert.equal((await readExactly(socket, 1, signal)).toString(), 'N')
    }
    socket.write(STARTUP)
    assert.match(types(await untilReady(socket)), /^RS+KZ$/)
    socket.destroy()
  })
}

test('a second request of the same kind ends the connection', async () => {
  for (const request of [SSL_REQUEST, GSSENC_REQUEST]) {
    const socket = await say(request, request)
    assert.equal((await readAll(socket)).toString(), 'N')
  }
})

test('a client that asks for a newer minor version, or options, is told what there is, first of all', async () => {
  const packet = startupMessage(
    wireParameters({ user: 'anybody', '_pq_.test_protocol_negotiation': '', '_pq_.other': '1' }),
  )
  for (const version of [0x30000, 0x30002, 0x3270f]) {
    const socket = await say(withVersion(packet, version))
    const messages = await untilReady(socket)
    assert.match(types(messages), /^vRS+KZ$/)
    const { bytes } = messages[0]!
    assert.deepEqual([bytes.readInt32BE(5), bytes.readInt32BE(9)], [196608, 2])
    assert.equal(bytes.toString('latin1', 13), '_pq_.test_protocol_negotiation\0_pq_.other\0')
    const key = messages.find(({ type }) => type === 'K')!
    assert.equal(key.bytes.length, 13, 'a 4-byte cancel key, as in 3.0')
    socket.destroy()
  }
})

async function errorFor(...packets: Buffer[]) {
  const socket = await say(...packets)
  const [message] = (await untilReady(socket)).slice(-1)
  assert.equal(message?.type, 'E')
  assert.match(message.bytes.toString('latin1', 5), /^SFATAL\0VFATAL\0C[0-9A-Z]{5}\0M/)
  await readAll(socket)
  return parseErrorResponse(message.bytes)
}

test('an unknown major version is 0A000', async () => {
  for (const version of [0x20000, 0x40000]) {
    const { sqlState, message } = await errorFor(withVersion(STARTUP, version))
    assert.equal(sqlState, '0A000')
    assert.match(message, /^unsupported frontend protocol [24]\.0: server supports 3\.0 to 3\.0$/)
  }
})

test('a whole packet with broken contents is 08P01, with the session id in its detail', async () => {
  const { sqlState, detail } = await errorFor(
    Buffer.concat([int32(13, 196608), Buffer.from('user\0')]),
  )
  assert.equal(sqlState, '08P01')
  assert.match(detail ?? '', /session [0-9a-f]{8}$/)
})

for (const [what, bytes] of [
  ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
  ['a TLS hello', Buffer.from('16030100f5010000f10303', 'hex')],
  ['a length of 2 GiB', int32(0x7fffffff, 196608)],
  ['a length of 7', int32(7, 196608)],
  ['a negative length', int32(-1, 196608)],
  ['noise', Buffer.from('ffeeddccbbaa99887766554433221100', 'hex')],
] as const) {
  test(`${what} is closed without a byte, and nothing is dialled`, async () => {
    const accepted = emulator.control.acceptedCount
    const socket = await say(bytes)
    assert.equal((await readAll(socket)).length, 0)
    assert.equal(emulator.control.acceptedCount, accepted)
  })
}

test('three bytes and silence are closed without a byte when the handshake has taken too long', async () => {
  const socket = await say(Buffer.from([0, 0, 0]))
  assert.equal((await readAll(socket)).length, 0)
})

test('a probe that connects and leaves is not logged as an error', async () => {
  const accepted = emulator.control.acceptedCount
  for (let probe = 0; probe < 50; probe++) {
    const socket = await connect(port)
    socket.destroy()
    await once(socket, 'close')
  }
  assert.equal(emulator.control.acceptedCount, accepted)
})

test('the last of two equal parameters counts, the database defaults, options pass unchanged', async () => {
  const parameters = Buffer.from(
    'user\0a\0user\0b\0application_name\0first\0application_name\0second\0options\0-c geqo=off\0\0',
  )
  const socket = await say(Buffer.concat([int32(8 + parameters.length, 196608), parameters]))
  const text = Buffer.concat((await untilReady(socket)).map(({ bytes }) => bytes)).toString(
    'latin1',
  )
  assert.match(text, /application_name\0second\0/)
  socket.write(query('select current_user, current_database(), current_setting($$geqo$$)'))
  const row = (await untilReady(socket)).find(({ type }) => type === 'D')
  assert.match(row!.bytes.toString('latin1'), /ada@example\.com.*databricks_postgres.*off/s)
  socket.destroy()
})

test('a replication start-up is relayed as it came', async () => {
  const socket = await say(
    startupMessage(
      wireParameters({ user: 'anybody', replication: 'database', database: 'databricks_postgres' }),
    ),
  )
  await untilReady(socket)
  socket.write(query('show wal_level'))
  assert.match(types(await untilReady(socket)), /^TDC*CZ$/)
  socket.destroy()
})

test('idle-timeout ends other sessions, and no replication', async (t) => {
  const impatient = await proxyForTests(emulator, { idleTimeout: '300ms' })
  t.after(() => impatient.proxy.close())
  const logIn = async (parameters: Record<string, string>): Promise<Socket> => {
    const socket = await connect(impatient.port)
    socket.write(startupMessage(wireParameters({ user: 'anybody', ...parameters })))
    await untilReady(socket)
    return socket
  }
  const [streaming, idle] = [await logIn({ replication: 'database' }), await logIn({})]
  await readAll(idle)
  streaming.write(query('show wal_level'))
  assert.match(types(await untilReady(streaming)), /^TDC*CZ$/)
  streaming.destroy()
})

test('parameters that are not UTF-8 go to the server as they came', async () => {
  const socket = await say(
    startupMessage(
      new Map([
        ['user', 'x' as WireText],
        ['application_name', 'caf\xe9' as WireText],
      ]),
    ),
  )
  const text = Buffer.concat((await untilReady(socket)).map(({ bytes }) => bytes)).toString(
    'latin1',
  )
  assert.match(text, /application_name\0caf(\?|\\xe9|\xe9)/)
  socket.destroy()
})

function query(sql: string): Buffer {
  return Buffer.concat([Buffer.from('Q'), int32(4 + sql.length + 1), Buffer.from(`${sql}\0`)])
}
