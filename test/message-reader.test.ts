/** Whole messages out of a stream, in pieces of any size, and never more than the limits allow. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { LimitExceeded, type MessageLimits, MessageReader } from '../src/wire/message-reader.js'
import { message } from './chaos/raw-client.js'
import { endWhenFailed } from './support/ending.js'
import { neverAborted } from './support/scripted-workspace.js'
import { socketPair } from './support/sockets.js'

endWhenFailed()

const LIMITS: MessageLimits = { messageBytes: 1000, totalBytes: 10_000, messages: 100 }

async function reading(t: TestContext, limits: Partial<MessageLimits> = {}, signal = neverAborted) {
  const [near, far] = await socketPair()
  t.after(() => [near, far].map((socket) => socket.destroy()))
  return { far, reader: new MessageReader(near, { ...LIMITS, ...limits }, signal) }
}

const first = message('E', 'SFATAL\0\0')
const second = message('S', 'name\0value\0')

test('messages are cut one by one, wherever the stream is cut, and the rest stays', async (t) => {
  const bytes = Buffer.concat([first, second, Buffer.from('Z')])
  for (let cut = 1; cut < bytes.length - 1; cut++) {
    const { far, reader } = await reading(t)
    far.write(bytes.subarray(0, cut))
    await new Promise((resolve) => setImmediate(resolve))
    far.write(bytes.subarray(cut))
    assert.deepEqual(await reader.next(), { type: 'E', bytes: first })
    assert.deepEqual(await reader.next(), { type: 'S', bytes: second })
  }
})

test('a message that comes a byte at a time is joined once', async (t) => {
  const size = 20_000
  const { far, reader } = await reading(t, { messageBytes: 50_000, totalBytes: 50_000 })
  const bytes = message('S', Buffer.alloc(size, 'x'))
  let joined = 0
  const concat = Buffer.concat
  t.mock.method(Buffer, 'concat', (...how: Parameters<typeof concat>) => {
    joined++
    return concat(...how)
  })
  const next = reader.next()
  for (const byte of bytes.subarray(0, 500)) {
    far.write(Buffer.of(byte))
    await new Promise((resolve) => setImmediate(resolve))
  }
  far.write(bytes.subarray(500))
  assert.equal((await next).bytes.length, bytes.length)
  assert.ok(joined <= 2, `its bytes were joined ${joined} times`)
})

test('lengths that cannot be are refused before anything is waited for', async (t) => {
  for (const length of [-1, 0, 3, 1000, 0x7fffffff]) {
    const { far, reader } = await reading(t)
    const head = Buffer.alloc(5, 'R')
    head.writeInt32BE(length, 1)
    far.write(head)
    await assert.rejects(reader.next(), new LimitExceeded('messageBytes'))
  }
})

for (const limit of ['messages', 'totalBytes'] as const) {
  test(`above the limit of ${limit} nothing more is read`, async (t) => {
    const { far, reader } = await reading(t, {
      [limit]: limit === 'messages' ? 2 : 2 * second.length,
    })
    far.write(Buffer.concat([second, second, second]))
    await reader.next()
    await reader.next()
    await assert.rejects(reader.next(), new LimitExceeded(limit))
  })
}

test('an abort is seen with messages at hand', async (t) => {
  const abort = new AbortController()
  const { far, reader } = await reading(t, {}, abort.signal)
  far.write(Buffer.concat([second, second]))
  await reader.next()
  abort.abort(new Error('enough'))
  await assert.rejects(reader.next(), /enough/)
})
