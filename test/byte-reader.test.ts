import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'

import { readExactly, readSome, StreamEnded } from '../src/wire/byte-reader.js'
import { endWhenFailed } from './support/ending.js'
import { socketPair } from './support/sockets.js'

endWhenFailed()
const { signal } = new AbortController()

test('a message that arrives one byte at a time is read whole, and no listener is left behind', async () => {
  const [near, far] = await socketPair()
  const before = far.listenerCount('close')
  const reading = readExactly(far, 64, signal)
  for (let i = 0; i < 64; i++) {
    near.write(Buffer.of(i))
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.deepEqual(
    [...(await reading)],
    Array.from({ length: 64 }, (_, i) => i),
  )
  assert.deepEqual([far.listenerCount('readable'), far.listenerCount('close')], [0, before])
  near.destroy()
  far.destroy()
})

test('three bytes and silence cost no wake-ups', async () => {
  const [near, far] = await socketPair()
  const reading = readExactly(far, 8, signal)
  near.write('abc')
  await once(far, 'readable')
  let wakeUps = 0
  far.on('readable', () => wakeUps++)
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
  assert.ok(wakeUps <= 2, `${wakeUps} wake-ups`)
  near.write('defgh')
  assert.equal((await reading).toString(), 'abcdefgh')
  near.destroy()
  far.destroy()
})

test('bytes that were not asked for stay in the socket', async () => {
  const [near, far] = await socketPair()
  near.end('Sinjected')
  assert.equal((await readExactly(far, 1, signal)).toString(), 'S')
  assert.equal(far.readableLength, 8)
  far.destroy()
})

test('all bytes that have come are read at once', async () => {
  const [near, far] = await socketPair()
  near.write('some')
  assert.equal((await readSome(far, signal)).toString(), 'some')
  near.destroy()
  far.destroy()
})

test('a peer that hangs up in the middle of a message is told apart from a reset', async () => {
  const [near, far] = await socketPair()
  near.end('abc')
  await assert.rejects(readExactly(far, 8, signal), StreamEnded)
  far.destroy()
})

test('a reset while waiting rejects', async () => {
  const [near, far] = await socketPair()
  const reading = readExactly(far, 8, signal)
  near.resetAndDestroy()
  await assert.rejects(reading)
})

test('an abort ends the wait with its reason, and leaves no listener behind', async () => {
  const [near, far] = await socketPair()
  const abort = new AbortController()
  const reading = readExactly(far, 8, abort.signal)
  abort.abort(new Error('enough'))
  await assert.rejects(reading, /enough/)
  await assert.rejects(readExactly(far, 8, abort.signal), /enough/)
  assert.equal(far.listenerCount('readable'), 0)
  near.destroy()
  far.destroy()
})
