/** What becomes of bytes on their way when one side ends, breaks, or does not read. */

import assert from 'node:assert/strict'
import { on, once } from 'node:events'
import type { Socket } from 'node:net'
import { test } from 'node:test'

import { Pipe } from '../src/session/pipe.js'
import { ReadBuffers } from '../src/session/read-buffers.js'
import { errorResponse } from '../src/wire/backend.js'
import { message } from './chaos/raw-client.js'
import { eventually, SettableClock, within } from './chaos/world.js'
import { endWhenFailed } from './support/ending.js'
import { FakeClock } from './support/fake-clock.js'
import { readAll, socketPair } from './support/sockets.js'

endWhenFailed()

const GREETING = Buffer.from('Z\0\0\0\x05I')

interface Piped {
  readonly client: Socket
  readonly server: Socket
  readonly pipe: Pipe
  /** The pipe's own ends of the two connections. */
  readonly toClient: Socket
  readonly toServer: Socket
}

async function piped(
  clock: FakeClock | SettableClock = new SettableClock(),
  isBufferShared = true,
): Promise<Piped> {
  const [client, toClient] = await socketPair()
  const [toServer, server] = await socketPair()
  const buffers = isBufferShared ? new ReadBuffers() : undefined
  const options = { clock, idleTimeoutMs: 0, greeting: GREETING, buffers }
  const pipe = new Pipe(toClient, toServer, options)
  return { client, server, pipe, toClient, toServer }
}

const MEGABYTE = Buffer.alloc(1024 * 1024, 'data')

test('what the server said before it broke reaches the client, and then an end', async () => {
  const { client, server, pipe } = await piped()
  server.write('the last words')
  server.resetAndDestroy()
  assert.equal((await readAll(client)).toString(), 'the last words')
  assert.equal(client.errored, null)
  await pipe.done
  assert.equal(pipe.endedFirst, 'upstream') // libuv makes a FIN of a RST that comes with bytes
})

for (const isShared of [true, false]) {
  const how = isShared ? 'one buffer for all reads' : 'a buffer for each read'

  test(`what had come from a server that broke is delivered even to a client that was not reading (${how})`, async () => {
    const { client, server, pipe, toServer } = await piped(new SettableClock(), isShared)
    for (let times = 0; times < 32; times++) server.write(MEGABYTE) // more than the kernel takes
    const holdsBack = (): boolean => isShared || toServer.readableLength > 0
    await eventually(() => toServer.isPaused() && holdsBack(), 'the writer is not paused')
    const cameIn = toServer.bytesRead
    const broke = once(toServer, 'error')
    toServer.destroy(new Error('write EPIPE'))
    await broke
    assert.equal((await readAll(client)).length, cameIn)
    assert.equal(pipe.bytesDown, cameIn)
    assert.equal(await pipe.done, 'upstream reset')
    server.destroy()
  })
}

test('a client that ends its side still gets all that the server sends, and the server all it sent', async () => {
  const { client, server, pipe } = await piped()
  const atClient = readAll(client)
  client.write(MEGABYTE)
  client.end('and done')
  const atServer: Buffer[] = []
  server.on('data', (chunk: Buffer) => atServer.push(chunk))
  await once(server, 'end')
  assert.ok(Buffer.concat(atServer).equals(Buffer.concat([MEGABYTE, Buffer.from('and done')])))
  for (let i = 0; i < 20; i++) server.write(MEGABYTE)
  server.end()
  assert.equal((await atClient).length, 20 * MEGABYTE.length)
  assert.equal(await pipe.done, 'closed')
})

test('a server that ends its side still gets all that the client sends', async () => {
  const { client, server, pipe } = await piped()
  const atServer = readAll(server)
  server.end('goodbye')
  const atClient: Buffer[] = []
  client.on('data', (chunk: Buffer) => atClient.push(chunk))
  await once(client, 'end')
  assert.equal(Buffer.concat(atClient).toString(), 'goodbye')
  for (let i = 0; i < 20; i++) client.write(MEGABYTE)
  client.end()
  assert.equal((await atServer).length, 20 * MEGABYTE.length)
  assert.equal(await pipe.done, 'closed')
})

test('a client that breaks takes its upstream with it at once', async () => {
  const { client, server, pipe } = await piped()
  client.resetAndDestroy()
  assert.equal(await within(5_000, pipe.done), 'client reset')
  await within(5_000, readAll(server))
})

/** As Lakebase's front door: at a FIN it flushes and closes both ways. */
function closesBothWaysAtAnEnd(server: Socket): void {
  server.on('end', () => server.destroySoon())
}

const SELECT = message('Q', 'select\0')
const EXTENDED = Buffer.concat(['P', 'B', 'E'].map((type) => message(type, 'body')))

for (const [what, question] of Object.entries({
  'a query': SELECT,
  'a query and Terminate': Buffer.concat([SELECT, message('X', '')]),
  'pipelined batches': Buffer.concat([EXTENDED, message('S', ''), EXTENDED, message('S', '')]),
  'a COPY with its end': Buffer.concat([SELECT, message('d', 'row'), message('c', '')]),
})) {
  test(`a client that ends its side after ${what} gets the whole answer of a server that closes both ways at an end`, async () => {
    const { client, server, pipe } = await piped()
    closesBothWaysAtAnEnd(server)
    const atClient = readAll(client)
    client.end(question)
    let asked = 0
    for await (const chunk of on(server, 'data', { close: ['end'] })) {
      asked += (chunk[0] as Buffer).length
      if (asked === question.length) break
    }
    server.resume()
    const answers = what === 'pipelined batches' ? 2 : 1
    const rows = Array.from({ length: 20 }, () => message('D', MEGABYTE))
    if (what.startsWith('a COPY')) server.write(message('G', 'body'))
    for (let i = 0; i < answers; i++) {
      for (const row of rows) {
        if (!server.write(row)) await once(server, 'drain')
      }
      server.write(Buffer.concat([message('C', 'SELECT'), GREETING]))
    }
    const heard = await atClient
    assert.ok(heard.subarray(-GREETING.length).equals(GREETING))
    assert.ok(heard.length > answers * 20 * MEGABYTE.length)
    assert.equal(await pipe.done, 'closed')
  })
}

test('a client that ends its side where no answer is due ends its server at once', async () => {
  const half = SELECT.subarray(0, 7)
  for (const [asked, answered] of [
    [Buffer.alloc(0), undefined],
    [half, undefined],
    [SELECT, message('Z', 'T')],
    [SELECT, message('G', 'body')], // the server waits for data that will not come
    [SELECT, message('W', 'body')],
    [Buffer.from('no messages at all'), undefined],
  ] as const) {
    const { client, server, pipe } = await piped()
    client.resume()
    server.resume()
    client.write(asked)
    if (asked.length > 0) await once(server, 'data')
    if (answered !== undefined) {
      server.write(answered)
      await once(client, 'data')
    }
    client.end()
    await within(5_000, once(server, 'end'))
    server.end()
    assert.equal(await pipe.done, 'closed')
  }
})

test('a client that has ended its side and gets no answer is let go after 30 s of silence', async () => {
  const clock = new FakeClock()
  const { client, server, pipe } = await piped(clock)
  client.end(SELECT)
  await once(server.resume(), 'data')
  await eventually(() => clock.pending > 0, 'the end does not come')
  await clock.advance(30_001)
  await pipe.done
  client.destroy()
})

test('a server that says 57P01 before its connection ends or breaks was shut down', async () => {
  for (const sqlState of ['57P01', 'XX000']) {
    for (const how of ['end', 'reset']) {
      const { client, server, pipe, toServer } = await piped()
      const atClient = readAll(client)
      const fatal = errorResponse({ sqlState, message: 'terminating connection' })
      server.write(Buffer.concat([message('A', 'body'), fatal]))
      await eventually(() => pipe.bytesDown > fatal.length, 'it does not come')
      if (how === 'end') server.end()
      else toServer.destroy(new Error('read ECONNRESET'))
      assert.ok((await atClient).includes(fatal))
      server.destroy()
      const otherwise = how === 'end' ? 'closed' : 'upstream reset'
      assert.equal(await pipe.done, sqlState === '57P01' ? 'upstream shutdown' : otherwise)
    }
  }
})

test('after a half-close, silence is borne for 30 s and movement for as long as it lasts', async () => {
  const clock = new FakeClock()
  const { client, server, pipe, toClient, toServer } = await piped(clock)
  client.end()
  server.resume()
  await once(server, 'end')
  await clock.advance(29_000)
  server.write('still here')
  await once(client, 'data')
  await clock.advance(29_000)
  assert.ok(!toClient.destroyed)
  await clock.advance(1_001)
  await pipe.done
  assert.ok(toClient.destroyed && toServer.destroyed)
  assert.equal(clock.pending, 0)
})

test('a client that goes on sending to a server that is gone is ended 30 s later', async () => {
  const clock = new FakeClock()
  const { client, server, pipe, toClient, toServer } = await piped(clock)
  client.resume()
  server.resetAndDestroy()
  await once(client, 'end')
  await eventually(() => toServer.destroyed, 'the pipe keeps its server')
  await clock.advance(29_000)
  client.write('one more row')
  await eventually(() => pipe.bytesUp > 0, 'the row does not come')
  assert.ok(!toClient.destroyed)
  await clock.advance(1_001)
  assert.ok(toClient.destroyed)
  assert.equal(await pipe.done, 'upstream reset')
})

test('a clock that is set back two hours does not make a half-closed session wait for them', async () => {
  const clock = new FakeClock()
  const { client, server, pipe } = await piped(clock)
  client.end()
  server.resume()
  await once(server, 'end')
  clock.set(-2 * 3600_000)
  await clock.advance(61_000)
  await within(5_000, pipe.done)
})

test('a server much faster than its client is made to wait: what is held stays below a megabyte', async () => {
  const { client, server, pipe, toClient, toServer } = await piped()
  // More than the kernel takes in on both ways.
  for (let i = 0; i < 64; i++) server.write(MEGABYTE)
  await eventually(() => toServer.isPaused(), 'the writer is not paused')
  assert.ok(toClient.writableLength + toServer.readableLength < 1_000_000)
  const atClient = readAll(client)
  server.end()
  const length = (await atClient).length
  assert.equal(length, pipe.bytesDown)
  assert.equal(await pipe.done, 'closed')
})
