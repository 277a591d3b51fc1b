/** New settings for a running proxy: what changes, whom it does not touch, and what is refused. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import net from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import type pg from 'pg'
import { RawClient as ByHand } from './chaos/raw-client.js'
import { eventually, SettableClock, within, worldBefore } from './chaos/world.js'
import { emulatorForTests } from './support/emulator.js'
import type { ApiFault } from './support/emulator-faults.js'
import { FakeClock, settle } from './support/fake-clock.js'
import { cancel, connectedClient, proxyBefore, temporaryFolder } from './support/proxy.js'
import { connect } from './support/sockets.js'

const emulator = await emulatorForTests()

test('a target that is added is served, and the others are not touched', async (t) => {
  const { daemon, port, settings } = await proxyBefore(t, emulator)
  const client = await connectedClient(t, port)
  const [first] = daemon.targets
  await daemon.reload(settings({ targets: ['demo-instance', 'second-instance'] }))
  assert.equal(daemon.targets[0], first)
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
  assert.equal(await hostBehind(t, port), hostOf('demo-instance'))
  const added = daemon.targets[1]!.listener.port
  assert.equal(await hostBehind(t, added), hostOf('second-instance'))
})

test('a reload says which targets it has changed, added and removed', async (t) => {
  const { daemon, settings, log } = await proxyBefore(t, emulator, {
    targets: ['demo-instance', 'second-instance'],
  })
  await daemon.reload(
    settings({
      targets: [{ target: 'demo-instance', database: 'postgres' }, 'projects/demo'],
    }),
  )
  const { level, facts } = await log.seen(({ message }) => message === 'settings taken over')
  assert.equal(level, 'info')
  assert.deepEqual(facts, {
    settings: ['database'],
    ...{ changed: ['demo-instance'], added: ['projects/demo'], removed: ['second-instance'] },
  })
})

test('a target that is gone takes no more clients, and its sessions go on to their end', async (t) => {
  const { daemon, settings } = await proxyBefore(t, emulator, {
    targets: ['demo-instance', 'second-instance'],
  })
  const { port } = daemon.targets[1]!.listener
  const client = await connectedClient(t, port)
  const minted = emulator.control.mintedCount
  await daemon.reload(settings({ targets: ['demo-instance'] }))
  assert.equal(daemon.targets.length, 1)
  await assert.rejects(connect(port), { code: 'ECONNREFUSED' })
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
  assert.equal(emulator.control.mintedCount, minted)
  await client.end()
})

test('a changed target serves new clients as changed, at its port, and old ones as before', async (t) => {
  const { daemon, port, settings } = await proxyBefore(t, emulator)
  const before = await connectedClient(t, port)
  await daemon.reload(settings({ database: 'postgres', maxConnections: 1 }))
  assert.equal(daemon.targets[0]!.listener.port, port, 'a port that was picked stays')

  const after = await connectedClient(t, port, { database: '' })
  const databaseOf = async (client: pg.Client): Promise<string> =>
    (await client.query('select current_database() as name')).rows[0].name
  assert.equal(await databaseOf(before), 'databricks_postgres')
  assert.equal(await databaseOf(after), 'postgres')
  await assert.rejects(connectedClient(t, port), { code: '53300' })
})

test('a session is cancelled at the port of the target that took its place', async (t) => {
  const { daemon, port, settings } = await proxyBefore(t, emulator)
  const client = await connectedClient(t, port)
  await daemon.reload(settings({ targets: [{ target: 'second-instance', port }] }))
  const cancelled = assert.rejects(client.query('select pg_sleep(60)'), { code: '57014' })
  await cancel(port, client)
  await cancelled
})

test('targets may swap their ports', async (t) => {
  const { daemon, settings } = await proxyBefore(t, emulator, {
    targets: ['demo-instance', 'second-instance'],
  })
  const [one, other] = daemon.targets.map(({ listener }) => listener.port)
  await daemon.reload(
    settings({
      targets: [
        { target: 'demo-instance', port: other! },
        { target: 'second-instance', port: one! },
      ],
    }),
  )
  assert.equal(await hostBehind(t, one!), hostOf('second-instance'))
  assert.equal(await hostBehind(t, other!), hostOf('demo-instance'))
})

test('an address may be added and taken away, and a wildcard may take the place of both', async (t) => {
  const { daemon, port, settings } = await proxyBefore(t, emulator, { address: ['127.0.0.1'] })
  const open = { port, unsafeListen: true }
  for (const address of [['127.0.0.1', '127.0.0.2'], ['0.0.0.0'], ['127.0.0.2'], ['127.0.0.1']]) {
    await daemon.reload(settings({ ...open, address }))
    const host = address[0] === '0.0.0.0' ? '127.0.0.1' : address[0]!
    await connectedClient(t, port, { host })
    if (host !== '127.0.0.1') await assert.rejects(connect(port), { code: 'ECONNREFUSED' })
  }
})

test('a Unix socket stays where it is when its target changes', async (t) => {
  const unixSocket = join(await temporaryFolder(t), 'run')
  const { daemon, port, settings } = await proxyBefore(t, emulator, { unixSocket })
  await daemon.reload(settings({ maxConnections: 5 }))
  await connectedClient(t, port, { host: unixSocket })
  await daemon.reload(settings({ unixSocket: undefined }))
  await assert.rejects(connectedClient(t, port, { host: unixSocket }), { code: 'ENOENT' })
  await connectedClient(t, port)
})

test('a port in use leaves everything as it was', async (t) => {
  const { daemon, port, settings } = await proxyBefore(t, emulator)
  const client = await connectedClient(t, port)
  const holder = net.createServer().listen(0, '127.0.0.1')
  await once(holder, 'listening')
  t.after(() => holder.close())
  const taken = (holder.address() as net.AddressInfo).port
  const before = [...daemon.targets]
  for (const targets of [
    ['demo-instance', { target: 'second-instance', port: taken }],
    [{ target: 'demo-instance', port: taken }],
    // The first may be started, and is not to stay.
    [
      { target: 'demo-instance', maxConnections: 3 },
      { target: 'second-instance', port: taken },
    ],
    // What made way for it comes back.
    [
      { target: 'demo-instance', port, address: ['0.0.0.0'] },
      { target: 'second-instance', port: taken },
    ],
  ] as const) {
    const wanted = settings({ targets, unsafeListen: true })
    await assert.rejects(daemon.reload(wanted), new RegExp(`port ${taken} is in use`))
    assert.deepEqual([...daemon.targets], before)
    await connectedClient(t, port)
  }
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
})

test('a certificate that does not work leaves everything as it was', async (t) => {
  const folder = await temporaryFolder(t)
  const { daemon, port, settings } = await proxyBefore(t, emulator)
  const broken = {
    ...settings(),
    localTls: { cert: join(folder, 'missing.crt'), key: join(folder, 'missing.key') },
  }
  await assert.rejects(daemon.reload(broken), /cannot read .*missing\.crt: no such file/)
  await connectedClient(t, port)
})

test('local TLS and a local password come and go with a reload', async (t) => {
  const { daemon, port, settings } = await proxyBefore(t, emulator)
  const ssl = { rejectUnauthorized: false }
  await assert.rejects(connectedClient(t, port, { ssl }), /does not support SSL/)
  const guarded = { localTls: 'auto', localAuth: 'password' } as const
  await daemon.reload(settings({ ...guarded, localPassword: 'first' }))
  await connectedClient(t, port, { ssl, password: 'first' })
  await daemon.reload(settings({ ...guarded, localPassword: 'second' }))
  await assert.rejects(connectedClient(t, port, { ssl, password: 'first' }), { code: '28P01' })
  await connectedClient(t, port, { ssl, password: 'second' })
  await daemon.reload(settings())
  await connectedClient(t, port)
})

test('under load no client finds a closed port, and no session is touched', async (t) => {
  const { daemon, port, settings } = await proxyBefore(t, emulator)
  const steady = await Promise.all(Array.from({ length: 5 }, () => connectedClient(t, port)))
  let isOver = false
  let queries = 0
  let connections = 0
  const querying = steady.map(async (client) => {
    while (!isOver) {
      const { rows } = await client.query('select count(*)::int as n from generate_series(1, 1000)')
      assert.equal(rows[0].n, 1000)
      queries++
    }
  })
  const comingAndGoing = Array.from({ length: 3 }, async () => {
    while (!isOver) {
      const client = await connectedClient(t, port)
      await client.end()
      connections++
    }
  })
  for (let round = 1; round <= 15; round++) {
    await daemon.reload(settings({ maxConnections: 100 + round, drainTimeout: `${round}s` }))
    const { connections: before } = { connections }
    while (connections < before + 3) await steady[0]!.query('select 1')
  }
  isOver = true
  await Promise.all([...querying, ...comingAndGoing])
  assert.ok(queries > 50 && connections >= 45)
})

test('a client whose login is under way when its target changes, or goes, comes in', async (t) => {
  const clock = new SettableClock()
  const world = await worldBefore(t, emulator, { clock })
  world.relay.plan = () => [{ how: 'delay', direction: 'down', ms: 50 }]
  const startup = { user: 'anyone', database: 'databricks_postgres' }
  const hangs = {
    login: {},
    resolve: { failure: { delayMs: 300 } }, // it asks for a token
  }
  for (const [phase, { failure }] of Object.entries<{ failure?: ApiFault }>(hangs)) {
    for (const options of [{ maxConnections: 7 }, { targets: ['second-instance'] }, {}]) {
      if (failure !== undefined) {
        clock.aheadMs += 2 * 3600_000
        emulator.control.failApi('credentials', failure, 1)
      }
      const [target] = world.daemon.targets
      const client = (await ByHand.connect(target!.listener.port)).startup(startup)
      await eventually(() => {
        const [session] = target!.listener.sessions
        return session?.phase === phase
      }, `it does not come to ${phase}`)
      await world.daemon.reload(world.settings(options))
      assert.notEqual(world.daemon.targets[0], target)
      assert.equal((await within(5_000, client.until('Z'))).at(-1)?.type, 'Z')
      client.socket.destroy()
    }
  }
  await world.assertNothingLeft()
})

test('reloads in the same moment are done one after the other, and the last one counts', async (t) => {
  const { daemon, port, settings } = await proxyBefore(t, emulator)
  await Promise.all([1, 2, 3].map((max) => daemon.reload(settings({ maxConnections: max }))))
  assert.equal(daemon.targets.length, 1)
  assert.equal(daemon.targets[0]!.settings.maxConnections, 3)
  await connectedClient(t, port)
})

test('a proxy that is stopping takes no new settings', async (t) => {
  const clock = new FakeClock()
  const { daemon, port, settings } = await proxyBefore(t, emulator, { clock })
  const client = await connectedClient(t, port)
  await client.query('begin')
  const drained = daemon.drain()
  await assert.rejects(daemon.reload(settings({ maxConnections: 3 })), /shutting down/)
  await assert.rejects(connectedClient(t, port), { code: '57P03' })
  await daemon.close()
  assert.equal(await drained, false)
})

test('a drain that begins in the middle of a reload ends both', async (t) => {
  const { daemon, port, settings, stateDir } = await proxyBefore(t, emulator)
  const reloaded = daemon.reload(
    settings({ targets: ['demo-instance', 'second-instance'], localTls: 'auto' }),
  )
  const refused = assert.rejects(reloaded, /shutting down/)
  while ((await readdir(stateDir)).length === 0) await settle() // its certificate is being made
  assert.equal(await daemon.drain(), true)
  await refused
  await assert.rejects(connect(port), { code: 'ECONNREFUSED' })
})

test('drain-timeout is the one of the latest settings', async (t) => {
  const clock = new FakeClock()
  const { daemon, port, settings } = await proxyBefore(t, emulator, { clock })
  const client = await connectedClient(t, port)
  await client.query('begin')
  await daemon.reload(settings({ drainTimeout: '2s' }))
  const drained = daemon.drain()
  await clock.advance(2_000)
  assert.equal(await drained, false)
})

test('a setting that counts from the next start only is named in the log', async (t) => {
  const { daemon, settings, log } = await proxyBefore(t, emulator)
  await daemon.reload(settings({ logLevel: 'debug', adminPort: 0 }))
  const warnings = log.lines.filter(({ level }) => level === 'warn').map(({ message }) => message)
  assert.deepEqual(warnings, [
    'admin-address, admin-port, admin-socket, admin-host or no-admin changed: it counts after a restart',
    'log-level changed: it counts after a restart',
  ])
})

let asked = 0

/** The name by which a new client's session asks for its server. */
async function hostBehind(t: TestContext, port: number): Promise<string | undefined> {
  const name = `asked ${++asked}`
  await connectedClient(t, port, { application_name: name })
  const { logins } = emulator.control
  return logins.find(({ parameters }) => parameters.get('application_name') === name)?.host
}

function hostOf(instance: string): string {
  return emulator.control.instance(instance).readWriteHost
}
