/** The admin port under clients that ask too much, read nothing or only hold connections open. */

import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import net, { type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'

import { systemClock } from '../src/core/clock.js'
import { silentLog } from '../src/core/log.js'
import { type AdminAnswers, AdminServer } from '../src/observe/admin-server.js'
import { EventStreams } from '../src/observe/event-streams.js'
import { ask } from './support/http.js'
import { readAll } from './support/sockets.js'

const REQUEST = 'GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n'

test('20 connections with 2,500 pipelined requests each, never read, cost one answer each at most', async (t) => {
  let made = 0
  const { port, url } = await adminServer(t, {
    metrics: async () => {
      made++
      return { type: 'text/plain', text: 'x'.repeat(30_000) }
    },
  })
  const sockets: Socket[] = []
  for (let i = 0; i < 20; i++) {
    const socket = openSocket(t, port)
    socket.pause().write(REQUEST.repeat(2_500))
    sockets.push(socket)
  }
  assert.equal((await ask(`${url}/liveness`)).status, 200)
  for (const socket of sockets) await closed(socket)
  assert.ok(made <= 20, `${made} answers were made`)
})

test('those who ask while an answer is being made share it', async (t) => {
  const gate = new EventEmitter()
  const opened = once(gate, 'open')
  let made = 0
  const { url } = await adminServer(t, {
    status: async () => {
      made++
      await opened
      return `{"made":${made}}`
    },
  })
  const answers = Array.from({ length: 30 }, () => ask(`${url}/status`))
  while ((await ask(`${url}/liveness`)).status !== 200 || made === 0);
  gate.emit('open')
  for (const { body } of await Promise.all(answers)) assert.equal(body, '{"made":1}')
  assert.equal((await ask(`${url}/status`)).body, '{"made":2}', 'the next one is fresh')
})

test('a connection is closed when its one request is answered', async (t) => {
  const { port } = await adminServer(t)
  const socket = openSocket(t, port)
  socket.write('GET /liveness HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n')
  assert.match((await readAll(socket)).toString(), /^HTTP\/1\.1 200 .*\r\nConnection: close\r\n/s)
})

test('connections that send nothing or read nothing make room for a probe, the oldest first', async (t) => {
  const { port, url } = await adminServer(t, { status: async () => 'x'.repeat(8_000_000) })
  const sockets: Socket[] = []
  for (let i = 0; i < 80; i++) {
    const socket = openSocket(t, port)
    sockets.push(socket)
    await once(socket, 'connect')
    if (i % 2 === 0) socket.pause().write('GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n')
  }
  for (const path of ['/startup', '/readiness', '/liveness', '/metrics']) {
    assert.equal((await ask(`${url}${path}`)).status, 200, path)
  }
  const silent = sockets.filter((_, i) => i % 2 === 1)
  await closed(silent[0]!)
  assert.equal(silent.at(-1)!.closed, false)
})

test('an open status page is not closed to make room', async (t) => {
  const { port, url } = await adminServer(t)
  const page = openSocket(t, port)
  page.write('GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await once(page, 'data')
  const others = Array.from({ length: 70 }, () => openSocket(t, port))
  await Promise.all(others.map((socket) => once(socket, 'connect')))
  assert.equal((await ask(`${url}/liveness`)).status, 200)
  assert.equal(page.closed, false)
})

async function adminServer(
  t: TestContext,
  answers: Partial<AdminAnswers> = {},
): Promise<{ port: number; url: string }> {
  const server = new AdminServer({
    place: { address: '127.0.0.1', port: 0, portIsDefault: false, host: undefined },
    log: silentLog,
    events: new EventStreams({
      clock: systemClock,
      status: async () => '{}',
      history: () => '[]',
    }),
    answers: {
      isListening: () => true,
      targetNames: () => [],
      readiness: async () => ({ ready: true, reasons: [] }),
      status: async () => '{}',
      metrics: async () => ({ type: 'text/plain', text: '' }),
      shutdown: () => {},
      ...answers,
    },
  })
  const url = await server.start()
  t.after(() => server.close())
  return { port: Number(new URL(url).port), url }
}

/** An error on it is the server's way to close it. */
function openSocket(t: TestContext, port: number): Socket {
  const socket = net.connect(port, '127.0.0.1').on('error', () => {})
  t.after(() => socket.destroy())
  return socket
}

/** A paused socket would not hear of it. */
async function closed(socket: Socket): Promise<void> {
  const isClosed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.resume()
  if (!socket.closed) await isClosed
}
