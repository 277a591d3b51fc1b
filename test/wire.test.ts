import assert from 'node:assert/strict'
import { test } from 'node:test'

import { errorResponse, negotiateProtocolVersion, parseErrorResponse } from '../src/wire/backend.js'
import {
  fromWireText,
  initialPacketLength,
  parseInitialPacket,
  startupMessage,
  toWireText,
} from '../src/wire/frontend.js'
import { ScramClient, ScramServer, scramVerifier } from '../src/wire/scram.js'

function packet(code: number, body = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(8)
  head.writeInt32BE(8 + body.length, 0)
  head.writeInt32BE(code, 4)
  return Buffer.concat([head, body])
}

const startup = (text: string, version = 196608) => packet(version, Buffer.from(text, 'latin1'))

test('a StartupMessage is parsed, the last of two equal names counts, and its bytes go out as they came', () => {
  const message = parseInitialPacket(startup('user\0al\xe9\0user\0bob\xff\0options\0-c x=a+b\0\0'))
  assert.equal(message.type, 'StartupMessage')
  assert.deepEqual(
    [...message.parameters],
    [
      ['user', 'bob\xff'],
      ['options', '-c x=a+b'],
    ],
  )
  const written = startupMessage(message.parameters)
  assert.deepEqual(written, startup('user\0bob\xff\0options\0-c x=a+b\0\0'))
})

test('a role with letters beyond ASCII goes out as UTF-8', () => {
  assert.equal(fromWireText(toWireText('renée@example.com')), 'renée@example.com')
  const written = startupMessage(new Map([['user', toWireText('é')]]))
  assert.ok(written.includes(Buffer.from('user\0é\0')))
})

test('lengths that no start-up packet can have are told from the first bytes', () => {
  const head = (length: number) => {
    const bytes = Buffer.alloc(8)
    bytes.writeUInt32BE(length, 0)
    return initialPacketLength(bytes)
  }
  assert.deepEqual([0, 7, 8, 10_004, 10_005, 0x7fffffff, 0x80000000, 0xffffffff].map(head), [
    undefined,
    undefined,
    8,
    10_004,
    undefined,
    undefined,
    undefined,
    undefined,
  ])
  assert.equal(initialPacketLength(Buffer.from('GET / HT')), undefined)
  assert.equal(initialPacketLength(Buffer.from('160301020001', 'hex').subarray(0, 6)), undefined)
})

for (const [what, bytes] of [
  ['no terminator', startup('user\0bob\0')],
  ['a name without a value', startup('user\0bob\0database\0')],
  ['bytes after the terminator', startup('user\0bob\0\0x')],
  ['nothing at all', packet(196608)],
  ['a cancel request of 12 bytes', packet(80877102, Buffer.alloc(4))],
  ['a cancel request of 269 bytes', packet(80877102, Buffer.alloc(261))],
  ['an SSLRequest with a body', packet(80877103, Buffer.alloc(1))],
] as const) {
  test(`a packet with ${what} is a protocol violation`, () => {
    assert.throws(() => parseInitialPacket(bytes), { kind: 'protocol', sqlState: '08P01' })
  })
}

test('a packet cut at any byte is a protocol violation, never another error', () => {
  const whole = startup('user\0bob\0database\0db\0_pq_.grease\x001\0\0')
  for (let end = 8; end < whole.length; end++) {
    assert.throws(() => parseInitialPacket(whole.subarray(0, end)), { kind: 'protocol' })
  }
})

test('another major version is refused, a minor one and _pq_ options are noted', () => {
  for (const version of [0x20000, 0x40000, 0x10000]) {
    assert.throws(() => parseInitialPacket(startup('\0', version)), { sqlState: '0A000' })
  }
  const message = parseInitialPacket(startup('user\0u\0_pq_.a\x001\0_pq_.b\x002\0\0', 196610))
  assert.ok(message.type === 'StartupMessage')
  assert.deepEqual([message.protocolMinor, message.protocolOptions], [2, ['_pq_.a', '_pq_.b']])
  assert.deepEqual([...message.parameters.keys()], ['user'])
})

test('cancel requests of 16 to 268 bytes keep their bytes and their key', () => {
  for (const keyBytes of [4, 256]) {
    const bytes = packet(80877102, Buffer.alloc(4 + keyBytes, 7))
    const request = parseInitialPacket(bytes)
    assert.ok(request.type === 'CancelRequest')
    assert.deepEqual([request.bytes, request.key], [bytes, '07'.repeat(4 + keyBytes)])
  }
})

test('NegotiateProtocolVersion says 3.0 in full and names every option', () => {
  const bytes = negotiateProtocolVersion(['_pq_.a', '_pq_.bc'])
  assert.equal(bytes.toString('latin1', 0, 1), 'v')
  assert.deepEqual(
    [bytes.readInt32BE(1), bytes.readInt32BE(5), bytes.readInt32BE(9)],
    [bytes.length - 1, 196608, 2],
  )
  assert.equal(bytes.toString('latin1', 13), '_pq_.a\0_pq_.bc\0')
})

test('an ErrorResponse has severity, SQLSTATE and message, and no field can end another early', () => {
  const bytes = errorResponse({ sqlState: '57P03', message: 'no\0 way', hint: 'h', detail: 'd' })
  assert.equal(bytes.toString('latin1', 5), 'SFATAL\0VFATAL\0C57P03\0Mno way\0Dd\0Hh\0\0')
  assert.deepEqual(parseErrorResponse(bytes), {
    sqlState: '57P03',
    message: 'no way',
    detail: 'd',
    hint: 'h',
  })
})

test('an ErrorResponse cut at any byte is read as far as it goes, and ends', () => {
  const whole = errorResponse({ sqlState: '57P03', message: 'text', hint: 'h', detail: 'd' })
  for (let end = 5; end <= whole.length; end++) {
    const { sqlState } = parseErrorResponse(whole.subarray(0, end))
    assert.ok(sqlState === '57P03' || sqlState === 'XX000')
  }
})

async function exchange(clientPassword: string, serverPassword: string): Promise<boolean> {
  const client = new ScramClient(clientPassword)
  const server = new ScramServer(await scramVerifier([serverPassword]))
  const serverFirst = server.first(client.first())
  assert.ok(serverFirst !== undefined)
  const serverFinal = server.final(await client.final(serverFirst))
  if (serverFinal === undefined) return false
  client.verify(serverFinal)
  return true
}

test('SCRAM lets the right password in and no other', async () => {
  assert.equal(await exchange('geheim', 'geheim'), true)
  assert.equal(await exchange('geheim', 'Geheim'), false)
  assert.equal(await exchange('', 'geheim'), false)
  // SASLprep: a ligature and its letters are the same password
  assert.equal(await exchange('pass\u{FB01}', 'passfi'), true)
})

test('SCRAM as a server takes gs2 n and y, refuses channel binding and a changed message', async () => {
  const verifier = await scramVerifier(['geheim'])
  assert.notEqual(new ScramServer(verifier).first('n,,n=,r=abc'), undefined)
  assert.notEqual(new ScramServer(verifier).first('y,,n=,r=abc'), undefined)
  for (const bad of [
    'p=tls-server-end-point,,n=,r=abc',
    '',
    'n,,',
    'n,,n=,r=',
    'x,,n=,r=abc',
    'n,,n=,r=a b',
  ]) {
    assert.equal(new ScramServer(verifier).first(bad), undefined, bad)
  }
  const client = new ScramClient('geheim')
  const server = new ScramServer(verifier)
  const final = await client.final(server.first(client.first())!)
  assert.equal(server.final(final.replace('c=biws', 'c=eSws')), undefined)
  assert.equal(new ScramServer(verifier).final(final), undefined)
  assert.equal(server.final('v=1'), undefined)
})

test('SCRAM as a client refuses a server that does not know the password, or asks for endless work', async () => {
  const client = new ScramClient('geheim')
  const nonce = /r=(.*)$/.exec(client.first())![1]
  await assert.rejects(client.final('r=other,s=AAAA,i=4096'), /nonce/)
  await assert.rejects(client.final(`r=${nonce},s=AAAA,i=4096`), /nonce/)
  await assert.rejects(client.final(`r=${nonce}x,s=AAAA,i=2000000000`), /malformed/)
  await client.final(`r=${nonce}x,s=AAAA,i=4096`)
  assert.throws(() => client.verify('v=AAAA'), /signature/)
})
