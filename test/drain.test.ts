/** Stopping: which sessions it ends at once, which it waits for, and what their clients are told. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import type { TLSSocket } from 'node:tls'

import type pg from 'pg'

import { ProxyError } from '../src/core/errors.js'
import { Pipe } from '../src/session/pipe.js'
import type { ServingTarget } from '../src/session/route.js'
import { Session } from '../src/session/session.js'
import type { SessionObserver } from '../src/session/session-view.js'
import { Canceller, CancelRoutes, Cancels } from '../src/upstream/cancel.js'
import type { UpstreamTls } from '../src/upstream/tls-context.js'
import { startupMessage } from '../src/wire/frontend.js'
import { message } from './chaos/raw-client.js'
import { emulatorForTests, needsPsql } from './support/emulator.js'
import { FakeClock, settle } from './support/fake-clock.js'
import { cancel, connectedClient, proxyBefore, run, type TestProxy } from './support/proxy.js'
import { RawClient, readyForQuery } from './support/raw-client.js'
import { connect, readAll, socketPair } from './support/sockets.js'
import { wireParameters } from './support/wire-parameters.js'

const emulator = await emulatorForTests()

const SILENCE_MS = 1_000
const CHECK_MS = 250

test('idle sessions are closed, busy ones finish, and the drain was in time', async (t) => {
  const clock = new FakeClock()
  const { daemon, port } = await proxyBefore(t, emulator, { clock })
  const idle = await connectedClient(t, port)
  const busy = await connectedClient(t, port)
  const release = await holdLock(t, port, 1)
  const answer = busy.query('select pg_advisory_lock(1), 42 as answer')
  await untilWaiting(1)

  const idleEnded = ended(idle)
  const drained = daemon.drain()
  await clock.advance(SILENCE_MS)
  await idleEnded
  await clock.advance(5_000)

  const busyEnded = ended(busy)
  await release()
  assert.equal((await answer).rows[0].answer, 42)
  await advanceUntil(clock, busyEnded)
  await advanceUntil(clock, drained)
  assert.equal(await drained, true)
})

test('a query that came while the proxy was held up by others is not taken for silence', async (t) => {
  const clock = new FakeClock()
  const { daemon, port } = await proxyBefore(t, emulator, { clock })
  const client = await connectedClient(t, port)
  await client.query('select 1')
  const drained = daemon.drain()
  await settle()
  await new Promise((resolve) => setTimeout(resolve)) // as when the check is due: sockets are read later
  const answer = client.query('select 2 as two')
  const checked = clock.advance(CHECK_MS)
  assert.equal((await answer).rows[0].two, 2)
  await checked
  await advanceUntil(clock, drained)
  assert.equal(await drained, true)
})

test('a session within a transaction may go on to its end', async (t) => {
  const clock = new FakeClock()
  const { daemon, port } = await proxyBefore(t, emulator, { clock })
  const client = await connectedClient(t, port)
  await client.query('begin')
  const drained = daemon.drain()
  await clock.advance(10 * SILENCE_MS)
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
  await clock.advance(10 * SILENCE_MS)
  const over = ended(client)
  await client.query('commit')
  await advanceUntil(clock, over)
  await advanceUntil(clock, drained)
  assert.equal(await drained, true)
})

test('a session that does not come to its end is cut short after drain-timeout', async (t) => {
  const clock = new FakeClock()
  const { daemon, port, log } = await proxyBefore(t, emulator, { clock, drainTimeout: '20s' })
  const client = await connectedClient(t, port)
  await client.query('begin')
  const over = ended(client)
  const drained = daemon.drain()
  await clock.advance(19_999)
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
  await clock.advance(1)
  await over
  assert.equal(await drained, false)
  await log.seen(({ facts }) => facts.outcome === 'ended by shutdown')
})

test('new sessions get 57P03, and pg_isready says that it rejects them', {
  skip: needsPsql,
}, async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, {
    localAuth: 'password',
    localPassword: 'open sesame',
  })
  assert.equal((await isReady(port)).code, 0)
  const client = await connectedClient(t, port, { password: 'open sesame' })
  await client.query('begin')
  void daemon.drain()
  const refusal = await connectedClient(t, port, { password: 'open sesame' }).catch((e) => e)
  assert.equal(refusal.code, '57P03')
  assert.equal(refusal.message, 'the proxy is shutting down')
  assert.equal((await isReady(port)).code, 1, 'rejecting, though a password is asked for otherwise')
})

test('cancels pass while it drains', async (t) => {
  const clock = new FakeClock()
  const { daemon, port } = await proxyBefore(t, emulator, { clock })
  const client = await connectedClient(t, port)
  const release = await holdLock(t, port, 2)
  const query = client.query('select pg_advisory_lock(2)')
  const cancelled = assert.rejects(query, { code: '57014' })
  await untilWaiting(2)
  const drained = daemon.drain()
  await cancel(port, client)
  await cancelled
  await release()
  await advanceUntil(clock, drained)
  assert.equal(await drained, true)
})

test('a target without clients refuses new ones, and takes cancels, while another drains', async (t) => {
  const clock = new FakeClock()
  const targets = ['demo-instance', 'second-instance']
  const { daemon, port } = await proxyBefore(t, emulator, { clock, targets })
  const client = await connectedClient(t, daemon.targets[1]!.listener.port)
  await client.query('begin')
  const drained = daemon.drain()
  await clock.advance(10 * SILENCE_MS)
  await assert.rejects(connectedClient(t, port), { code: '57P03' })
  const cancelled = assert.rejects(client.query('select pg_sleep(60)'), { code: '57014' })
  await cancel(port, client)
  await cancelled
  await client.query('rollback')
  assert.equal(await advanceUntil(clock, drained), true)
})

test('under load no query that was begun is lost, and no new session is let in', async (t) => {
  const clock = new FakeClock()
  const { daemon, port } = await proxyBefore(t, emulator, { clock })
  const clients = await Promise.all(Array.from({ length: 20 }, () => connectedClient(t, port)))
  let answered = 0
  let drained: Promise<boolean> | undefined
  const refusals: Promise<unknown>[] = []
  await Promise.all(
    clients.map(async (client, number) => {
      for (let i = 0; i < 40; i++) {
        const { rows } = await client.query(
          'select $1::int as number, md5(g::text) from generate_series(1, 50) g',
          [number],
        )
        assert.equal(rows.length, 50)
        assert.ok(rows.every((row) => row.number === number))
        if (++answered === 200) drained = daemon.drain()
        if (answered > 200 && answered % 50 === 0)
          refusals.push(assert.rejects(connectedClient(t, port), { code: '57P03' }))
      }
    }),
  )
  assert.ok((await Promise.all(refusals)).length > 0)
  await advanceUntil(clock, drained!)
  assert.equal(await drained, true)
})

test('drain-delay goes on serving first', async (t) => {
  const clock = new FakeClock()
  const { daemon, port } = await proxyBefore(t, emulator, { clock, drainDelay: '5s' })
  const drained = daemon.drain()
  assert.equal(daemon.phase, 'stopping', 'for readiness to be red from the first moment')
  await clock.advance(4_999)
  const client = await connectedClient(t, port)
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
  await clock.advance(1)
  await assert.rejects(connectedClient(t, port), { code: '57P03' })
  await advanceUntil(clock, drained)
  assert.equal(await drained, true)
})

test('closing ends a drain at once', async (t) => {
  const clock = new FakeClock()
  const { daemon, port } = await proxyBefore(t, emulator, { clock })
  const client = await connectedClient(t, port)
  await client.query('begin')
  const over = ended(client)
  const drained = daemon.drain()
  await daemon.close()
  await over
  assert.equal(await drained, false)
  await assert.rejects(connect(port), { code: 'ECONNREFUSED' })
})

test('a proxy without clients drains at once', async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, { clock: new FakeClock() })
  assert.equal(await daemon.drain(), true)
  await assert.rejects(connect(port), { code: 'ECONNREFUSED' })
})

test('a client that never says who it is does not hold up a drain', async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, { clock: new FakeClock() })
  const silent = await connect(port)
  assert.equal(await daemon.drain(), true)
  await readAll(silent)
})

test('an idle client is told 57P01 at once, and then reads an end', async (t) => {
  const clock = new FakeClock()
  const { daemon, port } = await proxyBefore(t, emulator, { clock })
  const client = await RawClient.connect(t, port)
  await client.logIn({ user: 'anyone', database: 'databricks_postgres' })
  client.query("select repeat('x', 100000)")
  assert.ok((await client.untilReady()).length > 100_000)
  await clock.advance(SILENCE_MS)
  const drained = daemon.drain()
  const { type, body } = await client.next()
  assert.equal(type, 'E')
  const fields = body.toString().split('\0')
  for (const field of [
    'SFATAL',
    'C57P01',
    'Mterminating connection due to administrator command',
  ]) {
    assert.ok(fields.includes(field), field)
  }
  assert.equal((await readAll(client.socket)).length, 0)
  assert.equal(await drained, true)
})

test('a transaction that is idle at drain-timeout is told 57P01 too', async (t) => {
  const clock = new FakeClock()
  const { daemon, port } = await proxyBefore(t, emulator, { clock })
  const client = await connectedClient(t, port)
  await client.query('begin')
  const told = once(client, 'error')
  const drained = daemon.drain()
  await clock.advance(30_000)
  assert.equal((await told)[0].code, '57P01')
  assert.equal(await drained, false)
})

for (const pauseMs of [0, 150]) {
  test(`clients that insert in a loop with ${pauseMs} ms between: a row is committed exactly when it was acknowledged`, async (t) => {
    const clock = new FakeClock()
    const { daemon, port } = await proxyBefore(t, emulator, { clock })
    const table = `inserted_${pauseMs}`
    await emulator.control.query(`create table ${table} (id text)`)
    const clients = await Promise.all(Array.from({ length: 16 }, () => connectedClient(t, port)))
    let drained: Promise<boolean> | undefined
    let count = 0
    const acknowledged: string[] = []
    const insertUntilTold = async (client: pg.Client, number: number): Promise<void> => {
      const told = new Promise((resolve) => client.once('error', resolve))
      for (let i = 0; ; i++) {
        const id = `${number}/${i}`
        const error = await client.query(`insert into ${table} values ($1)`, [id]).then(
          () => undefined,
          (error) => error,
        )
        if (error !== undefined) {
          // Told while it sent, or before: then pg refuses to send.
          if (error.code !== '57P01') assert.equal(((await told) as { code: string }).code, '57P01')
          return
        }
        acknowledged.push(id)
        if (++count === 40) drained = daemon.drain()
        if (count === 80) void clock.advance(2_000)
        if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs))
      }
    }
    await Promise.all(clients.map(insertUntilTold))
    assert.equal(await advanceUntil(clock, drained!), true)
    const committed = (await emulator.control.query(`select id from ${table}`)).flat()
    assert.deepEqual(committed.sort(), acknowledged.sort())
  })
}

test('a COPY each way, a long query and a transaction that are under way go on to their end', async (t) => {
  const clock = new FakeClock()
  const { daemon, port } = await proxyBefore(t, emulator, { clock })
  await emulator.control.query('create table copied_in (id int)')
  const logIn = async (): Promise<RawClient> => {
    const client = await RawClient.connect(t, port)
    await client.logIn({ user: 'anyone', database: 'databricks_postgres' })
    return client
  }
  const [copyIn, copyInExtended, copyOut] = [await logIn(), await logIn(), await logIn()]
  copyIn.query('copy copied_in from stdin')
  assert.equal((await copyIn.next()).type, 'G')
  // As libpq sends a COPY by the extended protocol: with a Sync before the data.
  copyInExtended.send('P', '\0copy copied_in from stdin\0\0\0')
  copyInExtended.send('B', Buffer.alloc(8))
  copyInExtended.send('E', Buffer.alloc(5))
  copyInExtended.send('S', '')
  while ((await copyInExtended.next()).type !== 'G');
  copyOut.query("copy (select repeat('x', 1000) from generate_series(1, 30000)) to stdout")
  assert.equal((await copyOut.next()).type, 'H')
  const drained = daemon.drain()
  await clock.advance(10_000)
  for (const client of [copyIn, copyInExtended]) {
    for (let i = 0; i < 100; i++) {
      client.send('d', '1\n')
      if (i % 10 === 0) await settle()
    }
    client.send('c', '')
  }
  copyInExtended.send('S', '')
  for (const client of [copyIn, copyInExtended]) {
    assert.match((await client.untilReady()).toString(), /COPY 100/)
  }
  assert.match((await copyOut.untilReady()).toString('latin1'), /COPY 30000/)
  for (const client of [copyIn, copyInExtended, copyOut]) {
    assert.match((await client.next()).body.toString(), /C57P01/)
  }
  assert.equal(await advanceUntil(clock, drained), true)
})

for (const ahead of [20, 5_000]) {
  test(`of 5,000 pipelined batches, ${ahead} ahead, each is answered or never reached the server`, async (t) => {
    const clock = new FakeClock()
    const { daemon, port } = await proxyBefore(t, emulator, { clock })
    const table = `pipelined_${ahead}`
    await emulator.control.query(`create table ${table} (id int)`)
    const client = await RawClient.connect(t, port)
    await client.logIn({ user: 'anyone', database: 'databricks_postgres' })
    let sent = 0
    const sendBatch = (): void => {
      client.send('P', `\0insert into ${table} values (${sent++})\0\0\0`)
      client.send('B', Buffer.alloc(8))
      client.send('E', Buffer.alloc(5))
      client.send('S', '')
    }
    while (sent < ahead) sendBatch()
    let drained: Promise<boolean> | undefined
    let answered = 0
    for (;;) {
      const { type, body } = await client.next()
      if (type === 'E') {
        assert.match(body.toString(), /C57P01/)
        break
      }
      if (type !== 'Z') continue
      answered++
      if (sent < 5_000) sendBatch()
      if (answered === 100) drained = daemon.drain()
      if (answered === 200) void clock.advance(2_000)
    }
    assert.equal(await advanceUntil(clock, drained!), true)
    const ids = (await emulator.control.query(`select id from ${table} order by id`)).flat()
    assert.deepEqual(ids.map(Number), [...Array(answered).keys()])
  })
}

test('a row whose bytes look like ReadyForQuery ends nothing', async (t) => {
  const clock = new FakeClock()
  const { daemon, port } = await proxyBefore(t, emulator, { clock })
  const client = await connectedClient(t, port)
  const release = await holdLock(t, port, 3)
  const answer = client.query(
    "select '\\x5a0000000549'::bytea as row from generate_series(1, 1000) union all select pg_advisory_lock(3)::text::bytea",
  )
  await untilWaiting(3)
  const drained = daemon.drain()
  await clock.advance(20_000)
  await release()
  assert.equal((await answer).rowCount, 1001)
  assert.equal(await advanceUntil(clock, drained), true)
})

test('three proxies behind a load balancer, restarted one by one under load: no statement is lost or done twice', async (t) => {
  const proxies: (TestProxy | undefined)[] = []
  const start = () => proxyBefore(t, emulator, { drainTimeout: '2s' })
  for (let i = 0; i < 3; i++) proxies.push(await start())
  const balancerPort = await balance(t, () => proxies.map((proxy) => proxy?.port))
  await emulator.control.query('create table balanced (id text primary key)')
  let isOver = false
  const acknowledged: string[] = []
  const connectAgain = async (): Promise<pg.Client> => {
    for (;;) {
      const client = await connectedClient(t, balancerPort).catch((error) => error)
      if (!(client instanceof Error)) return client
      assert.equal((client as { code?: string }).code, '57P03', String(client.stack))
    }
  }
  const work = async (number: number): Promise<void> => {
    let client = await connectAgain()
    let told = new Promise((resolve) => client.once('error', resolve))
    for (let i = 0; !isOver; ) {
      const id = `${number}/${i}`
      try {
        await client.query('insert into balanced values ($1)', [id])
        acknowledged.push(id)
        i++
      } catch (error) {
        const cause = (error as { code?: string }).code === undefined ? await told : error
        assert.equal((cause as { code?: string }).code, '57P01', String(cause))
        client = await connectAgain()
        told = new Promise((resolve) => client.once('error', resolve))
      }
    }
  }
  const acknowledgedBy = async (count: number): Promise<void> => {
    while (acknowledged.length < count) await settle()
  }
  const restarts = async (): Promise<void> => {
    for (const [i, proxy] of proxies.entries()) {
      await acknowledgedBy(acknowledged.length + 100)
      proxies[i] = undefined
      assert.equal(await proxy!.daemon.drain(), true)
      proxies[i] = await start()
    }
    isOver = true
  }
  await Promise.all([restarts(), ...Array.from({ length: 8 }, (_, number) => work(number))])
  const committed = (await emulator.control.query('select id from balanced')).flat()
  assert.deepEqual(committed.sort(), acknowledged.sort())
})

test('a server whose client is let go hears Terminate and an end, and nothing else', async () => {
  const { pipe, client, server } = await pipeBetween()
  const [toClient, toServer] = [readAll(client), readAll(server)]
  pipe.endWhenIdle()
  pipe.endWhenIdle()
  client.write('a query that came too late')
  assert.deepEqual(await toServer, Buffer.from('5800000004', 'hex'))
  assert.match((await toClient).toString(), /^E.*57P01/s)
  assert.equal(await pipe.done, 'drained')
})

test('a client that does not hang up when let go is left alone a second later', async () => {
  const { clock, pipe, client, server } = await pipeBetween()
  pipe.endWhenIdle()
  client.write('a query that came too late')
  await once(client.resume(), 'end')
  server.end()
  await clock.advance(1_000)
  assert.equal(await pipe.done, 'drained')
  assert.deepEqual(await readAll(server), Buffer.from('5800000004', 'hex'))
})

test('a greeting that ends in the middle of a message is not an idle session', async () => {
  const greeting = Buffer.concat([readyForQuery, Buffer.from('A')])
  const { pipe, client } = await pipeBetween({ greeting })
  pipe.endIfIdle(0)
  assert.equal(pipe.isEnding, false)
  pipe.endNow()
  assert.equal((await readAll(client)).length, 0, 'nothing is put into the middle of a message')
})

test('a client that reads slowly gets every byte, and then is told', async () => {
  const { pipe, client, server, nearClient } = await pipeBetween()
  const row = message('D', Buffer.alloc(1024 * 1024, 'row'))
  client.write(message('Q', 'select\0'))
  await once(server, 'readable')
  server.write(Buffer.concat([...Array.from({ length: 16 }, () => row), readyForQuery]))
  while (nearClient.writableLength === 0) await settle()
  pipe.endWhenIdle()
  const read = await readAll(client)
  const bytes = 16 * row.length + readyForQuery.length
  assert.deepEqual(read.subarray(bytes - readyForQuery.length, bytes), readyForQuery)
  assert.match(read.toString('latin1', bytes), /^E.*57P01/s)
  server.end()
  assert.equal(await pipe.done, 'drained')
})

/** `once` would reject at the 'error' that comes before. */
function ended(client: pg.Client): Promise<void> {
  return new Promise((resolve) => client.once('end', () => resolve()))
}

/** Another session holds an advisory lock; the returned function releases it. */
async function holdLock(
  t: TestContext,
  port: number,
  key: number,
): Promise<() => Promise<unknown>> {
  const holder = await connectedClient(t, port)
  await holder.query('begin')
  await holder.query('select pg_advisory_xact_lock($1)', [key])
  return () => holder.query('commit')
}

async function untilWaiting(key: number): Promise<void> {
  for (;;) {
    const waiting = await emulator.control.query(
      `select 1 from pg_locks where locktype = 'advisory' and objid = ${key} and not granted`,
    )
    if (waiting.length > 0) return
  }
}

/** Time goes by until `promise` is settled. */
async function advanceUntil<T>(clock: FakeClock, promise: Promise<T>): Promise<T> {
  let isOver = false
  const over = (): void => {
    isOver = true
  }
  promise.then(over, over)
  while (!isOver) await clock.advance(CHECK_MS)
  return promise
}

function isReady(port: number) {
  return run('pg_isready', ['-h', '127.0.0.1', '-p', `${port}`])
}

async function pipeBetween({ greeting = readyForQuery } = {}) {
  const clock = new FakeClock()
  const [client, nearClient] = await socketPair()
  const [server, nearServer] = await socketPair()
  const pipe = new Pipe(nearClient, nearServer, { clock, idleTimeoutMs: 0, greeting })
  return { clock, pipe, client, server, nearClient }
}

/** A port that takes each connection to the next of these ports; one that is undefined is left out. */
async function balance(
  t: TestContext,
  ports: () => readonly (number | undefined)[],
): Promise<number> {
  let turn = 0
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const open = ports().filter((port) => port !== undefined)
    const upstream = net.connect({ port: open[turn++ % open.length]!, noDelay: true })
    client.on('error', () => upstream.destroy()).pipe(upstream)
    upstream.on('error', () => client.destroy()).pipe(client)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}

test('a session that is ended in the moment of its login ends', async () => {
  const [client, accepted] = await socketPair()
  const [upstream, server] = await socketPair()
  const observer: SessionObserver = {
    ...{ opened() {}, connected() {}, failed() {}, cancelled() {} },
    closed: (_, outcome) => outcomes.push(outcome),
  }
  const outcomes: string[] = []
  const endpoint = { host: 'h', port: 1, addresses: ['127.0.0.1'], database: undefined }
  const clock = new FakeClock()
  const routes = new CancelRoutes()
  const serving: ServingTarget = {
    ...{ name: 't', clientAuth: undefined, idleTimeoutMs: 0 },
    admission: { check() {}, enter() {}, enterAs() {}, leave() {} },
    cancels: new Canceller({
      ...{ target: 't', resolve: async () => endpoint, routes },
      dialOptions: { tls: {} as UpstreamTls, clock, dialled() {} },
    }),
    connector: {
      async connect() {
        queueMicrotask(() => session.end(new ProxyError('stopping', 'the proxy is shutting down')))
        const socket = upstream as TLSSocket
        const who = { role: 'u', database: 'd', key: undefined }
        return {
          upstream: { socket, address: '127.0.0.1' },
          endpoint,
          greeting: readyForQuery,
          ...who,
        }
      },
    },
  }
  const session: Session = new Session(accepted, {
    ...{ target: 't', localTls: undefined, requireTls: false, clock },
    ...{ handshakeTimeoutMs: 1_000, observer },
    router: ({ parameters }) => ({ target: serving, login: { parameters, role: undefined } }),
    cancels: new Cancels({ targets: () => [], routes, clock }),
    port: { admitted() {}, left() {} },
  })
  client.write(startupMessage(wireParameters({ user: 'u' })))
  await session.done
  assert.deepEqual(outcomes, ['ended by shutdown'])
  await readAll(server)
  client.destroy()
})
