/** Logging in upstream, message by message, before a server that a test plays; and what refusals mean. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { Secret } from '../src/core/secret.js'
import { login } from '../src/upstream/login.js'
import { meaningOf } from '../src/upstream/refusal.js'
import { errorResponse } from '../src/wire/backend.js'
import { message } from './chaos/raw-client.js'
import { emulatorForTests } from './support/emulator.js'
import { neverAborted } from './support/scripted-workspace.js'
import { socketPair } from './support/sockets.js'
import { ask, proxyForTests } from './support/started-proxy.js'
import { wireParameters } from './support/wire-parameters.js'

const emulator = await emulatorForTests()
const { control } = emulator

const int32 = (value: number): Buffer => Buffer.from([value >> 24, value >> 16, value >> 8, value])
const R = (code: number, data = ''): Buffer =>
  message('R', Buffer.concat([int32(code), Buffer.from(data)]))
const CLEARTEXT = R(3)
const OK = R(0)
const STATUS = message('S', 'server_version\x0017.5\0')
const READY = message('Z', 'I')
const NOTICE = message('N', 'SNOTICE\0C01000\0Mhello\0\0')

/** Logs in before a server that says all this, and gives how it went and what the server was told. */
async function loginBefore(
  t: TestContext,
  said: readonly Buffer[],
  {
    method = 'token',
    password = 'the-token',
  }: { method?: 'token' | 'password'; password?: string } = {},
) {
  const [near, far] = await socketPair()
  t.after(() => {
    near.destroy()
    far.destroy()
  })
  far.write(Buffer.concat(said))
  const told: Buffer[] = []
  far.on('data', (chunk: Buffer) => told.push(chunk))
  const credential = { password: new Secret(password), method }
  const result = await login(near, wireParameters({ user: 'ada' }), credential, neverAborted)
  near.end()
  await new Promise((resolve) => far.once('end', resolve))
  return { result, told: Buffer.concat(told), left: near.readableLength }
}

async function greetingBefore(t: TestContext, said: readonly Buffer[]) {
  const { result } = await loginBefore(t, said)
  assert.equal(result.outcome, 'ready')
  return result
}

test('what the server greets with is relayed as it came, from AuthenticationOk on', async (t) => {
  const key = message('K', Buffer.from('0000002a0badcafe', 'hex'))
  const { greeting, key: known } = await greetingBefore(t, [CLEARTEXT, OK, STATUS, key, READY])
  assert.deepEqual(greeting, Buffer.concat([OK, STATUS, key, READY]))
  assert.equal(known, '0000002a0badcafe')
})

test('a notice before AuthenticationOk, which some drivers do not take, is left out; a later one is not', async (t) => {
  const { greeting } = await greetingBefore(t, [NOTICE, CLEARTEXT, NOTICE, OK, NOTICE, READY])
  assert.deepEqual(greeting, Buffer.concat([OK, NOTICE, READY]))
})

test('a cancel key of any length is kept as it came', async (t) => {
  const key = message('K', Buffer.alloc(4 + 32, 7))
  const { greeting, key: known } = await greetingBefore(t, [CLEARTEXT, OK, key, READY])
  assert.equal(known, '07'.repeat(36))
  assert.deepEqual(greeting, Buffer.concat([OK, key, READY]))
})

test('what comes after ReadyForQuery is the client’s too', async (t) => {
  const { greeting } = await greetingBefore(t, [CLEARTEXT, OK, READY, NOTICE])
  assert.deepEqual(greeting, Buffer.concat([OK, READY, NOTICE]))
})

for (const kilobytes of [1, 16, 60]) {
  test(`a token of ${kilobytes} kB is sent whole`, async (t) => {
    const password = 'x'.repeat(kilobytes * 1024)
    const { told } = await loginBefore(t, [CLEARTEXT, OK, READY], { password })
    const startupBytes = told.readInt32BE(0)
    assert.deepEqual(told.subarray(startupBytes), message('p', `${password}\0`))
  })
}

test('a server that answers a 3.0 StartupMessage with another version breaks the protocol', async (t) => {
  const negotiate = message('v', Buffer.concat([int32(196608), int32(0)]))
  await assert.rejects(loginBefore(t, [negotiate]), { kind: 'upstream', sqlState: '08006' })
})

test('a token is never given to SASL or MD5, nor a password to a server that skips the end of SCRAM', async (t) => {
  for (const request of [R(10, 'SCRAM-SHA-256\0\0'), R(10, 'OAUTHBEARER\0\0')]) {
    const { result, told } = await loginBefore(t, [request])
    assert.equal(result.outcome, 'sasl required')
    assert.equal(told.length, told.readInt32BE(0), 'nothing but the StartupMessage')
  }
  await assert.rejects(loginBefore(t, [R(5, 'salt')]), { kind: 'identity', sqlState: '28000' })
  const cut = [R(10, 'SCRAM-SHA-256\0\0'), OK, READY]
  await assert.rejects(loginBefore(t, cut, { method: 'password' }), {
    ...{ kind: 'upstream', message: /AuthenticationOk in the middle of SCRAM/ },
  })
})

const SASL = R(10, 'SCRAM-SHA-256\0\0')

for (const [what, method, said, complaint] of [
  [
    'asks for the password again',
    'token',
    [CLEARTEXT, CLEARTEXT],
    /AuthenticationCleartextPassword after the password/,
  ],
  ['asks for SCRAM after the password', 'password', [CLEARTEXT, SASL], /SASL after the password/],
  ['asks for MD5 after the password', 'token', [CLEARTEXT, R(5, 'salt')], /request 5 after/],
  [
    'turns SCRAM into cleartext',
    'password',
    [SASL, CLEARTEXT],
    /AuthenticationCleartextPassword in the middle of SCRAM/,
  ],
  ['begins SCRAM again', 'password', [SASL, SASL], /AuthenticationSASL in the middle of SCRAM/],
  ['goes on with SCRAM that never began', 'password', [R(11, 'r=x')], /an unknown kind of/],
  ['ends SCRAM that never began', 'token', [R(12, 'v=x')], /an unknown kind of/],
  ['ends SCRAM too early', 'password', [SASL, R(12, 'v=x')], /SASLFinal in the middle of SCRAM/],
] as const) {
  test(`a server that ${what} is left after one answer at the most`, async (t) => {
    const [near, far] = await socketPair()
    t.after(() => [near, far].map((socket) => socket.destroy()))
    let told = ''
    far.on('data', (chunk: Buffer) => {
      told += chunk.toString('latin1')
    })
    far.write(Buffer.concat(said))
    const credential = { password: new Secret('the-token'), method }
    await assert.rejects(login(near, wireParameters({ user: 'ada' }), credential, neverAborted), {
      message: complaint,
    })
    near.end()
    await new Promise((resolve) => far.once('end', resolve))
    const isCleartextFirst = said[0] === CLEARTEXT
    assert.equal(told.split('the-token').length - 1, isCleartextFirst ? 1 : 0)
  })
}

/** A server that repeats one message for as long as the client listens. */
async function loginBeforeFlood(t: TestContext, first: readonly Buffer[], repeated: Buffer) {
  const [near, far] = await socketPair()
  t.after(() => [near, far].map((socket) => socket.destroy()))
  let toldBytes = 0
  far.on('data', (chunk: Buffer) => {
    toldBytes += chunk.length
  })
  far.write(Buffer.concat(first))
  const chunk = Buffer.concat(Array(Math.ceil(32_768 / repeated.length)).fill(repeated))
  const flood = (): void => {
    while (!far.destroyed && far.write(chunk));
  }
  far.on('drain', flood)
  flood()
  const credential = { password: new Secret('the-token'), method: 'password' } as const
  const going = login(near, wireParameters({ user: 'ada' }), credential, neverAborted)
  return { going, toldBytes: () => toldBytes, read: () => near.bytesRead }
}

for (const [what, first, repeated] of [
  ['notices before its first question', [], NOTICE],
  ['notices after the password', [CLEARTEXT], NOTICE],
  ['questions for the password', [], CLEARTEXT],
  ['SASL questions', [], SASL],
  ['SASLContinue', [SASL], R(11, 'r=x,s=x,i=1')],
  ['notices after AuthenticationOk', [CLEARTEXT, OK], NOTICE],
  ['parameter statuses', [CLEARTEXT, OK], STATUS],
] as const) {
  test(`a server that floods with ${what} is left after a bounded number of messages`, async (t) => {
    const { going, toldBytes, read } = await loginBeforeFlood(t, first, repeated)
    await assert.rejects(going, { kind: 'upstream' })
    assert.ok(read() < 4 * 1024 * 1024, `${read()} bytes were read`)
    assert.ok(toldBytes() < 1_000, `it was told ${toldBytes()} bytes`)
  })
}

test('a login whose time is up ends at the next message, however many are at hand', async (t) => {
  const [near, far] = await socketPair()
  t.after(() => [near, far].map((socket) => socket.destroy()))
  const deadline = new AbortController()
  far.write(Buffer.concat([...Array<Buffer>(1_000).fill(NOTICE), CLEARTEXT]))
  far.once('data', () => deadline.abort(new Error('time is up')))
  const told: Buffer[] = []
  far.on('data', (chunk: Buffer) => told.push(chunk))
  const credential = { password: new Secret('the-token'), method: 'token' } as const
  const going = login(near, wireParameters({ user: 'ada' }), credential, deadline.signal)
  await assert.rejects(going, /time is up/)
})

test('a refusal knows how far the login had come', async (t) => {
  const refusal = errorResponse({ sqlState: '28P01', message: 'no' })
  for (const [said, stage] of [
    [[refusal], 'before password'],
    [[CLEARTEXT, refusal], 'after password'],
    [[CLEARTEXT, OK, STATUS, refusal], 'authenticated'],
  ] as const) {
    const { result } = await loginBefore(t, said)
    assert.ok(result.outcome === 'refused')
    assert.equal(result.stage, stage)
  }
})

const DENIED = 'External authorization failed.'
const CONTROL_PLANE = 'Control plane request failed'
for (const [stage, sqlState, text, meaning] of [
  ['after password', '28P01', 'password authentication failed for user "ada"', 'token refused'],
  ['after password', '28000', 'JWT token has expired (exp=1)', 'token refused'],
  ['after password', 'XX000', 'Failed to decode token for role "ada"', 'token refused'],
  ['after password', '28000', 'Provided token is not a valid JWT encoding', 'token refused'],
  ['before password', '28P01', 'password authentication failed', 'final'],
  ['authenticated', '28P01', 'JWT token has expired', 'final'],
  ['before password', '28000', DENIED, 'access denied'],
  ['after password', '28000', DENIED, 'final'],
  ['before password', '28000', 'no pg_hba.conf entry', 'final'],
  ['before password', '53300', 'too many connections', 'full'],
  ['after password', '53300', 'too many connections', 'full'],
  ['after password', 'XX000', 'Too many connections to this endpoint. Please try again.', 'full'],
  ['authenticated', '3D000', 'database "x" does not exist', 'database missing'],
  ['before password', '57P01', 'terminating connection due to administrator command', 'waking'],
  ['before password', '57P02', 'terminating connection because of crash', 'waking'],
  ['before password', '57P03', 'the database system is starting up', 'waking'],
  ['authenticated', '57P03', 'the database system is starting up', 'waking'],
  ['before password', '08006', 'server closed the connection unexpectedly', 'waking'],
  ['after password', '08001', 'could not connect to the compute', 'waking'],
  ['authenticated', '08003', 'connection does not exist', 'waking'],
  ['before password', '08006', 'Client handshake timeout.', 'waking'],
  ['after password', 'XX000', "Couldn't connect to compute node", 'waking'],
  ['before password', 'XX000', `${CONTROL_PLANE}: endpoint is temporarily unavailable.`, 'waking'],
  ['after password', 'XX000', 'Service is temporarily unavailable, try again', 'waking'],
  ['after password', 'XX000', 'Failed to acquire permit to connect to the database.', 'waking'],
  ['after password', 'XX000', CONTROL_PLANE, 'waking'],
  ['before password', 'XX000', `${CONTROL_PLANE}: endpoint is disabled`, 'final'],
  ['before password', 'XX000', `${CONTROL_PLANE}: endpoint cannot be found`, 'final'],
  ['before password', 'XX000', 'This IP address 10.0.0.1 is not allowed', 'final'],
  ['after password', 'XX000', 'an unknown text', 'final'],
  ['before password', '08006', 'Insecure connection. Use SSL.', 'final'],
  ['before password', '08006', 'Connection does not have SNI.', 'final'],
  ['before password', '08006', 'Invalid length of startup packet.', 'final'],
  ['before password', '08004', 'Unsupported frontend protocol 3.2.', 'final'],
  ['before password', '0A000', 'Unsupported frontend protocol 3.2.', 'final'],
  ['before password', '08P01', 'Invalid protocol version. Protocol version: 80877104', 'final'],
  ['before password', '08P01', 'Received unencrypted data after SSL request.', 'final'],
] as const) {
  test(`${sqlState} "${text}" ${stage} means: ${meaning}`, () => {
    const error = { sqlState, message: text, detail: undefined, hint: undefined }
    assert.equal(meaningOf({ stage, error }), meaning)
  })
}

test('what is not the token’s fault costs no token, and reaches the client as it was said', async () => {
  const { proxy, port } = await proxyForTests(emulator)
  await ask(port, 'select 1')
  const before = control.mintedCount
  for (const [at, sqlState] of [
    ['startup', '53300'],
    ['password', '53300'],
    ['startup', '28000'],
    ['password', '42501'],
  ] as const) {
    const words = `refused at ${at} with ${sqlState}`
    control.failFront({ at, refuse: { severity: 'FATAL', sqlState, message: words } }, 1)
    await assert.rejects(ask(port, 'select 1'), { code: sqlState, message: words })
  }
  assert.equal(control.mintedCount, before)
  await proxy.close()
})

test('a token that is refused by its text alone, with any SQLSTATE, is replaced once', async () => {
  const { proxy, port } = await proxyForTests(emulator)
  await ask(port, 'select 1')
  const before = control.mintedCount
  const message = 'Failed to decode token for role "ada@example.com": expired'
  const refuse = { severity: 'FATAL', sqlState: 'XX000', message } as const
  control.failFront({ at: 'password', refuse }, 1)
  assert.equal((await ask(port, 'select 1 as one')).rows[0].one, 1)
  assert.equal(control.mintedCount, before + 1)
  await proxy.close()
})
