import assert from 'node:assert/strict'
import { test } from 'node:test'

import { SingleFlight, waitFor, withDeadline } from '../src/core/deadline.js'
import { FakeClock } from './support/fake-clock.js'

const forever = (signal: AbortSignal): Promise<never> => waitFor(new Promise(() => {}), signal)

test('work that takes too long is told so, with the reason of that moment', async () => {
  const clock = new FakeClock()
  let step = 'dialling'
  const work = withDeadline({ clock, ms: 100, reason: () => new Error(step) }, forever)
  step = 'logging in'
  await Promise.all([assert.rejects(work, /^Error: logging in$/), clock.advance(100)])
  assert.equal(clock.pending, 0)
})

test('work in time leaves no timer and no listener behind', async () => {
  const clock = new FakeClock()
  const caller = new AbortController()
  let inner: AbortSignal | undefined
  const deadline = { clock, ms: 100, reason: () => new Error('late'), signals: [caller.signal] }
  const result = await withDeadline(deadline, async (signal) => {
    inner = signal
    return 7
  })
  assert.deepEqual([result, clock.pending], [7, 0])
  caller.abort()
  assert.equal(inner?.aborted, false)
})

test('a caller that leaves ends the work at once', async () => {
  const caller = new AbortController()
  const clock = new FakeClock()
  const deadline = { clock, ms: 100, reason: () => new Error('late'), signals: [caller.signal] }
  const work = withDeadline(deadline, forever)
  caller.abort(new Error('left'))
  await assert.rejects(work, /left/)
  assert.equal(clock.pending, 0)
})

test('a deadline does not return before its work has closed what it opened', async () => {
  const clock = new FakeClock()
  let isOpen = true
  const work = withDeadline({ clock, ms: 100, reason: () => new Error('late') }, async (signal) => {
    try {
      return await forever(signal)
    } finally {
      await Promise.resolve()
      isOpen = false
    }
  })
  await Promise.all([assert.rejects(work, /late/), clock.advance(100)])
  assert.equal(isOpen, false)
})

test('a deadline is a duration: setting the wall clock neither ends nor prolongs it', async () => {
  const clock = new FakeClock()
  const work = withDeadline({ clock, ms: 100, reason: () => new Error('late') }, forever)
  const ended = assert.rejects(work, /late/)
  clock.set(-3_600_000)
  clock.set(7_200_000)
  await clock.advance(99)
  assert.deepEqual([clock.pending, clock.monotonic()], [1, 99])
  await clock.advance(1)
  await ended
})

test('work that is under way is joined, and started again once it has ended', async () => {
  const ends: (() => void)[] = []
  const flight = new SingleFlight<number>(async () => {
    await new Promise<void>((resolve) => ends.push(resolve))
    return ends.length
  })
  const both = [flight.join(), flight.join()]
  assert.deepEqual([ends.length, flight.isUnderWay()], [1, true])
  ends[0]!()
  assert.deepEqual(await Promise.all(both), [1, 1])
  assert.equal(flight.isUnderWay(), false)
  const third = flight.join()
  ends[1]!()
  assert.equal(await third, 2)
})

test('each key has work of its own, and a failure is shared and not kept', async () => {
  let calls = 0
  const flight = new SingleFlight<string, string>(async (key) => {
    calls++
    if (key === 'bad') throw new Error('refused')
    return key.toUpperCase()
  })
  const answers = await Promise.allSettled(['a', 'b', 'a', 'bad', 'bad'].map((k) => flight.join(k)))
  assert.deepEqual(
    answers.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected'],
  )
  assert.equal(calls, 3)
  await assert.rejects(flight.join('bad'))
  assert.equal(calls, 4)
})

test('a waiter that leaves does not end shared work', async () => {
  let finish = (): void => {}
  const flight = new SingleFlight(() => new Promise<void>((resolve) => (finish = resolve)))
  const leaver = new AbortController()
  const leaving = assert.rejects(waitFor(flight.join(), leaver.signal), /bored/)
  const staying = flight.join()
  leaver.abort(new Error('bored'))
  await leaving
  assert.equal(flight.isUnderWay(), true)
  finish()
  await staying
})
