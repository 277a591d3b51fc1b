/** What the pipe promises for every byte, over real sockets, however its reads are buffered. */

import assert from 'node:assert/strict'
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { test } from 'node:test'

import { ReadBuffers } from '../src/session/read-buffers.js'
import { eventually, within } from './chaos/world.js'
import { endWhenFailed } from './support/ending.js'
import { pipedOver } from './support/pipes.js'
import { readAll, socketPair } from './support/sockets.js'

endWhenFailed()

const MB = 1024 * 1024
const PATIENCE_MS = 60_000

for (const leg of ['TCP', 'TLS'] as const) {
  for (const shared of [true, false]) {
    const how = `${leg}, ${shared ? 'one buffer for all reads' : 'a buffer for each read'}`
    const newBuffers = (): ReadBuffers | undefined => (shared ? new ReadBuffers() : undefined)

    test(`every byte of many sessions arrives both ways, in pieces of any size, at readers that dawdle (${how})`, async () => {
      const buffers = newBuffers()
      const sessions = Array.from({ length: 4 }, async () => {
        const { client, server, pipe } = await pipedOver(leg, buffers)
        const up = randomBytes(3 * MB)
        const down = randomBytes(3 * MB)
        const [atServer, atClient] = await Promise.all([
          readDawdling(server),
          readDawdling(client),
          writeInPieces(client, up),
          writeInPieces(server, down),
        ])
        assert.equal(digest(atServer), digest(up))
        assert.equal(digest(atClient), digest(down))
        assert.equal(await pipe.done, 'closed')
        assert.deepEqual([pipe.bytesUp, pipe.bytesDown], [up.length, down.length])
      })
      await within(PATIENCE_MS, Promise.all(sessions))
    })

    test(`after one side has ended its own, with bytes still on their way, the other goes on (${how})`, async () => {
      for (const first of ['client', 'server'] as const) {
        const piped = await pipedOver(leg, newBuffers())
        const { pipe } = piped
        const [early, late] =
          first === 'client' ? [piped.client, piped.server] : [piped.server, piped.client]
        const said = copyData(4 * MB)
        const answered = randomBytes(4 * MB)
        const atEarly = readAll(early)
        early.end(said)
        const atLate: Buffer[] = []
        late.on('data', (chunk: Buffer) => atLate.push(chunk))
        await within(PATIENCE_MS, once(late, 'end'))
        assert.equal(digest(Buffer.concat(atLate)), digest(said))
        late.end(answered)
        assert.equal(digest(await within(PATIENCE_MS, atEarly)), digest(answered))
        assert.equal(await pipe.done, 'closed')
        assert.equal(pipe.endedFirst, first === 'client' ? 'client' : 'upstream')
      }
    })

    test(`wherever one side breaks, the other has got a beginning of what was said, and then an end (${how})`, async () => {
      const buffers = newBuffers()
      for (let times = 0; times < 16; times++) {
        const { client, server, pipe, toClient, toServer, resetServer } = await pipedOver(
          leg,
          buffers,
        )
        const bytes = randomBytes(2 * MB)
        const [speaker, listener] = times % 2 === 0 ? [client, server] : [server, client]
        const heard = readAll(listener)
        const breakAt = randomInt(bytes.length)
        listener.on('data', () => {
          if (listener.bytesRead < breakAt) return
          if (times % 4 < 2) resetServer()
          else client.resetAndDestroy()
        })
        void writeInPieces(speaker, bytes)
        const got = await within(PATIENCE_MS, heard)
        assert.ok(got.equals(bytes.subarray(0, got.length)), `broken at ${breakAt}`)
        await within(PATIENCE_MS, pipe.done)
        assert.ok(toClient.destroyed && toServer.destroyed)
      }
    })

    test(`a reader that does not read stops the writer, and nothing piles up (${how})`, async () => {
      for (const slow of ['client', 'server'] as const) {
        const { client, server, toClient, toServer } = await pipedOver(leg, newBuffers())
        const [writer, from, to, reader] =
          slow === 'client'
            ? [server, toServer, toClient, client]
            : [client, toClient, toServer, server]
        const bytes = randomBytes(32 * MB)
        writer.end(bytes)
        await eventually(() => from.isPaused(), 'the pipe reads on')
        assert.ok(from.bytesRead < bytes.length, 'all of it went somewhere')
        assert.ok(to.writableLength + from.readableLength <= MB / 2)
        assert.equal(digest(await within(PATIENCE_MS, readAll(reader))), digest(bytes))
        client.end()
        server.end()
      }
    })
  }
}

test('this Node reads into one buffer for all', async () => {
  const [near, far] = await socketPair()
  const heard: string[] = []
  const buffers = new ReadBuffers()
  assert.ok(
    buffers.readInto(near, (buffer, byteCount) =>
      heard.push(buffer.toString('utf8', 0, byteCount)),
    ),
    'sessions work without it, but slower: see read-buffers.ts',
  )
  near.resume()
  far.end('as it is meant to be')
  await once(near, 'end')
  assert.equal(heard.join(''), 'as it is meant to be')
  near.end()
})

/** A message that is not answered: a client's end after a question waits for the answer. */
function copyData(byteCount: number): Buffer {
  const bytes = randomBytes(byteCount)
  bytes.write('d')
  bytes.writeInt32BE(byteCount - 1, 1)
  return bytes
}

/** In pieces of 1 byte to 100 KB, as fast as it is taken; then an end. */
async function writeInPieces(socket: Socket, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const length = randomInt(2) === 0 ? randomInt(1, 100) : randomInt(1, 100_000)
    const isTaken = socket.write(bytes.subarray(at, at + length))
    at += length
    if (socket.destroyed) return
    if (!isTaken) await drainedOrClosed(socket)
  }
  socket.end()
}

function drainedOrClosed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      socket.off('drain', over).off('close', over)
      resolve()
    }
    socket.on('drain', over).on('close', over)
  })
}

/** Everything until the end, with pauses of some turns of the event loop. */
async function readDawdling(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  const goOnAfter = (turns: number): void => {
    if (turns === 0) socket.resume()
    else setImmediate(() => goOnAfter(turns - 1))
  }
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    if (randomInt(4) > 0) return
    socket.pause()
    goOnAfter(randomInt(20))
  })
  await once(socket, 'end')
  return Buffer.concat(chunks)
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
