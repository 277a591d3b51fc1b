import assert from 'node:assert/strict'
import { test } from 'node:test'

import { systemClock } from '../src/core/clock.js'
import { Secret } from '../src/core/secret.js'
import { CredentialCache } from '../src/credentials/credential-cache.js'
import type { DatabaseCredential } from '../src/databricks/lakebase/workspace.js'
import { FakeClock, settle } from './support/fake-clock.js'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const { signal } = new AbortController()

type Script = (call: number, now: number) => DatabaseCredential | Error

function setUp(script: Script, random = 0) {
  const clock = new FakeClock()
  const failures: boolean[] = []
  let calls = 0
  const cache = new CredentialCache({
    clock,
    random: () => random,
    fetch: async () => {
      await settle()
      const result = script(++calls, clock.now())
      if (result instanceof Error) throw result
      return result
    },
    observer: {
      refreshed: () => {},
      refreshFailed: (_error, stillGood) => failures.push(stillGood),
    },
  })
  const token = async (): Promise<string> => (await cache.get(signal)).token.reveal()
  return { cache, clock, failures, token, calls: () => calls }
}

const living =
  (lifeMs: number): Script =>
  (call, now) => ({ token: new Secret(`t${call}`), expiresAt: now + lifeMs })
const hourLong = living(60 * MINUTE)
const failingFrom =
  (first: number): Script =>
  (call, now) =>
    call >= first ? new Error('503') : hourLong(call, now)

test('a hundred sessions at once ask the workspace once', async () => {
  const { token, calls } = setUp(hourLong)
  const tokens = await Promise.all(Array.from({ length: 100 }, token))
  assert.deepEqual([new Set(tokens).size, calls()], [1, 1])
})

test('a waiter that leaves does not end the request of the others', async () => {
  const { cache, token, calls } = setUp(hourLong)
  const leaving = new AbortController()
  const gone = cache.get(leaving.signal)
  const stays = token()
  leaving.abort(new Error('client left'))
  await assert.rejects(gone, /client left/)
  assert.deepEqual([await stays, calls()], ['t1', 1])
})

for (const random of [0, 0.999]) {
  test(`an hour's token is replaced after 50 minutes, with no client waiting (jitter ${random})`, async () => {
    const { cache, clock, token, calls } = setUp(hourLong, random)
    await token()
    await clock.advance(49 * MINUTE)
    assert.deepEqual([cache.state, calls()], ['fresh', 1])
    await clock.advance(2 * MINUTE)
    assert.deepEqual([await token(), calls()], ['t2', 2])
  })

  test(`tokens of 3 seconds cost at most two requests a life (jitter ${random})`, async () => {
    const { clock, token, calls } = setUp(living(3 * SECOND), random)
    for (let at = 0; at < 60 * SECOND; at += 50) {
      await token()
      await clock.advance(50)
    }
    assert.ok(calls() >= 20 && calls() <= 41, `${calls()} calls`)
  })
}

test('a token counts as expired a little early: a tenth of its life, at most 10 seconds', async () => {
  for (const [lifeMs, earlyMs] of [
    [3 * SECOND, 300],
    [60 * MINUTE, 10 * SECOND],
  ] as const) {
    const { cache, clock, token } = setUp((call, now) =>
      call === 1 ? living(lifeMs)(call, now) : new Error('503'),
    )
    await token()
    await clock.advance(lifeMs - earlyMs - 1)
    assert.equal(await token(), 't1')
    await clock.advance(1)
    assert.equal(cache.state, 'expired')
    await assert.rejects(token(), /503/)
  }
})

test('after three hours of sleep, in which no timer ran, the next client waits for a new token', async () => {
  const { cache, clock, token } = setUp(hourLong)
  await token()
  clock.sleep(180 * MINUTE)
  assert.equal(cache.state, 'expired')
  assert.equal(await token(), 't2')
})

test('a failed refresh keeps the good credential, and is tried again', async () => {
  const { clock, failures, token } = setUp((call, now) =>
    call === 2 ? new Error('503') : hourLong(call, now),
  )
  await token()
  await clock.advance(50 * MINUTE)
  assert.deepEqual([await token(), failures], ['t1', [true]])
  await clock.advance(MINUTE)
  assert.equal(await token(), 't3')
})

test('a first failure reaches the caller, and the next caller asks afresh', async () => {
  const { token, failures } = setUp((call, now) =>
    call === 1 ? new Error('403') : hourLong(call, now),
  )
  await assert.rejects(token(), /403/)
  assert.deepEqual(failures, [false])
  assert.equal(await token(), 't2')
})

test('an outage is asked about once per retry, however many sessions arrive', async () => {
  const { clock, token, calls } = setUp(failingFrom(2))
  await token()
  await clock.advance(50 * MINUTE)
  const before = calls()
  for (let session = 0; session < 50; session++) await token().then(settle)
  assert.equal(calls(), before)
})

test('past expiry with the workspace unreachable the timer stops, and the next client asks', async () => {
  const { clock, token, calls } = setUp(failingFrom(2))
  await token()
  await clock.advance(2 * 60 * MINUTE)
  const before = calls()
  await clock.advance(10 * 60 * MINUTE)
  assert.deepEqual([calls(), clock.pending], [before, 0])
  await assert.rejects(token(), /503/)
  assert.equal(calls(), before + 1)
})

test('a late refusal of an old token gets its successor, and asks for nothing', async () => {
  const { cache, clock, calls } = setUp(hourLong)
  const old = await cache.get(signal)
  await clock.advance(51 * MINUTE)
  const before = calls()
  assert.equal((await cache.renew(old, signal))?.token.reveal(), 't2')
  assert.equal(calls(), before)
})

test('fifty refusals of a good token, as a wrong role brings, cost one request in 30 seconds', async () => {
  const { cache, clock, calls } = setUp(hourLong)
  const first = await cache.get(signal)
  assert.equal((await cache.renew(first, signal))?.token.reveal(), 't2')
  for (let refusal = 0; refusal < 49; refusal++) {
    assert.equal(await cache.renew(await cache.get(signal), signal), undefined)
  }
  assert.equal(calls(), 2)
  await clock.advance(30 * SECOND)
  assert.equal((await cache.renew(await cache.get(signal), signal))?.token.reveal(), 't3')
})

test('a clock that is set back two hours does not forbid for as long to replace a refused token', async () => {
  const { cache, clock } = setUp(hourLong)
  assert.equal((await cache.renew(await cache.get(signal), signal))?.token.reveal(), 't2')
  await clock.advance(MINUTE)
  clock.set(-120 * MINUTE)
  assert.equal((await cache.renew(await cache.get(signal), signal))?.token.reveal(), 't3')
})

test('a refusal during an outage does not cost the others their token', async () => {
  const { cache, token } = setUp(failingFrom(2))
  await assert.rejects(cache.renew(await cache.get(signal), signal), /503/)
  assert.equal(await token(), 't1')
})

test('closing drops the token and every timer', async () => {
  const { cache, clock, token } = setUp(hourLong)
  await token()
  cache.close()
  assert.deepEqual([cache.state, cache.expiresAt, clock.pending], ['expired', undefined, 0])
})

test('an expired token is dropped, also when no client asks for it, and when a timer fires a moment early', async () => {
  const { cache, clock, token } = setUp(failingFrom(2))
  const onTime = clock.after.bind(clock)
  clock.after = (delayMs, fn) => onTime(delayMs > 1 ? delayMs - 1 : delayMs, fn)
  await token()
  await clock.advance(60 * MINUTE - 11 * SECOND)
  assert.equal(cache.expiresAt, 60 * MINUTE)
  await clock.advance(SECOND)
  assert.equal(cache.expiresAt, undefined)
})

test('a token that is good for months is not asked for in a loop', async (t) => {
  // Node says so when a timer is set further ahead than it can, which then fires at once.
  const warnings: string[] = []
  const listen = ({ name }: Error): void => void warnings.push(name)
  process.on('warning', listen)
  t.after(() => void process.off('warning', listen))
  let calls = 0
  const expiresAt = systemClock.now() + 60 * 24 * 60 * MINUTE
  const fetch = async () => ({ token: new Secret(`t${++calls}`), expiresAt })
  const cache = new CredentialCache({ clock: systemClock, fetch })
  await cache.get(signal)
  await new Promise((resolve) => setImmediate(resolve))
  cache.close()
  assert.equal(calls, 1)
  assert.deepEqual(warnings, [])
})
