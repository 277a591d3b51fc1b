/** CancelRequests: carried to the address of their session, whole, in every way that clients send them. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import { type CancelRoute, CancelRoutes } from '../src/upstream/cancel.js'
import { cancelRequest, RawClient, SSL_REQUEST, serverSaid } from './chaos/raw-client.js'
import { Relay } from './chaos/relay.js'
import { eventually, type World, within, worldBefore } from './chaos/world.js'
import { emulatorForTests } from './support/emulator.js'
import { FakeClock } from './support/fake-clock.js'
import { proxyBefore, type TestProxyOptions, temporaryFolder } from './support/proxy.js'
import { authority, type TlsServerOptions, tlsServer } from './support/tls-server.js'

const emulator = await emulatorForTests()
const { control } = emulator
const { readWriteHost } = control.instance('demo-instance')

interface Sleeper {
  readonly client: RawClient
  readonly key: Buffer
  isRunning(): Promise<boolean>
  /** The SQLSTATE its query ends with. */
  ended(): Promise<string | undefined>
}

/** Logged in, and a query of it under way. */
async function sleeper({ port }: Pick<World, 'port'>): Promise<Sleeper> {
  const client = await RawClient.connect(port)
  client.startup({ user: 'anyone', database: 'databricks_postgres' })
  const key = (await client.until('Z')).find(({ type }) => type === 'K')!.body
  client.query('select pg_sleep(60)')
  const running = `select 1 from pg_stat_activity where pid = ${key.readInt32BE()} and state = 'active'`
  const isRunning = async (): Promise<boolean> => (await control.query(running)).length > 0
  while (!(await isRunning()));
  return {
    client,
    key,
    isRunning,
    async ended() {
      const error = (await client.until('Z')).find(({ type }) => type === 'E')
      return error && serverSaid(error.body).code
    },
  }
}

test('a client that leaves at once has its cancel carried on all the same, and is sent no byte', async (t) => {
  const world = await worldBefore(t, emulator)
  const { key, ended } = await sleeper(world)
  world.relay.plan = () => [{ how: 'delay', direction: 'up', ms: 50 }]
  const canceller = await RawClient.connect(world.port)
  canceller.send(cancelRequest(key))
  canceller.socket.end()
  assert.equal(await within(5_000, ended()), '57014')
  assert.equal((await canceller.rest()).length, 0)
})

test('a cancel may come after an SSLRequest that was answered N', async (t) => {
  const world = await worldBefore(t, emulator)
  const { key, ended } = await sleeper(world)
  const canceller = await RawClient.connect(world.port)
  canceller.send(SSL_REQUEST)
  assert.equal((await canceller.read(1))?.toString(), 'N')
  canceller.send(cancelRequest(key))
  assert.equal(await within(5_000, ended()), '57014')
})

test('a wrong key cancels nothing, and no client gets an error', async (t) => {
  const world = await worldBefore(t, emulator)
  const { client, key, isRunning } = await sleeper(world)
  const wrong = Buffer.from(key)
  wrong.writeInt32BE(wrong.readInt32BE(4) ^ 1, 4)
  const canceller = await RawClient.connect(world.port)
  canceller.send(cancelRequest(wrong))
  assert.equal((await within(5_000, canceller.rest())).length, 0)
  assert.equal(await isRunning(), true)
  const right = await RawClient.connect(world.port)
  right.send(cancelRequest(key))
  await client.until('Z')
})

test('a cancel goes to the address that its session is on, not to where the target is by now', async (t) => {
  const world = await worldBefore(t, emulator)
  const { key, ended } = await sleeper(world)
  const elsewhere = await Relay.start({
    ...{ host: '127.0.0.2', port: world.relay.port, to: { port: emulator.frontPort } },
  }).catch(() => undefined)
  if (elsewhere === undefined) return t.skip('127.0.0.2 is not an address of this machine')
  t.after(() => elsewhere.close())
  t.after(() => control.setDns(readWriteHost, { addresses: ['127.0.0.1'] }))
  control.setDns(readWriteHost, { addresses: ['127.0.0.2'] })
  await world.daemon.reload(world.settings({ resolver: [emulator.dnsServer, '127.0.0.1:1'] }))

  const canceller = await RawClient.connect(world.port)
  canceller.send(cancelRequest(key))
  assert.equal(await within(5_000, ended()), '57014')
  assert.equal(elsewhere.connections.length, 0)
})

test('a hundred cancels at once are relayed a few at a time, and do not hold up other clients', async (t) => {
  const world = await worldBefore(t, emulator, { maxConnections: 2 })
  const { key, ended } = await sleeper(world)
  world.relay.plan = () => [{ how: 'delay', direction: 'down', ms: 20 }]
  const flood = await Promise.all(Array.from({ length: 100 }, () => RawClient.connect(world.port)))
  let most = 0
  const watch = setInterval(() => {
    most = Math.max(most, world.relay.openCount)
  }, 1)
  for (const each of flood) each.send(cancelRequest(Buffer.from('00000001ffffffff', 'hex')))
  const client = await RawClient.connect(world.port)
  assert.equal(
    await within(5_000, client.login({ user: 'anyone', database: 'databricks_postgres' })),
    'ready',
  )
  await Promise.all(flood.map((each) => within(10_000, each.rest())))
  clearInterval(watch)
  assert.ok(most <= 18, `${most} connections at once: two sessions and sixteen cancels`)
  const canceller = await RawClient.connect(world.port)
  canceller.send(cancelRequest(key))
  assert.equal(await within(5_000, ended()), '57014')
})

/** A proxy of a static target at a server that says nothing, to which only cancels come. */
async function beforeServer(
  t: TestContext,
  serve: TlsServerOptions['serve'],
  options: TestProxyOptions = {},
) {
  const signer = await authority()
  const certified = { hosts: ['db.example.com'], addresses: [] }
  const server = await tlsServer(t, { authority: signer, certified, serve })
  const sslrootcert = join(await temporaryFolder(t), 'ca.pem')
  await writeFile(sslrootcert, signer.cert)
  return proxyBefore(t, emulator, {
    targets: ['postgresql://app:secret@db.example.com/app'],
    ...{ hostaddr: '127.0.0.1', upstreamPort: server.port, sslrootcert, ...options },
  })
}

test('keys of 4 to 256 bytes arrive as they came', async (t) => {
  const arrived: Buffer[] = []
  const { port } = await beforeServer(t, ({ secured }) => {
    let packet = Buffer.alloc(0)
    secured.on('data', (chunk: Buffer) => {
      packet = Buffer.concat([packet, chunk])
      if (packet.length < 4 || packet.length < packet.readInt32BE()) return
      arrived.push(packet)
      secured.end()
    })
  })
  for (const keyBytes of [4, 32, 256]) {
    const packet = Buffer.alloc(12 + keyBytes, 7)
    packet.writeInt32BE(packet.length, 0)
    packet.writeInt32BE(80877102, 4)
    const canceller = await RawClient.connect(port)
    canceller.send(packet)
    assert.equal((await within(5_000, canceller.rest())).length, 0)
    assert.deepEqual(arrived.at(-1), packet)
  }
})

test('a front door that looks something up first, and drops a request whose sender has gone, delivers it', async (t) => {
  let delivered = 0
  const { port } = await beforeServer(t, ({ secured }) => {
    let isGone = false
    secured.on('end', () => {
      isGone = true
    })
    secured.once('data', () => {
      setTimeout(() => {
        if (!isGone) delivered++
        secured.end()
      }, 30)
    })
  })
  const canceller = await RawClient.connect(port)
  canceller.send(cancelRequest(Buffer.alloc(8)))
  await within(5_000, canceller.rest())
  assert.equal(delivered, 1)
})

test('a client is let go once the signal was delivered, at a front door that closes both ways on a FIN', async (t) => {
  let delivered = 0
  const { port } = await beforeServer(t, ({ secured }) => {
    secured.on('end', () => secured.end())
    secured.once('data', () => {
      setTimeout(() => {
        delivered++
        secured.end()
      }, 30)
    })
  })
  for (let n = 1; n <= 5; n++) {
    const canceller = await RawClient.connect(port)
    canceller.send(cancelRequest(Buffer.alloc(8)))
    await within(5_000, canceller.rest())
    assert.equal(delivered, n)
  }
})

test('a server that takes the request and never hangs up is left after 10 s', async (t) => {
  const clock = new FakeClock()
  let took = (): void => {}
  let left = (): void => {}
  const taken = new Promise<void>((resolve) => {
    took = resolve
  })
  const hasLeft = new Promise<void>((resolve) => {
    left = resolve
  })
  const serve: TlsServerOptions['serve'] = ({ secured }) => {
    secured.once('data', took).once('end', left)
  }
  const { port, log } = await beforeServer(t, serve, { clock })
  const canceller = await RawClient.connect(port)
  canceller.send(cancelRequest(Buffer.alloc(8)))
  await taken
  await clock.advance(10_000)
  assert.equal((await within(5_000, canceller.rest())).length, 0)
  await within(5_000, hasLeft)
  const { facts } = await log.seen(({ message }) => message === 'cancel request not delivered')
  assert.match(String(facts.reason), /timeout expired/)
})

test('a flood of made-up keys does not delay the cancel of a real session', async (t) => {
  const world = await worldBefore(t, emulator)
  const { key, ended } = await sleeper(world)
  const session = world.relay.connections.length
  // The made-up ones reach the server and stay there: those after them wait for their turn.
  world.relay.plan = () => [{ how: 'delay', direction: 'down', ms: 60_000 }]
  const flood = await Promise.all(Array.from({ length: 50 }, () => RawClient.connect(world.port)))
  for (const each of flood) each.send(cancelRequest(Buffer.from('00000001ffffffff', 'hex')))
  await eventually(() => world.relay.connections.length >= session + 4, 'they are dialled')
  world.relay.plan = () => []
  const canceller = await RawClient.connect(world.port)
  canceller.send(cancelRequest(key))
  assert.equal(await within(5_000, ended()), '57014')
  assert.equal(world.relay.connections.length, session + 5, 'four of the flood, and the real one')
  for (const each of flood) each.socket.destroy()
})

test('a key that two targets have given is looked for at the target whose port was asked', () => {
  const routes = new CancelRoutes()
  const route = (host: string): CancelRoute => ({
    endpoint: { host, port: 5432, addresses: [host], database: undefined },
    dialOptions: {} as CancelRoute['dialOptions'],
  })
  const [a, b] = [route('a'), route('b')]
  const forgetA = routes.add('target-a', '0102', a)
  const forgetB = routes.add('target-b', '0102', b)
  const found = (...targets: string[]): CancelRoute | undefined => {
    const target = routes.targetOf(targets, '0102')
    return target === undefined ? undefined : routes.get(target, '0102')
  }
  assert.equal(found('target-a', 'target-b'), a)
  assert.equal(found('target-b', 'target-a'), b)
  forgetB()
  assert.equal(found('target-b'), a, 'after a reload, another target has its port')
  forgetA()
  assert.equal(found('target-a', 'target-b'), undefined)
})

test('a server that hangs up the hard way once it has the request has been told', async (t) => {
  const { port, log } = await beforeServer(t, ({ secured, raw }) => {
    secured.once('data', () => raw.resetAndDestroy())
  })
  const canceller = await RawClient.connect(port)
  canceller.send(cancelRequest(Buffer.alloc(8)))
  const { message } = await within(
    5_000,
    log.seen(({ message }) => message.startsWith('cancel request ')),
  )
  assert.equal(message, 'cancel request delivered')
})

test('a server that does not take the request is told of in the log, and the client is let go', async (t) => {
  const world = await worldBefore(t, emulator)
  const { key, client } = await sleeper(world)
  world.relay.plan = () => [{ how: 'reset', direction: 'up', atByte: 0 }]
  const canceller = await RawClient.connect(world.port)
  canceller.send(cancelRequest(key))
  await within(5_000, canceller.rest())
  const { facts } = await world.log.seen(
    ({ message }) => message === 'cancel request not delivered',
  )
  assert.match(String(facts.reason), /connection to server at/)
  client.socket.resetAndDestroy()
  await eventually(() => world.daemon.targets[0]!.sessions.admitted === 0, 'the session is left')
})
