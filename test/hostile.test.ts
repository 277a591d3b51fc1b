/** Bad input, from either side: each gets a clear answer, and no other client notices. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import type { FrontPhase } from '../src/emulator/front-connection.js'
import { RawClient, type ServerSaid, SSL_REQUEST, startupPacket } from './chaos/raw-client.js'
import { type World, within, worldBefore } from './chaos/world.js'
import { emulatorForTests } from './support/emulator.js'
import type { CertificateKind } from './support/emulator-control.js'
import type { FrontFault } from './support/emulator-faults.js'
import { connectedClient, proxyBefore } from './support/proxy.js'

const emulator = await emulatorForTests()
const { control } = emulator

const database = 'databricks_postgres'

async function refusalOf(world: World): Promise<ServerSaid> {
  const client = await RawClient.connect(world.port)
  const answer = await client.login({ user: 'anyone', database })
  assert.ok(answer !== 'ready' && answer !== undefined, `the login ended as ${answer}`)
  assert.equal(answer.severity, 'FATAL')
  assert.match(answer.detail ?? '', /session [0-9a-f]{8}$/)
  assert.equal((await client.rest()).length, 0)
  client.socket.destroy()
  return answer
}

async function assertServes(world: World): Promise<void> {
  control.clearFaults()
  const client = await RawClient.connect(world.port)
  assert.equal(await client.login({ user: 'anyone', database }), 'ready')
  client.socket.destroy()
  await world.assertNothingLeft()
}

const noise: Record<string, readonly Buffer[]> = {
  'an HTTP request': [Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
  'an HTTP/2 preface': [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')],
  'an SSH greeting': [Buffer.from('SSH-2.0-OpenSSH_9.7\r\n')],
  'a TLS hello': [Buffer.from('160301020001000001fc0303', 'hex')],
  'random bytes': [Buffer.concat([Buffer.of(0xff), randomBytes(5_000)])],
  'a length of 2 GiB': [Buffer.from('7fffffff00030000', 'hex')],
  'a negative length': [Buffer.from('ffffffff00030000', 'hex')],
  'SSLRequest twice': [SSL_REQUEST, SSL_REQUEST],
}

test('noise of every kind, fifty times each and all at once: closed, not answered, and a client in between goes on', async (t) => {
  const world = await worldBefore(t, emulator)
  const bystander = await connectedClient(t, world.port, { database })
  const dialled = world.relay.connections.length
  const all = Object.entries(noise).flatMap(([what, parts]) =>
    Array.from({ length: 50 }, async () => {
      const client = await RawClient.connect(world.port)
      const said = await client.send(...parts).rest()
      assert.equal(said.toString(), what === 'SSLRequest twice' ? 'N' : '', what)
      client.socket.destroy()
    }),
  )
  for (let i = 0; i < 20; i++) await bystander.query('select 1')
  await Promise.all(all)
  await bystander.query('select 1')
  assert.equal(world.relay.connections.length, dialled, 'it was dialled for noise')
  await bystander.end()
  await assertServes(world)
})

test('a start-up packet that dribbles in gets no more time for it', async (t) => {
  const world = await worldBefore(t, emulator, { handshakeTimeout: '400ms' })
  const client = await RawClient.connect(world.port)
  const packet = startupPacket({ user: 'anyone', options: 'x'.repeat(500) })
  let at = 0
  const timer = setInterval(() => client.send(packet.subarray(at, ++at)), 20)
  t.after(() => clearInterval(timer))
  assert.equal((await client.rest()).length, 0)
  assert.ok(at < 60, `${at} bytes were waited for`)
  await world.assertNothingLeft()
})

const lies: Record<string, { fault: FrontFault; code: string; message: RegExp; hint: RegExp }> = {
  'answers N to SSLRequest': {
    fault: { at: 'ssl-request', answer: 'N' },
    ...{ code: '08006', message: /^server does not support TLS/, hint: /a Lakebase host\?/ },
  },
  'answers SSLRequest with an error': {
    fault: { at: 'ssl-request', answer: 'E' },
    ...{ code: '08006', message: /^server does not support TLS/, hint: /a Lakebase host\?/ },
  },
  'stuffs bytes after its S': {
    fault: { at: 'ssl-request', answer: 'extra-bytes' },
    ...{ code: '08006', message: /^received unencrypted data after SSL/, hint: /tampers/ },
  },
  'asks for SASL instead of a cleartext password': {
    fault: { at: 'startup', ask: 'sasl' },
    ...{ code: '28000', message: /^server asks for SASL/, hint: /native Postgres role/ },
  },
  'asks for MD5': {
    fault: { at: 'startup', ask: 'md5' },
    ...{ code: '28000', message: /^server asks for MD5 authentication, which/, hint: /doctor/ },
  },
  'speaks something else instead of asking': {
    fault: { at: 'startup', say: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') },
    ...{
      code: '08006',
      message: /^server sent a message of impossible length/,
      hint: /PostgreSQL/,
    },
  },
  'announces a message of 2 GiB': {
    fault: { at: 'password', say: Buffer.from('527fffffff', 'hex') },
    ...{
      code: '08006',
      message: /^server sent a message of impossible length/,
      hint: /PostgreSQL/,
    },
  },
  'sends an authentication request that is cut short': {
    fault: { at: 'startup', say: Buffer.from('520000000400', 'hex') },
    ...{ code: '08006', message: /^server sent an auth.* that is cut short/, hint: /PostgreSQL/ },
  },
  'greets without end': {
    fault: { at: 'greeting', say: parameterStatuses(2_000_000) },
    ...{ code: '08006', message: /^server sent a greeting of more than 1 MB/, hint: /PostgreSQL/ },
  },
}

/** Messages of at least `bytes` bytes together. */
function parameterStatuses(bytes: number): Buffer {
  const body = Buffer.from(`name\0${'x'.repeat(990)}\0`)
  const head = Buffer.from([0x53, 0, 0, (body.length + 4) >> 8, (body.length + 4) & 0xff])
  const one = Buffer.concat([head, body])
  return Buffer.concat(Array(Math.ceil(bytes / one.length)).fill(one))
}

test('a server that lies: its client is told what it did, and no other client notices', async (t) => {
  const world = await worldBefore(t, emulator)
  const bystander = await connectedClient(t, world.port, { database })
  for (const [what, { fault, code, message, hint }] of Object.entries(lies)) {
    await t.test(what, async () => {
      control.failFront(fault, 1)
      const said = await refusalOf(world)
      assert.equal(said.code, code)
      assert.match(said.message, message)
      assert.match(said.hint ?? '', hint)
      await bystander.query('select 1')
    })
  }
  await bystander.end()
  await assertServes(world)
})

const certificates: Record<Exclude<CertificateKind, 'right'>, RegExp> = {
  'wrong-name': /^server certificate does not match host name "instance-/,
  expired: /^server certificate of ".*" could not be verified: certificate has expired/,
  untrusted: /^server certificate of ".*" could not be verified: unable to verify/,
}

test('a certificate that fails verification is 08006, and no client is logged in', async (t) => {
  const world = await worldBefore(t, emulator)
  t.after(() => control.showCertificate('right'))
  const logins = control.logins.length
  for (const [kind, message] of Object.entries(certificates)) {
    await t.test(kind, async () => {
      await control.showCertificate(kind as CertificateKind)
      const said = await refusalOf(world)
      assert.equal(said.code, '08006')
      assert.match(said.message, message)
      assert.ok(said.hint)
    })
  }
  assert.equal(control.logins.length, logins)
  await control.showCertificate('right')
  await assertServes(world)
})

const phases: readonly FrontPhase[] = ['accept', 'ssl-request', 'tls', 'startup', 'password']

test('a server that resets once before it has let the client in is dialled again, and the client never knows', async (t) => {
  const world = await worldBefore(t, emulator)
  for (const at of phases) {
    for (const how of ['reset', 'close'] as const) {
      await t.test(`${how} at ${at}`, async () => {
        const dialled = world.relay.connections.length
        control.failFront({ at, how }, 1)
        const client = await RawClient.connect(world.port)
        assert.equal(await client.login({ user: 'anyone', database }), 'ready')
        client.socket.destroy()
        assert.equal(world.relay.connections.length, dialled + 2)
      })
    }
  }
  await assertServes(world)
})

test('a server that always resets is given up on after connect-timeout, with 57P03 and the reason', async (t) => {
  const world = await worldBefore(t, emulator, { connectTimeout: '400ms' })
  for (const at of phases) {
    await t.test(at, async () => {
      control.clearFaults()
      control.failFront({ at, how: 'reset' })
      const startedAt = performance.now()
      const said = await refusalOf(world)
      assert.ok(performance.now() - startedAt < 5_000)
      assert.equal(said.code, '57P03')
      assert.match(said.message, /Connection reset by peer|closed the connection unexpectedly/)
      assert.match(said.detail ?? '', /^Tried for 0.4 s \(connect-timeout\)\./)
      assert.ok(said.hint)
    })
  }
  await assertServes(world)
})

test('a server that resets once it has let the client in is not asked again: 08006', async (t) => {
  const world = await worldBefore(t, emulator)
  control.failFront({ at: 'greeting', how: 'reset' }, 1)
  const said = await refusalOf(world)
  assert.equal(said.code, '08006')
  assert.equal(said.message, 'server closed the connection unexpectedly during login')
  await assertServes(world)
})

test('a client that was refused and does not hang up is let go when the proxy ends, at once', async (t) => {
  const world = await worldBefore(t, emulator)
  control.failFront({ at: 'ssl-request', answer: 'N' }, 1)
  const client = await RawClient.connect(world.port)
  assert.ok(typeof (await client.login({ user: 'anyone', database })) === 'object')
  const { listener } = world.daemon.targets[0]!
  assert.equal([...listener.sessions].length, 1) // until its socket is closed
  await within(1_500, world.daemon.close())
  assert.equal([...listener.sessions].length, 0)
  client.socket.destroy()
})

test('a TARGET with the uid of an instance in a stranger’s domain: the token goes to the host that the workspace names', async (t) => {
  const { DATABRICKS_HOST, DATABRICKS_TOKEN } = emulator.env
  const headers = { authorization: `Bearer ${DATABRICKS_TOKEN}` }
  const path = '/api/2.0/database/instances/demo-instance'
  const reply = await fetch(`${DATABRICKS_HOST}${path}`, { headers })
  const { uid } = (await reply.json()) as { uid: string }
  // Only the name that the workspace gives is known to this emulator's DNS.
  const targets = [`instance-${uid}.database.stranger.example`]
  const { port } = await proxyBefore(t, emulator, { targets })
  const client = await connectedClient(t, port)
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
})
