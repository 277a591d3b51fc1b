/** Whom the proxy believes to be the server: what of the certificate counts in each sslmode. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import net, { type AddressInfo } from 'node:net'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { TargetSettings } from '../src/config/resolve/settings.js'
import type { CertifiedNames, CertifiedPair } from '../src/core/certificates.js'
import { systemClock } from '../src/core/clock.js'
import { dial } from '../src/upstream/dial.js'
import { UpstreamTls } from '../src/upstream/tls-context.js'
import { readSome } from '../src/wire/byte-reader.js'
import { FakeClock } from './support/fake-clock.js'
import { temporaryFolder } from './support/proxy.js'
import { recordedLog } from './support/recorded-log.js'
import { neverAborted } from './support/scripted-workspace.js'
import { authority, type TlsServer, tlsServer } from './support/tls-server.js'

const HOST = 'instance-1.database.example.com'
const OTHER = 'instance-2.database.example.com'
const trusted = await authority()
const stranger = await authority()

async function rootsOf(t: TestContext, pair = trusted): Promise<string> {
  const path = join(await temporaryFolder(t), 'ca.pem')
  await writeFile(path, pair.cert)
  return path
}

/** A server that says as whom it was greeted. */
function greeted(t: TestContext, signer: CertifiedPair, certified: CertifiedNames, host?: string) {
  return tlsServer(t, {
    ...{ authority: signer, certified, ...(host !== undefined && { host }) },
    serve: ({ secured, servername }) => secured.end(servername ?? 'no name'),
  })
}

/** Dials, and gives what such a server says. */
async function reach(
  server: TlsServer,
  host: string,
  tls: UpstreamTls,
  address = '127.0.0.1',
): Promise<string> {
  return (await greet(server, host, tls, address)).said
}

/** The same, and whether the handshake was cut short by what an earlier one had left. */
async function greet(
  server: TlsServer,
  host: string,
  tls: UpstreamTls,
  address = '127.0.0.1',
): Promise<{ said: string; isResumed: boolean }> {
  const endpoint = { host, port: server.port, addresses: [address], database: undefined }
  const options = { tls, clock: systemClock, dialled: () => {} }
  const { socket } = await dial(endpoint, options, neverAborted)
  assert.equal(socket.encrypted, true)
  try {
    const said = (await readSome(socket, neverAborted)).toString()
    return { said, isResumed: socket.isSessionReused() }
  } finally {
    socket.destroy()
  }
}

async function tlsOf(
  t: TestContext,
  verify: TargetSettings['verify'] = 'full',
): Promise<UpstreamTls> {
  return new UpstreamTls({ verify, sslrootcert: await rootsOf(t) })
}

test('verify-full: the name is said by SNI, and the certificate must bear it', async (t) => {
  const tls = await tlsOf(t)
  const server = await greeted(t, trusted, { hosts: [HOST], addresses: [] })
  assert.equal(await reach(server, HOST, tls), HOST)
  await assert.rejects(reach(server, OTHER, tls), {
    ...{ kind: 'tls', sqlState: '08006' },
    message: `server certificate does not match host name "${OTHER}"`,
  })
})

test('a name that was verified does not vouch for another, even with a resumed TLS session', async (t) => {
  const tls = await tlsOf(t)
  const server = await greeted(t, trusted, { hosts: [HOST], addresses: [] })
  for (let round = 0; round < 3; round++) {
    await reach(server, HOST, tls)
    await assert.rejects(reach(server, OTHER, tls), { kind: 'tls' })
  }
})

test('a server that gives tickets is verified once, and greeted more shortly from then on', async (t) => {
  const tls = await tlsOf(t)
  const certified = { hosts: [HOST, OTHER], addresses: [] }
  const server = await greeted(t, trusted, certified)
  assert.deepEqual(await greet(server, HOST, tls), { said: HOST, isResumed: false })
  assert.deepEqual(await greet(server, HOST, tls), { said: HOST, isResumed: true })
  assert.deepEqual(await greet(server, HOST, tls), { said: HOST, isResumed: true })
  assert.deepEqual(await greet(server, OTHER, tls), { said: OTHER, isResumed: false })
  const restarted = await greeted(t, trusted, certified)
  assert.deepEqual(await greet(restarted, OTHER, tls), { said: OTHER, isResumed: false })
  await greet(restarted, OTHER, tls)
  for (let connection = 0; connection < 3; connection++) {
    assert.deepEqual(await greet(restarted, OTHER, tls), { said: OTHER, isResumed: true })
  }
})

test('a session ticket does not vouch for another server of the same name', async (t) => {
  const tls = await tlsOf(t)
  const certified = { hosts: [HOST], addresses: [] }
  const server = await greeted(t, trusted, certified)
  await reach(server, HOST, tls)
  const impostor = await greeted(t, stranger, certified)
  await assert.rejects(reach(impostor, HOST, tls), { kind: 'tls' })
  assert.deepEqual(await greet(server, HOST, tls), { said: HOST, isResumed: false })
  assert.deepEqual(await greet(server, HOST, tls), { said: HOST, isResumed: true })
})

test('a resumed session outlives neither the certificate that was verified nor ten minutes', async (t) => {
  const clock = new FakeClock()
  const deps = { clock, log: recordedLog() }
  const tls = new UpstreamTls({ verify: 'full', sslrootcert: await rootsOf(t) }, deps)
  const server = await greeted(t, trusted, { hosts: [HOST], addresses: [] })
  const isResumed = async (): Promise<boolean> => (await greet(server, HOST, tls)).isResumed
  assert.equal(await isResumed(), false)
  // A ticket of a resumed session is no younger than the certificate that it goes back to.
  for (let minute = 0; minute < 10; minute++) {
    assert.equal(await isResumed(), true)
    await clock.advance(60_000)
  }
  assert.equal(await isResumed(), false)
  assert.equal(await isResumed(), true)
  clock.set(Date.now() + 2 * 86_400_000)
  assert.equal(await isResumed(), false, 'the certificate is for a day')
})

test('nothing is kept of a server that was not verified', async (t) => {
  const tls = await tlsOf(t, 'none')
  const server = await greeted(t, stranger, { hosts: [HOST], addresses: [] })
  await reach(server, HOST, tls)
  assert.deepEqual(await greet(server, HOST, tls), { said: HOST, isResumed: false })
})

// https://datatracker.ietf.org/doc/html/rfc8446#section-4.1.3
const HELLO_RETRY_REQUEST = Buffer.from(
  'cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c',
  'hex',
)

test('a server that takes only P-256, as PostgreSQL does, has to ask for it once', async (t) => {
  const tls = await tlsOf(t)
  const certified = { hosts: [HOST], addresses: [] }
  const server = await tlsServer(t, {
    ...{ authority: trusted, certified, ecdhCurve: 'prime256v1' },
    serve: ({ secured }) => secured.end('hello'),
  })
  const asked: boolean[] = []
  const listening = net.createServer((near) => {
    const far = net.connect(server.port, '127.0.0.1')
    const heard: Buffer[] = []
    far.on('data', (chunk: Buffer) => heard.push(chunk))
    far.on('close', () => asked.push(Buffer.concat(heard).includes(HELLO_RETRY_REQUEST)))
    for (const socket of [near, far]) socket.on('error', () => {})
    near.pipe(far).pipe(near)
  })
  listening.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  t.after(() => listening.close())
  const { port } = listening.address() as AddressInfo
  for (let times = 0; times < 3; times++) assert.equal(await reach({ port }, HOST, tls), 'hello')
  while (asked.length < 3) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(asked, [true, false, false])
})

test('verify-ca: any name of a trusted authority, and no other authority', async (t) => {
  const tls = await tlsOf(t, 'ca')
  const certified = { hosts: [OTHER], addresses: [] }
  const server = await greeted(t, trusted, certified)
  assert.equal(await reach(server, HOST, tls), HOST)
  const unknown = await greeted(t, stranger, certified)
  await assert.rejects(reach(unknown, HOST, tls), { kind: 'tls', hint: /--sslrootcert/ })
})

test('require: any server is believed, but only over TLS', async (t) => {
  const tls = await tlsOf(t, 'none')
  const certified = { hosts: [OTHER], addresses: [] }
  const server = await greeted(t, stranger, certified)
  assert.equal(await reach(server, HOST, tls), HOST)
})

for (const [host, other] of [
  ['127.0.0.1', '127.0.0.2'],
  ['::1', '::2'],
] as const) {
  const here = Object.values(networkInterfaces()).some((each) =>
    each?.some(({ address }) => address === host),
  )
  test(`a host that is the address ${host} is verified as such, and no name is said`, {
    skip: !here && `this machine has no ${host}`,
  }, async (t) => {
    const tls = await tlsOf(t)
    const right = { hosts: ['localhost'], addresses: [host] }
    const server = await greeted(t, trusted, right, host)
    assert.equal(await reach(server, host, tls, host), 'no name')
    const wrong = { hosts: ['localhost'], addresses: [other] }
    const impostor = await greeted(t, trusted, wrong, host)
    await assert.rejects(reach(impostor, host, tls, host), { kind: 'tls' })
  })
}

test('an sslrootcert that cannot be read is said so, by name', async (t) => {
  const tls = new UpstreamTls({ verify: 'full', sslrootcert: '/nonexistent/ca.pem' })
  const certified = { hosts: [HOST], addresses: [] }
  const server = await greeted(t, trusted, certified)
  await assert.rejects(reach(server, HOST, tls), {
    ...{ kind: 'config', sqlState: '57P03' },
    message: 'could not read root certificate file "/nonexistent/ca.pem"',
  })
})

test('a replaced sslrootcert is used for the next handshake, and a half-written one changes nothing', async (t) => {
  const clock = new FakeClock()
  const log = recordedLog()
  const sslrootcert = await rootsOf(t)
  const pem = await readFile(sslrootcert, 'utf8')
  const tls = new UpstreamTls({ verify: 'full', sslrootcert }, { clock, log })
  const server = await greeted(t, trusted, { hosts: [HOST], addresses: [] })
  assert.equal(await reach(server, HOST, tls), HOST)

  await writeFile(sslrootcert, pem.slice(0, pem.length / 2))
  await clock.advance(2_000)
  assert.equal(await reach(server, HOST, tls), HOST)
  await log.seen(({ level, message }) => level === 'warn' && /old one stays/.test(message))

  await writeFile(sslrootcert, stranger.cert)
  await clock.advance(2_000)
  await assert.rejects(reach(server, HOST, tls), { kind: 'tls' })

  await writeFile(sslrootcert, pem)
  await clock.advance(2_000)
  assert.equal(await reach(server, HOST, tls), HOST)
})
