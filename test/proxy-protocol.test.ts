/** `proxy-protocol`: the real client behind a load balancer, from listed sources only. */

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import tls from 'node:tls'

import type { SessionView } from '../src/session/session-view.js'
import { emulatorForTests } from './support/emulator.js'
import { FakeClock } from './support/fake-clock.js'
import { proxyBefore, type TestProxyOptions } from './support/proxy.js'
import { RawClient } from './support/raw-client.js'
import { connect, readAll } from './support/sockets.js'

const emulator = await emulatorForTests()
const SIGNATURE = '0d0a0d0a000d0a515549540a'

const behindBalancer = (t: TestContext, options: TestProxyOptions = {}) =>
  proxyBefore(t, emulator, { proxyProtocol: 'on', ...options })

const hex = (text: string): Buffer => Buffer.from(SIGNATURE + text.replaceAll(' ', ''), 'hex')
const TCP4 = '21 11 000c c0000207 0a000001 d903 1538'

async function clientAfter(
  t: TestContext,
  port: number,
  header: Buffer | string,
): Promise<RawClient> {
  const client = await RawClient.connect(t, port)
  client.socket.write(header)
  return client
}

for (const [what, header, address] of [
  ['version 1, IPv4', 'PROXY TCP4 192.0.2.7 10.0.0.1 55555 5432\r\n', '192.0.2.7:55555'],
  ['version 1, IPv6', 'PROXY TCP6 2001:db8::7 ::1 55555 5432\r\n', '[2001:db8::7]:55555'],
  ['version 2, IPv4', hex(TCP4), '192.0.2.7:55555'],
  [
    'version 2, IPv6 and TLVs',
    hex(`21 21 0029 20010db8000000000000000000000007 ${'00'.repeat(16)} d903 1538 0300020102`),
    '[2001:db8::7]:55555',
  ],
] as const) {
  test(`${what}: the client is the one that the load balancer names`, async (t) => {
    const { port, log, daemon } = await behindBalancer(t)
    const client = await clientAfter(t, port, header)
    await client.logIn({ user: 'anybody' })
    const [session] = [...daemon.targets[0]!.listener.sessions] as SessionView[]
    assert.equal(session!.client, address)
    client.socket.destroy()
    const { facts } = await log.seen(({ message }) => message === 'session ended')
    assert.equal(facts.client, address)
  })
}

for (const [what, header] of [
  ['version 1, UNKNOWN', 'PROXY UNKNOWN\r\n'],
  ['version 1, UNKNOWN with more', 'PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n'],
  ['version 2, LOCAL', hex('20 00 0000')],
  ['version 2, LOCAL with an address', hex('20 11 000c c0000207 0a000001 d903 1538')],
  ['version 2, a Unix socket', hex(`21 31 00d8 ${'00'.repeat(216)}`)],
  ['version 2, no family', hex('21 00 0003 040000')],
] as const) {
  test(`${what}: the client is the load balancer itself`, async (t) => {
    const { port, daemon } = await behindBalancer(t)
    const client = await clientAfter(t, port, header)
    await client.logIn({ user: 'anybody' })
    const [session] = [...daemon.targets[0]!.listener.sessions] as SessionView[]
    assert.match(session!.client, /^127\.0\.0\.1:/)
  })
}

for (const [what, header] of [
  ['none', Buffer.from('0000001600030000757365720061000000', 'hex')],
  ['an endless line', `PROXY TCP4 ${'1'.repeat(200)}`],
  ['a made-up address', 'PROXY TCP4 192.0.2.777 10.0.0.1 1 2\r\n'],
  ['an IPv6 address as TCP4', 'PROXY TCP4 ::1 ::1 1 2\r\n'],
  ['a port too high', 'PROXY TCP4 192.0.2.7 10.0.0.1 65536 2\r\n'],
  ['a word too many', 'PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n'],
  ['another version', hex('11 11 000c c0000207 0a000001 d903 1538')],
  ['another command', hex('22 11 000c c0000207 0a000001 d903 1538')],
  ['a length that is too short', hex('21 11 0004 c0000207')],
  ['a length beyond the limit', hex('21 11 ffff')],
] as const) {
  test(`a listed source with ${what} as its header is closed without a byte`, async (t) => {
    const { port, log } = await behindBalancer(t)
    const { socket } = await clientAfter(t, port, header)
    assert.equal((await readAll(socket)).length, 0)
    const { facts } = await log.seen(({ message }) => message === 'session ended')
    assert.match(String(facts.reason), /PROXY protocol header/)
  })
}

test('a source that is not listed is served without a header, and closed with one', async (t) => {
  const { port, log } = await behindBalancer(t, { proxyProtocolFrom: ['192.0.2.0/24'] })
  const client = await RawClient.connect(t, port)
  await client.logIn({ user: 'anybody' })
  for (const header of ['PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n', hex(TCP4)]) {
    const { socket } = await clientAfter(t, port, header)
    assert.equal((await readAll(socket)).length, 0)
  }
  await log.seen(({ facts }) => /not in proxy-protocol-from/.test(String(facts.reason)))
})

test('a header that dribbles in, with start-up packet and TLS hello right after it, is read to its last byte and no further', async (t) => {
  const { port } = await behindBalancer(t, { localTls: 'auto' })
  for (const header of [Buffer.from('PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n'), hex(TCP4)]) {
    const client = await RawClient.connect(t, port)
    for (const byte of header) client.socket.write(Buffer.from([byte]))
    await client.logIn({ user: 'anybody' })
    const socket: Socket = await connect(port)
    socket.write(header)
    const secured = tls.connect({
      ...{ socket, rejectUnauthorized: false, ALPNProtocols: ['postgresql'] },
    })
    t.after(() => secured.destroy())
    await new RawClient(secured).logIn({ user: 'anybody' })
  }
})

const BEYOND = 'PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n'
const FROM_HERE = ['PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n', 'PROXY UNKNOWN\r\n']
const PASSWORD = { localAuth: 'password', localPassword: 'secret' } as const

test('with a password and local TLS, TLS is needed by where the real client is, not by where the balancer is', async (t) => {
  const first = async (header: string, options: TestProxyOptions): Promise<string> => {
    const { port } = await behindBalancer(t, options)
    const client = await clientAfter(t, port, header)
    client.startup({ user: 'anybody' })
    const { type, body } = await client.next()
    return `${type}${body.toString('latin1')}`
  }
  const withTls: TestProxyOptions = { ...PASSWORD, localTls: 'auto' }
  assert.match(await first(BEYOND, withTls), /^E.*C28000.*connection requires TLS/s)
  for (const header of FROM_HERE) assert.match(await first(header, withTls), /^R/)
  // Where no TLS is offered, the balancer may have ended it; nothing could be asked for.
  assert.match(await first(BEYOND, PASSWORD), /^R/)
  assert.match(await first(BEYOND, { ...withTls, unsafeListen: true }), /^R/)
  assert.match(await first(BEYOND, { localTls: 'auto' }), /^R/)
})

test('a header that does not come ends at handshake-timeout', async (t) => {
  const clock = new FakeClock()
  const { port } = await behindBalancer(t, { clock })
  const { socket } = await clientAfter(t, port, 'PROXY TCP4 192')
  const closed = readAll(socket)
  await clock.advance(10_000)
  assert.equal((await closed).length, 0)
})

test('a health check that connects and leaves is a probe', async (t) => {
  const { port, log } = await behindBalancer(t)
  const socket = await connect(port)
  socket.end()
  await readAll(socket)
  const checked = await clientAfter(t, port, hex('20 00 0000'))
  checked.socket.end()
  await readAll(checked.socket)
  assert.ok(log.lines.every(({ level }) => level !== 'warn'))
})
