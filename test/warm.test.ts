/** Spare connections: who is given one, who is not, and that none is left where none is wanted. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import type pg from 'pg'

import type { RunningTarget } from '../src/daemon/running-target.js'
import type { Spares } from '../src/upstream/spares.js'
import { emulatorForTests } from './support/emulator.js'
import { FakeClock, settle } from './support/fake-clock.js'
import { Scrape } from './support/prometheus.js'
import {
  connectedClient,
  proxyBefore,
  type TestProxy,
  type TestProxyOptions,
} from './support/proxy.js'
import { RawClient } from './support/raw-client.js'
import { cancelRequest, connect, readAll } from './support/sockets.js'

const emulator = await emulatorForTests()
const { control } = emulator

const TTL_MS = 30_000
const ROLE = '"ada@example.com"'

test('the second client of the same parameters is given a spare, as its own', async (t) => {
  const proxy = await warmProxy(t)
  await visit(t, proxy)
  await held(proxy, 2)
  const logins = control.logins.length
  const pids = await backends()

  const client = await connectedClient(t, proxy.port)
  assert.equal(spares(proxy).hits, 1)
  const { rows } = await client.query('select pg_backend_pid() as pid, current_user as me')
  assert.equal(rows[0].pid, pidOf(client), 'its BackendKeyData is of the server that answers')
  assert.ok(pids.includes(rows[0].pid), 'which was logged in before')
  assert.equal(rows[0].me, 'ada@example.com')
  await held(proxy, 2)
  assert.equal(control.logins.length, logins + 1, 'one was logged in for the next')
})

test('no client is given the connection of another', async (t) => {
  const proxy = await warmProxy(t)
  const pids: number[] = []
  for (let i = 0; i < 8; i++) {
    pids.push(await visit(t, proxy))
    await held(proxy, 2)
  }
  assert.equal(new Set(pids).size, 8)
  assert.equal(spares(proxy).hits, 7)
})

test('other parameters, of any kind, are not served by a spare', async (t) => {
  const proxy = await warmProxy(t)
  const others: pg.ClientConfig[] = [
    { application_name: 'another' },
    { options: '-c search_path=elsewhere' },
    { database: 'postgres' },
  ]
  for (const other of others) {
    await visit(t, proxy)
    await held(proxy, 2)
    const { hits } = spares(proxy)
    await visit(t, proxy, other)
    assert.equal(spares(proxy).hits, hits, Object.keys(other)[0])
  }
})

test('a role or database that the target sets makes clients the same', async (t) => {
  const proxy = await warmProxy(t)
  await visit(t, proxy, { user: 'one', database: 'databricks_postgres' })
  await held(proxy, 2)
  await visit(t, proxy, { user: 'other', database: 'databricks_postgres' })
  assert.equal(spares(proxy).hits, 1)
})

test('a query on a spare is cancelled as any other', async (t) => {
  const proxy = await warmProxy(t)
  await visit(t, proxy)
  await held(proxy, 2)
  const client = await connectedClient(t, proxy.port)
  assert.equal(spares(proxy).hits, 1)
  const cancelled = assert.rejects(client.query('select pg_sleep(60)'), { code: '57014' })
  await running('select pg_sleep(60)')
  await cancel(proxy.port, client)
  await cancelled
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
})

test('a spare connection that its server has ended is given to no client, and not replaced at once', async (t) => {
  const clock = new FakeClock()
  const proxy = await warmProxy(t, { clock })
  await visit(t, proxy)
  await held(proxy, 2)
  const [killed] = await backends()
  await control.query(`select pg_terminate_backend(${killed})`)
  await held(proxy, 1)
  await clock.advance(999)
  assert.equal(spares(proxy).held, 1)
  await clock.advance(1)
  await held(proxy, 2)
  const pids = [await visit(t, proxy), await visit(t, proxy), await visit(t, proxy)]
  assert.equal(pids.includes(killed!), false)
  assert.ok(spares(proxy).hits >= 2)
})

test('spares are dropped warm-ttl after the last client came, and then nothing goes on', async (t) => {
  const clock = new FakeClock()
  const proxy = await warmProxy(t, { clock })
  await visit(t, proxy)
  await held(proxy, 2)
  await clock.advance(TTL_MS - 1)
  await visit(t, proxy)
  await held(proxy, 2)
  await clock.advance(TTL_MS - 1)
  assert.equal(spares(proxy).held, 2)
  const { listener } = proxy.daemon.targets[0]!
  while ([...listener.sessions].length > 0) await settle() // they have timers too
  const timers = clock.pending
  await clock.advance(1)
  assert.equal(spares(proxy).held, 0)
  assert.equal(clock.pending, timers - 1)
  await noneOpen()
})

test('a spare connection that slept through warm-ttl with its machine is given to no client', async (t) => {
  const clock = new FakeClock()
  const proxy = await warmProxy(t, { clock })
  await visit(t, proxy)
  await held(proxy, 2)
  clock.sleep(TTL_MS)
  await visit(t, proxy)
  assert.equal(spares(proxy).hits, 0)
})

test('replication is never served by a spare, and makes none', async (t) => {
  await control.query(`alter role ${ROLE} replication`)
  t.after(() => control.query(`alter role ${ROLE} noreplication`))
  const proxy = await warmProxy(t)
  const parameters = { user: 'anyone', database: 'databricks_postgres', replication: 'database' }
  for (let i = 0; i < 2; i++) {
    const client = await RawClient.connect(t, proxy.port)
    await client.logIn(parameters)
    client.socket.destroy()
  }
  await visit(t, proxy)
  await held(proxy, 2)
  const replicating = control.logins.filter((each) => each.parameters.has('replication'))
  assert.equal(replicating.length, 2)
  assert.equal(spares(proxy).hits, 0)
})

test('who does not know the local password is given none', async (t) => {
  const proxy = await warmProxy(t, { localAuth: 'password', localPassword: 'open sesame' })
  await visit(t, proxy, { password: 'open sesame' })
  await held(proxy, 2)
  await assert.rejects(connectedClient(t, proxy.port, { password: 'wrong' }), { code: '28P01' })
  assert.deepEqual([spares(proxy).held, spares(proxy).hits], [2, 0])
  await visit(t, proxy, { password: 'open sesame' })
  assert.equal(spares(proxy).hits, 1)
})

test('spares go when the token was refused', async (t) => {
  const proxy = await warmProxy(t, { clock: new FakeClock() })
  await visit(t, proxy)
  await held(proxy, 2)
  control.revokeTokens('database')
  control.failApi('credentials', { status: 403, body: '{}' })
  await assert.rejects(connectedClient(t, proxy.port, { application_name: 'another' }))
  assert.equal(spares(proxy).held, 0)
  await noneOpen()
})

test('a spare connection that was logged in with another token is given to no client', async (t) => {
  const proxy = await warmProxy(t)
  await visit(t, proxy)
  await held(proxy, 2)
  const { credentials } = proxy.daemon.targets[0] as RunningTarget
  const { signal } = new AbortController()
  await credentials.renew(await credentials.get(signal), signal)
  await visit(t, proxy)
  assert.equal(spares(proxy).hits, 0)
  await held(proxy, 2)
  await visit(t, proxy)
  assert.equal(spares(proxy).hits, 1)
})

test('spares go when the server does not answer in time', async (t) => {
  const clock = new FakeClock()
  const proxy = await warmProxy(t, { clock, warmTtl: '1h' })
  await visit(t, proxy)
  await held(proxy, 2)
  control.failFront({ at: 'startup', how: 'hang' }, 1)
  const other = connectedClient(t, proxy.port, { application_name: 'another' })
  const late = assert.rejects(other, /did not complete the login in time/)
  while (!control.connections().some(({ phase }) => phase === 'startup')) await settle()
  await clock.advance(10_000)
  await late
  assert.equal(spares(proxy).held, 0)
})

test('spares go when the instance was stopped', async (t) => {
  const proxy = await warmProxy(t, { clock: new FakeClock() })
  await visit(t, proxy)
  await held(proxy, 2)
  control.stopInstance('demo-instance')
  t.after(() => control.setInstanceState('demo-instance', 'AVAILABLE'))
  const other = connectedClient(t, proxy.port, { application_name: 'another' })
  await assert.rejects(other, /is stopped/)
  assert.equal(spares(proxy).held, 0)
  await noneOpen()
})

test('a refused login of one client does not cost the others their spare connections', async (t) => {
  const proxy = await warmProxy(t)
  await visit(t, proxy)
  await held(proxy, 2)
  await assert.rejects(connectedClient(t, proxy.port, { database: 'nowhere' }), { code: '3D000' })
  assert.equal(spares(proxy).held, 2)
})

test('where the server has no place left, the spares make room for a client', async (t) => {
  await control.query(`alter role ${ROLE} connection limit 3`)
  t.after(() => control.query(`alter role ${ROLE} connection limit -1`))
  const proxy = await warmProxy(t)
  const first = await connectedClient(t, proxy.port)
  await held(proxy, 2)
  const second = await connectedClient(t, proxy.port, { application_name: 'another' })
  assert.equal((await second.query('select 1 as one')).rows[0].one, 1)
  assert.equal((await first.query('select 1 as one')).rows[0].one, 1)
})

test('a server that refuses spares is asked again later, one at a time', async (t) => {
  await control.query(`alter role ${ROLE} connection limit 1`)
  t.after(() => control.query(`alter role ${ROLE} connection limit -1`))
  const clock = new FakeClock()
  const proxy = await warmProxy(t, { clock, warm: 5 })
  await connectedClient(t, proxy.port)
  const refusals = () =>
    proxy.log.lines.filter(({ message }) => message === 'no spare connection could be made').length
  while (refusals() < 1) await settle()
  for (const [restMs, times] of [
    [1_000, 2],
    [2_000, 3],
    [4_000, 4],
  ] as const) {
    const before = control.acceptedCount
    await clock.advance(restMs - 1)
    assert.equal(control.acceptedCount, before)
    await clock.advance(1)
    while (refusals() < times) await settle()
    assert.equal(control.acceptedCount, before + 1)
  }
})

test('a reload that changes the target ends its spare connections', async (t) => {
  const proxy = await warmProxy(t)
  await visit(t, proxy)
  await held(proxy, 2)
  await proxy.daemon.reload(proxy.settings({ warm: 0 }))
  await noneOpen()
})

test('draining lets them go before the clients that are still there', async (t) => {
  const clock = new FakeClock()
  const proxy = await warmProxy(t, { clock })
  const client = await connectedClient(t, proxy.port)
  await client.query('begin')
  await held(proxy, 2)
  void proxy.daemon.drain()
  while (control.connections().length !== 1) await settle()
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
  assert.equal(spares(proxy).held, 0)
})

test('closing leaves none, nor one that is about to be', async (t) => {
  const proxy = await warmProxy(t, { warm: 5 })
  await visit(t, proxy)
  await proxy.daemon.close()
  assert.equal(spares(proxy).held, 0)
  await noneOpen()
})

test('fifty clients at once are each served by a connection of their own', async (t) => {
  const proxy = await warmProxy(t, { warm: 5, maxConnections: 51 })
  const first = await connectedClient(t, proxy.port)
  await held(proxy, 5)
  const clients = await Promise.all(
    Array.from({ length: 50 }, () => connectedClient(t, proxy.port)),
  )
  const pids = await Promise.all(
    [first, ...clients].map(async (client, number) => {
      const { rows } = await client.query('select pg_backend_pid() as pid, $1::int as number', [
        number,
      ])
      assert.deepEqual(rows[0], { pid: pidOf(client), number })
      return rows[0].pid
    }),
  )
  assert.equal(new Set(pids).size, 51)
  assert.ok(spares(proxy).hits >= 5)
  await held(proxy, 5)
})

test('spares, and who was given one, are seen in the metrics and the status', async (t) => {
  const proxy = await warmProxy(t, { adminPort: 0 })
  const url = proxy.daemon.adminUrl!
  const target = 'demo-instance'
  assert.equal((await Scrape.of(url)).value('lakebase_proxy_spares', { target }), 0)
  await visit(t, proxy)
  await held(proxy, 2)
  await visit(t, proxy)
  await held(proxy, 2)
  const scrape = await Scrape.of(url)
  assert.equal(scrape.value('lakebase_proxy_spares', { target }), 2)
  assert.equal(scrape.value('lakebase_proxy_spare_hits_total', { target }), 1)
  assert.deepEqual(proxy.daemon.status().targets[0]?.spares, { held: 2, hits: 1 })
})

test('with warm=0 there is nothing of it', async (t) => {
  const proxy = await warmProxy(t, { warm: 0, adminPort: 0 })
  const logins = control.logins.length
  await visit(t, proxy)
  assert.equal(proxy.daemon.targets[0]!.spares, undefined)
  assert.equal(proxy.daemon.status().targets[0]!.spares, undefined)
  assert.doesNotMatch((await Scrape.of(proxy.daemon.adminUrl!)).text, /^lakebase_proxy_spare/m)
  assert.equal(control.logins.length, logins + 1)
})

/** Two spares, unless told otherwise. */
function warmProxy(t: TestContext, options: TestProxyOptions = {}): Promise<TestProxy> {
  return proxyBefore(t, emulator, { warm: 2, ...options })
}

/** A client that comes, asks and leaves; the process id of its server. */
async function visit(
  t: TestContext,
  { port }: TestProxy,
  config: pg.ClientConfig = {},
): Promise<number> {
  const client = await connectedClient(t, port, config)
  const { rows } = await client.query('select pg_backend_pid() as pid')
  assert.equal(rows[0].pid, pidOf(client))
  await client.end()
  return rows[0].pid
}

function spares({ daemon }: TestProxy): Spares {
  return daemon.targets[0]!.spares!
}

async function held(proxy: TestProxy, count: number): Promise<void> {
  while (spares(proxy).held !== count) await settle()
}

/** The server has no connection left that came through the front door. */
async function noneOpen(): Promise<void> {
  while (control.connections().length > 0) await settle()
}

/** Process ids of the servers that serve the role, the oldest first. */
async function backends(): Promise<number[]> {
  const rows = await control.query(
    "select pid from pg_stat_activity where usename = 'ada@example.com' order by backend_start",
  )
  return rows.map(([pid]) => Number(pid))
}

async function running(sql: string): Promise<void> {
  const rows = (): Promise<unknown[]> =>
    control.query(`select 1 from pg_stat_activity where state = 'active' and query = '${sql}'`)
  while ((await rows()).length === 0) await settle()
}

/** `pg` keeps what BackendKeyData said. */
function pidOf(client: pg.Client): number {
  return (client as pg.Client & { processID: number }).processID
}

async function cancel(port: number, client: pg.Client): Promise<void> {
  const socket = await connect(port)
  socket.end(cancelRequest(client))
  assert.equal((await readAll(socket)).length, 0)
}
