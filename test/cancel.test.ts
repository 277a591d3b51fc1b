/** CancelRequests: carried to the address of their session, whole, in every way that clients send them. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import { cancelRequest, RawClient, SSL_REQUEST, serverSaid } from './chaos/raw-client.js'
import { Relay } from './chaos/relay.js'
import { eventually, type World, within, worldBefore } from './chaos/world.js'
import { emulatorForTests } from './support/emulator.js'
import { proxyBefore, temporaryFolder } from './support/proxy.js'
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

test('a wrong key cancels nothing, and is no error to anybody', async (t) => {
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

test('a hundred cancels at once are carried a few at a time, and keep nobody out', async (t) => {
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
async function beforeServer(t: TestContext, serve: TlsServerOptions['serve']) {
  const signer = await authority()
  const certified = { hosts: ['db.example.com'], addresses: [] }
  const server = await tlsServer(t, { authority: signer, certified, serve })
  const sslrootcert = join(await temporaryFolder(t), 'ca.pem')
  await writeFile(sslrootcert, signer.cert)
  return proxyBefore(t, emulator, {
    targets: ['postgresql://app:secret@db.example.com/app'],
    ...{ hostaddr: '127.0.0.1', upstreamPort: server.port, sslrootcert },
  })
}

test('keys of 4 to 256 bytes arrive as they came', async (t) => {
  const arrived: Buffer[] = []
  const { port } = await beforeServer(t, ({ secured }) => {
    const chunks: Buffer[] = []
    secured.on('data', (chunk: Buffer) => chunks.push(chunk))
    secured.on('end', () => {
      arrived.push(Buffer.concat(chunks))
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
  await eventually(() => world.daemon.targets[0]!.listener.admitted === 0, 'the session is left')
})
