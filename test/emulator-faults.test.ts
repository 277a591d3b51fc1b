/** How the emulator misbehaves when told to: what the tests of the proxy rest on. */

import assert from 'node:assert/strict'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import tls from 'node:tls'
import type { FrontPhase } from '../src/emulator/front-connection.js'
import { refusals } from '../src/emulator/front-messages.js'
import { demoUser } from '../src/emulator/inventory.js'
import { emulatorForTests, frontClient } from './support/emulator.js'
import { wakingRefusals } from './support/emulator-control.js'
import { connect, readAll } from './support/sockets.js'

const emulator = await emulatorForTests()
const { control } = emulator
const host = control.instance('demo-instance').readWriteHost
const sslRequest = Buffer.from('0000000804d2162f', 'hex')

const login = (options: { password?: string } = {}) => {
  const password = options.password ?? control.mintToken(demoUser).text
  return frontClient(emulator, { host, user: demoUser.userName, password })
}

async function logInAndOut(): Promise<void> {
  const client = login()
  await client.connect()
  await client.end()
}

async function answerToSslRequest(): Promise<Buffer> {
  const socket = await connect(emulator.frontPort)
  socket.write(sslRequest)
  return readAll(socket)
}

test('SSLRequest is answered N, or with an error, or with bytes stuffed after S', async () => {
  control.failFront({ at: 'ssl-request', answer: 'E' }, 1)
  assert.match((await answerToSslRequest()).toString(), /^E.*SFATAL/s)
  control.failFront({ at: 'ssl-request', answer: 'N' }, 1)
  control.failFront({ at: 'ssl-request', answer: 'extra-bytes' }, 1)
  for (const expected of ['N', 'Sstuffed bytes']) {
    const socket = await connect(emulator.frontPort)
    socket.write(sslRequest)
    const [bytes] = (await once(socket, 'data')) as [Buffer]
    assert.equal(bytes.toString(), expected)
    socket.destroy()
  }
  await logInAndOut()
})

test('it resets, and closes, at every phase', async () => {
  const phases: FrontPhase[] = ['accept', 'ssl-request', 'tls', 'startup', 'password', 'greeting']
  for (const at of phases) {
    for (const how of ['reset', 'close'] as const) {
      control.failFront({ at, how }, 1)
      await assert.rejects(login().connect())
      await logInAndOut()
    }
  }
})

test('it hangs until the client leaves, and is then rid of it', async () => {
  control.failFront({ at: 'startup', how: 'hang' }, 1)
  const client = login()
  const connecting = client.connect().catch(() => 'ended')
  while (control.connections()[0]?.phase !== 'startup') await delay(5)
  const { stream } = (client as unknown as { connection: { stream: Socket } }).connection
  stream.destroy()
  await connecting
  while (control.connections().length > 0) await delay(5)
})

test('it asks for SASL or MD5 instead of a cleartext password', async () => {
  control.failFront({ at: 'startup', ask: 'sasl' }, 1)
  await assert.rejects(login({ password: 'x' }).connect())
  control.failFront({ at: 'startup', ask: 'md5' }, 1)
  await assert.rejects(login({ password: 'x' }).connect())
})

test('it refuses as told, before or after the password', async () => {
  const refuse = refusals.externalAuthorization('Endpoint is new.')
  control.failFront({ at: 'startup', refuse }, 2)
  for (let times = 0; times < 2; times++) {
    await assert.rejects(login().connect(), { code: '28000', detail: /Endpoint is new/ })
  }
  control.failFront({ at: 'password', refuse: wakingRefusals['starting up'] }, 1)
  await assert.rejects(login().connect(), { code: '57P03' })
  await logInAndOut()
})

test('it shows a certificate that must not be accepted', async () => {
  const expected = {
    'wrong-name': 'ERR_TLS_CERT_ALTNAME_INVALID',
    expired: 'CERT_HAS_EXPIRED',
    untrusted: /SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER/,
  } as const
  for (const [kind, code] of Object.entries(expected)) {
    await control.showCertificate(kind as keyof typeof expected)
    await assert.rejects(login().connect(), { code })
  }
  await control.showCertificate('right')
  await logInAndOut()
})

test('a resumed session does not hide the new certificate', async () => {
  const handshake = async (session?: Buffer) => {
    const socket = await connect(emulator.frontPort)
    socket.write(sslRequest)
    await once(socket, 'data')
    socket.pause()
    const options = { socket, ca: emulator.caPem, servername: host, maxVersion: 'TLSv1.2' as const }
    const client = tls.connect({ ...options, ...(session && { session }) })
    client.on('error', () => {})
    await once(client, 'secureConnect')
    return client
  }
  const first = await handshake()
  const session = first.getSession()!
  first.destroy()
  await control.showCertificate('right')
  const second = await handshake(session)
  assert.equal(second.isSessionReused(), false)
  second.destroy()
})

test('sessions can be reset all at once', async () => {
  const client = login()
  await client.connect()
  const ended = new Promise((resolve) => client.once('end', resolve))
  control.resetConnections()
  await ended
})

test('DNS knows the emulated hosts alone, and says what it is told', async () => {
  const resolver = new Resolver({ timeout: 200, tries: 1 })
  resolver.setServers([emulator.dnsServer])
  const answer = await resolver.resolve4(host, { ttl: true })
  assert.deepEqual(answer, [{ address: '127.0.0.1', ttl: 5 }])
  await assert.rejects(resolver.resolve6(host), { code: 'ENODATA' })
  await assert.rejects(resolver.resolve4('example.com'), { code: 'ENOTFOUND' })
  control.setDns(host, { addresses: ['127.0.0.9', '::1'], ttlSeconds: 60 })
  assert.deepEqual(await resolver.resolve4(host, { ttl: true }), [
    { address: '127.0.0.9', ttl: 60 },
  ])
  assert.deepEqual(await resolver.resolve6(host), ['::1'])
  control.setDns(host, { addresses: [], failure: 'SERVFAIL' })
  await assert.rejects(resolver.resolve4(host), { code: 'ESERVFAIL' })
  control.setDns(host, { addresses: [], failure: 'silence' })
  await assert.rejects(resolver.resolve4(host), { code: 'ETIMEOUT' })
})
