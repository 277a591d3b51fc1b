/** A TLS session that is kept without the server's certificate is still resumed, and still vouched for. */

import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import tls, { type SecureVersion, type TLSSocket } from 'node:tls'

import { issueCertificate, makeAuthority } from '../src/core/certificates.js'
import { withoutCertificate } from '../src/upstream/tls-session.js'

const HOST = 'instance-1.database.example.com'
const times = { now: Date.now(), days: 1 }
const authority = await makeAuthority('Test', times)
const pair = await issueCertificate(authority, { hosts: [HOST], addresses: [] }, times)
const certificate = new X509Certificate(pair.cert).raw

/** A server of this version of TLS; returns a function that connects to it. */
async function serverOf(
  t: TestContext,
  maxVersion: SecureVersion,
): Promise<(session?: Buffer) => TLSSocket> {
  const server = tls.createServer({ ...pair, maxVersion }, (socket) => socket.end('hello'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  return (session) => {
    const options = { host: '127.0.0.1', port, servername: HOST, ca: authority.cert }
    const socket = tls.connect({ ...options, ...(session && { session }) })
    t.after(() => socket.destroy())
    return socket
  }
}

async function sessionOf(socket: TLSSocket): Promise<Buffer> {
  const [session] = await once(socket, 'session')
  return session as Buffer
}

test('of TLS 1.3, the certificate is not kept, and the session is resumed', async (t) => {
  const connect = await serverOf(t, 'TLSv1.3')
  const session = await sessionOf(connect())
  assert.ok(session.includes(certificate), 'OpenSSL keeps it')
  const kept = withoutCertificate(session)
  assert.ok(!kept.includes(certificate))
  const resumed = connect(kept)
  await once(resumed, 'secureConnect')
  assert.equal(resumed.isSessionReused(), true)
  assert.equal(resumed.authorized, true)
})

test('of TLS 1.2, the session is kept as it is', async (t) => {
  const connect = await serverOf(t, 'TLSv1.2')
  const session = await sessionOf(connect())
  assert.deepEqual(withoutCertificate(session), session)
})

test('bytes of another form are returned as they are', async (t) => {
  const connect = await serverOf(t, 'TLSv1.3')
  const session = await sessionOf(connect())
  for (let length = 0; length < session.length; length++) {
    const cut = session.subarray(0, length)
    assert.equal(withoutCertificate(cut), cut)
  }
  const longer = Buffer.concat([session, session])
  assert.equal(withoutCertificate(longer), longer)
})
