/** Stopping: whom it waits for, whom it lets go, whom it takes in, and that it never says a word. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import type { TLSSocket } from 'node:tls'

import type pg from 'pg'

import { ProxyError } from '../src/core/errors.js'
import { Pipe } from '../src/session/pipe.js'
import { Session } from '../src/session/session.js'
import type { SessionObserver } from '../src/session/session-view.js'
import { CancelRoutes, Cancels } from '../src/upstream/cancel.js'
import type { UpstreamTls } from '../src/upstream/tls-context.js'
import { startupMessage } from '../src/wire/frontend.js'
import { emulatorForTests, needsPsql } from './support/emulator.js'
import { FakeClock, settle } from './support/fake-clock.js'
import { cancel, connectedClient, proxyBefore, run } from './support/proxy.js'
import { RawClient, readyForQuery } from './support/raw-client.js'
import { connect, readAll, socketPair } from './support/sockets.js'

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

test('an idle client that is let go reads an end, and not one byte before it', async (t) => {
  const clock = new FakeClock()
  const { daemon, port } = await proxyBefore(t, emulator, { clock })
  const client = await RawClient.connect(t, port)
  await client.logIn({ user: 'anyone', database: 'databricks_postgres' })
  client.query("select repeat('x', 100000)")
  const answer = await client.untilReady()
  assert.ok(answer.length > 100_000)
  const rest = readAll(client.socket)
  const drained = daemon.drain()
  await advanceUntil(clock, rest)
  assert.equal((await rest).length, 0)
  assert.equal(await advanceUntil(clock, drained), true)
})

test('a server whose client is let go hears Terminate and an end, and nothing else', async () => {
  const { clock, pipe, client, server } = await pipeBetween()
  const [toClient, toServer] = [readAll(client), readAll(server)]
  await clock.advance(SILENCE_MS)
  pipe.drain()
  pipe.drain()
  assert.deepEqual(await toServer, Buffer.from('5800000004', 'hex'))
  assert.equal((await toClient).length, 0)
  assert.equal(await pipe.done, 'drained')
})

test('a client that does not hang up when let go is left alone a second later', async () => {
  const { clock, pipe, client, server } = await pipeBetween()
  await clock.advance(SILENCE_MS)
  pipe.drain()
  client.write('a query that came too late')
  await once(client.resume(), 'end')
  server.end()
  await clock.advance(SILENCE_MS)
  assert.equal(await pipe.done, 'drained')
  assert.deepEqual(await readAll(server), Buffer.from('5800000004', 'hex'))
})

test('a ReadyForQuery that comes in pieces counts as one', async () => {
  for (let cut = 1; cut < readyForQuery.length; cut++) {
    const { clock, pipe, client, server } = await pipeBetween()
    await say(client, server, Buffer.from('Q'))
    await say(server, client, Buffer.concat([Buffer.from('data'), readyForQuery.subarray(0, cut)]))
    await clock.advance(SILENCE_MS)
    assert.equal(pipe.looksIdle, false, `after ${cut} bytes of it`)
    for (const byte of readyForQuery.subarray(cut)) await say(server, client, Buffer.from([byte]))
    await clock.advance(SILENCE_MS)
    assert.equal(pipe.looksIdle, true, `cut after ${cut} bytes`)
    pipe.destroy('closed')
  }
})

test('a session is not idle before a second of silence, in a transaction, or after the client spoke', async () => {
  const { clock, pipe, client, server } = await pipeBetween()
  await clock.advance(SILENCE_MS - 1)
  assert.equal(pipe.looksIdle, false)
  await clock.advance(1)
  assert.equal(pipe.looksIdle, true)

  for (const status of ['T', 'E']) {
    const ready = Buffer.from(readyForQuery)
    ready.write(status, 5)
    await say(server, client, ready)
    await clock.advance(SILENCE_MS)
    assert.equal(pipe.looksIdle, false, status)
  }
  await say(server, client, readyForQuery)
  await clock.advance(SILENCE_MS)
  assert.equal(pipe.looksIdle, true)
  await say(client, server, Buffer.from([0x51]))
  await clock.advance(SILENCE_MS)
  assert.equal(pipe.looksIdle, false)
  pipe.destroy('closed')
})

test('a greeting that ends with more than ReadyForQuery is not an idle session', async () => {
  const greeting = Buffer.concat([readyForQuery, Buffer.from('A')])
  const { clock, pipe } = await pipeBetween({ greeting })
  await clock.advance(SILENCE_MS)
  assert.equal(pipe.looksIdle, false)
  pipe.destroy('closed')
})

test('a client that reads slowly gets every byte before it is let go', async () => {
  const { clock, pipe, client, server, nearClient } = await pipeBetween()
  const rows = Buffer.alloc(16 * 1024 * 1024, 'row')
  server.write(Buffer.concat([rows, readyForQuery]))
  while (nearClient.writableLength === 0) await settle()
  await clock.advance(SILENCE_MS)
  assert.equal(pipe.looksIdle, false)
  const read = readAll(client)
  while (!pipe.looksIdle) await clock.advance(SILENCE_MS)
  pipe.drain()
  assert.equal((await read).length, rows.length + readyForQuery.length)
  server.end()
  await pipe.done
})

/** `once` would reject at the 'error' that comes before. */
function ended(client: pg.Client): Promise<void> {
  return new Promise((resolve) => client.once('end', () => resolve()))
}

/** Somebody else holds an advisory lock; the returned function lets go of it. */
async function holdLock(
  t: Parameters<typeof connectedClient>[0],
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

/** Resolves when it has come through. */
async function say(from: Socket, to: Socket, bytes: Buffer): Promise<void> {
  from.write(bytes)
  let heard = Buffer.alloc(0)
  while (heard.length < bytes.length) {
    heard = Buffer.concat([heard, (to.read() as Buffer | null) ?? Buffer.alloc(0)])
    if (heard.length < bytes.length) await settle()
  }
  assert.deepEqual(heard, bytes)
}

test('a session that is ended in the moment of its login ends', async () => {
  const [client, accepted] = await socketPair()
  const [upstream, server] = await socketPair()
  const observer: SessionObserver = {
    ...{ opened() {}, phaseEnded() {}, connected() {}, failed() {}, cancelled() {} },
    closed: (_, outcome) => outcomes.push(outcome),
  }
  const outcomes: string[] = []
  const endpoint = { host: 'h', port: 1, addresses: ['127.0.0.1'], database: undefined }
  const clock = new FakeClock()
  const session: Session = new Session(accepted, {
    ...{ target: 't', localTls: undefined, requireTls: false, clientAuth: undefined, clock },
    ...{ handshakeTimeoutMs: 1_000, idleTimeoutMs: 0, observer },
    door: { check() {}, enter() {}, leave() {} },
    cancels: new Cancels({
      ...{ dialOptions: { tls: {} as UpstreamTls, clock, dialled() {} }, clock },
      ...{ target: 't', resolve: async () => endpoint, routes: new CancelRoutes() },
    }),
    connector: {
      async connect() {
        queueMicrotask(() => session.end(new ProxyError('stopping', 'the proxy is shutting down')))
        const socket = upstream as TLSSocket
        const who = { user: 'u', database: 'd', key: undefined }
        return {
          upstream: { socket, address: '127.0.0.1' },
          endpoint,
          greeting: readyForQuery,
          ...who,
        }
      },
    },
  })
  client.write(startupMessage(new Map([['user', 'u']])))
  await session.done
  assert.deepEqual(outcomes, ['ended by shutdown'])
  await readAll(server)
  client.destroy()
})
