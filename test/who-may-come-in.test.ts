/** Listening and admission: addresses and ports, limits, and clients that never say who they are. */

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import { test } from 'node:test'

import { ProxyError } from '../src/core/errors.js'
import { Listener } from '../src/listener/listener.js'
import { TargetSessions } from '../src/listener/target-sessions.js'
import type { ServingTarget } from '../src/session/route.js'
import { CancelRoutes, Cancels } from '../src/upstream/cancel.js'
import { MAIN } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { FakeClock } from './support/fake-clock.js'
import { cancel, connectedClient, proxyBefore } from './support/proxy.js'
import { RawClient } from './support/raw-client.js'
import { connect, readAll } from './support/sockets.js'

const emulator = await emulatorForTests()

test('localhost is both loopback addresses, at one port', async (t) => {
  const { port, daemon } = await proxyBefore(t, emulator)
  const { addresses } = daemon.targets[0]!.listener
  assert.ok(addresses.includes(`127.0.0.1:${port}`))
  for (const host of ['127.0.0.1', 'localhost', ...((await hasIpv6()) ? ['::1'] : [])]) {
    await connectedClient(t, port, { host })
  }
})

test('a port that is taken on either loopback address is an error with the holder and a free port', async (t) => {
  for (const host of ['127.0.0.1', ...((await hasIpv6()) ? ['::1'] : [])]) {
    const holder = net.createServer().listen(0, host)
    await once(holder, 'listening')
    const { port } = holder.address() as net.AddressInfo
    await assert.rejects(proxyBefore(t, emulator, { port }), (error: ProxyError) => {
      assert.equal(error.kind, 'config')
      assert.match(error.message, new RegExp(`^port ${port} is in use`))
      if (process.platform === 'linux')
        assert.match(error.message, new RegExp(`pid ${process.pid}`))
      const free = Number(/--port (\d+) is free/.exec(error.hint ?? '')?.[1])
      assert.ok(free > port)
      return true
    })
    holder.close()
  }
})

test('above max-connections a client is told so; a place that is free again is given away', async (t) => {
  const { port, daemon } = await proxyBefore(t, emulator, { maxConnections: 2 })
  const [one] = [await connectedClient(t, port), await connectedClient(t, port)]
  const refusal = await connectedClient(t, port).catch((error) => error)
  assert.equal(refusal.code, '53300')
  assert.equal(refusal.message, 'sorry, too many clients already')
  assert.match(refusal.hint, /--max-connections/)
  assert.match(refusal.detail, /is 2\.\nsession [0-9a-f]{8}$/)
  assert.equal(daemon.targets[0]!.sessions.isFull, true)

  const [session] = [...daemon.targets[0]!.listener.sessions]
  await one!.end()
  await (session as unknown as { done: Promise<void> }).done
  await connectedClient(t, port)
})

test('a cancel needs no place among max-connections', async (t) => {
  const { port } = await proxyBefore(t, emulator, { maxConnections: 1 })
  const client = await connectedClient(t, port)
  const cancelled = assert.rejects(client.query('select pg_sleep(60)'), { code: '57014' })
  // A cancel that comes before its query cancels nothing.
  const running = `select 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'`
  while ((await emulator.control.query(running)).length === 0);
  await cancel(port, client)
  await cancelled
})

test('a start-up packet that dribbles in does not move the deadline', async (t) => {
  const clock = new FakeClock()
  const { port } = await proxyBefore(t, emulator, { clock, handshakeTimeout: '5s' })
  const accepted = emulator.control.acceptedCount
  const socket = await connect(port)
  const closed = readAll(socket)
  for (const byte of Buffer.from('00000014', 'hex')) {
    socket.write(Buffer.from([byte]))
    await clock.advance(1_000)
  }
  await clock.advance(1_000)
  assert.equal((await closed).length, 0)
  assert.equal(emulator.control.acceptedCount, accepted)
})

test('a packet that is announced and never comes holds no more than its deadline', async (t) => {
  const clock = new FakeClock()
  const { port, daemon } = await proxyBefore(t, emulator, { clock })
  const socket = await connect(port)
  socket.write(Buffer.from('0000271000030000', 'hex'))
  const closed = readAll(socket)
  await clock.advance(10_000)
  assert.equal((await closed).length, 0)
  assert.equal([...daemon.targets[0]!.listener.sessions].length, 0)
})

test('thousands of silent connections keep no client out: the longest silent one is closed', async (t) => {
  const { port, daemon, log } = await proxyBefore(t, emulator, { clock: new FakeClock() })
  const silent: Socket[] = []
  t.after(() => {
    for (const socket of silent) socket.destroy()
  })
  for (let i = 0; i < 2_100; i += 100) {
    silent.push(...(await Promise.all(Array.from({ length: 100 }, () => connect(port)))))
  }
  await readAll(silent[0]!)
  await connectedClient(t, port)
  const { facts } = await log.seen(({ facts }) => facts.outcome === 'no startup packet')
  assert.match(String(facts.reason), /too many clients in their handshake/)
  assert.ok([...daemon.targets[0]!.listener.sessions].length <= 2_001)
  assert.equal(silent.at(-1)!.destroyed, false)
})

test('thousands that were refused and do not hang up are no more than that', async (t) => {
  const { port } = await proxyBefore(t, emulator, { clock: new FakeClock() })
  const refused: Socket[] = []
  t.after(() => {
    for (const socket of refused) socket.destroy()
  })
  for (let i = 0; i < 2_100; i += 100) {
    const some = await Promise.all(Array.from({ length: 100 }, () => connect(port)))
    for (const socket of some) socket.write(Buffer.from('0000000900030000ff', 'hex'))
    refused.push(...some)
  }
  // Who is still known is listened to; who is not is told so by a reset.
  const [first, last] = [refused[0]!, refused.at(-1)!]
  while (!first.destroyed) {
    for (const socket of [first, last]) socket.write('hello?')
    await connectedClient(t, port)
  }
  assert.equal(last.destroyed, false)
})

test('thousands that are turned away in the middle of a password exchange are closed at once', async (t) => {
  const { port, daemon } = await proxyBefore(t, emulator, {
    ...{ clock: new FakeClock(), localAuth: 'password', localPassword: 'open sesame' },
  })
  const asked: RawClient[] = []
  for (let i = 0; i < 2_100; i += 100) {
    const some = await Promise.all(Array.from({ length: 100 }, () => RawClient.connect(t, port)))
    for (const client of some) client.startup({ user: 'anybody' })
    await Promise.all(some.map((client) => client.next()))
    asked.push(...some)
  }
  // They do not hang up, and no time passes: it is the proxy that closes.
  await readAll(asked[0]!.socket)
  const { length } = [...daemon.targets[0]!.listener.sessions]
  for (const { socket } of asked) socket.destroy()
  assert.ok(length <= 2_001, `${length} sessions`)
})

test('thousands whose login failed and that do not hang up count as clients that are not admitted', async (t) => {
  const clock = new FakeClock()
  const target: ServingTarget = {
    ...{ name: 't', clientAuth: undefined, idleTimeoutMs: 0 },
    admission: new TargetSessions({ maxConnections: 0, maxConnectionsPerUser: 0 }),
    connector: {
      connect: () => Promise.reject(new ProxyError('dial', 'the upstream is not there')),
    },
    cancels: { register: () => () => {} },
  }
  const listener = new Listener({
    ...{ addresses: ['127.0.0.1'], port: 0, unixSocket: undefined, portOf: 't' },
    session: {
      ...{ target: 't', localTls: undefined, requireTls: false, clock, handshakeTimeoutMs: 1_000 },
      router: ({ parameters }) => ({ target, login: { parameters, role: undefined } }),
      cancels: new Cancels({ targets: () => [], routes: new CancelRoutes(), clock }),
      observer: {
        ...{ opened() {}, phaseEnded() {}, connected() {}, failed() {}, cancelled() {} },
        closed() {},
      },
    },
  })
  await listener.start()
  t.after(() => listener.close())
  for (let i = 0; i < 2_100; i += 100) {
    const some = await Promise.all(
      Array.from({ length: 100 }, () => RawClient.connect(t, listener.port)),
    )
    for (const client of some) client.startup({ user: 'anybody' })
    await Promise.all(some.map((client) => client.next()))
  }
  assert.ok([...listener.sessions].length <= 2_001, `${[...listener.sessions].length}`)
})

for (const [missing, here] of [
  ['127.0.0.1', '::1'],
  ['::1', '127.0.0.1'],
] as const) {
  test(`a machine whose loopback has no ${missing} is listened at ${here}`, {
    skip: needsNetworkNamespaces(),
  }, async (t) => {
    const net = `ip link set lo up; ip addr del ${missing}/${missing === '::1' ? 128 : 8} dev lo`
    const args = ['postgresql://ada:pass@db.example/shop', '--port', '0', '--admin-port', '0']
    const child = spawn(
      'unshare',
      ['-rn', 'sh', '-c', `${net}; exec "$@"`, 'sh', process.execPath, MAIN, ...args],
      {
        env: { PATH: process.env.PATH, HOME: '/nonexistent' },
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    )
    t.after(() => child.kill('SIGKILL'))
    let said = ''
    for await (const bytes of child.stderr) {
      said += String(bytes)
      if (/"listening"|lakebase-proxy: /.test(said)) break
    }
    const shown = here === '::1' ? '\\[::1\\]' : here
    assert.match(said, new RegExp(`"addresses":\\["${shown}:\\d+"\\]`))
  })
}

/** A network of the test's own, with a loopback interface that it may change. */
function needsNetworkNamespaces(): false | string {
  try {
    const net = 'ip link set lo up && ip addr del ::1/128 dev lo'
    execFileSync('unshare', ['-rn', 'sh', '-c', net], { stdio: 'ignore' })
    return false
  } catch {
    return 'unshare and ip are not usable here'
  }
}

async function hasIpv6(): Promise<boolean> {
  const server = net.createServer().listen(0, '::1')
  const isThere = await once(server, 'listening').then(
    () => true,
    () => false,
  )
  server.close()
  return isThere
}
