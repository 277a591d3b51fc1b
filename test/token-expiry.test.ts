/** Tokens that live for seconds, and what becomes of clients while they come and go. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { emulatorForTests } from './support/emulator.js'
import { userWithoutRole } from './support/identities.js'
import { ask, pgClient, proxyForTests } from './support/started-proxy.js'

const TTL_MS = 3_000
const DURATION_MS = 60_000
const emulator = await emulatorForTests({ tokenTtlMs: TTL_MS })
const { control } = emulator

test('with tokens of 3 seconds, 60 seconds of clients that come and go: none fails, two credential calls a life at the most', async () => {
  const { proxy, port } = await proxyForTests(emulator)
  const before = control.callCount('credentials')
  const endAt = Date.now() + DURATION_MS
  let sessions = 0
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      while (Date.now() < endAt) {
        const { rows } = await ask(port, 'select current_user as me')
        assert.equal(rows[0].me, 'ada@example.com')
        sessions++
      }
    }),
  )
  const calls = control.callCount('credentials') - before
  assert.ok(sessions > 100, `${sessions} sessions`)
  assert.ok(calls <= 2 * Math.ceil(DURATION_MS / TTL_MS) + 1, `${calls} credential calls`)
  assert.ok(calls >= DURATION_MS / TTL_MS, `${calls} credential calls`)
  await proxy.close()
})

test('a session outlives the token it logged in with', async () => {
  const { proxy, port } = await proxyForTests(emulator)
  const client = pgClient(port)
  await client.connect()
  const minted = control.mintedCount
  while (control.mintedCount < minted + 3) await client.query('select pg_sleep(0.2)')
  const { rows } = await client.query('select 1 as still')
  assert.equal(rows[0].still, 1)
  await client.end()
  await proxy.close()
})

test('two hundred clients in the same instant, on a cold proxy: one credential call, one look-up of the instance, one of the identity', async () => {
  control.behaviour.tokenTtlMs = 3_600_000
  const count = () =>
    (['credentials', 'instance', 'me'] as const).map((api) => control.callCount(api))
  const before = count()
  const warnings: Error[] = []
  const warned = (warning: Error): void => void warnings.push(warning)
  process.on('warning', warned)
  const { proxy, port } = await proxyForTests(emulator)
  const answers = await Promise.all(Array.from({ length: 200 }, () => ask(port, 'select 1 as one')))
  assert.equal(answers.filter(({ rows }) => rows[0].one === 1).length, 200)
  assert.deepEqual(
    count().map((now, i) => now - before[i]!),
    [1, 1, 1],
  )
  process.off('warning', warned)
  assert.deepEqual(warnings, [], 'of listeners that pile up, say')
  await proxy.close()
})

test('a token the server refuses is replaced once, and the client never knows', async () => {
  const { proxy, port } = await proxyForTests(emulator)
  await ask(port, 'select 1')
  control.revokeTokens('database')
  const before = control.callCount('credentials')
  const { rows } = await ask(port, 'select 1 as fine')
  assert.equal(rows[0].fine, 1)
  assert.ok(control.callCount('credentials') - before <= 2)
  await proxy.close()
})

test('a role that does not exist is refused with who is signed in and what to do, and costs one extra token in 30 s', async () => {
  const { proxy, port } = await proxyForTests(emulator, {
    env: { ...emulator.env, DATABRICKS_TOKEN: userWithoutRole.pat! },
  })
  const before = control.callCount('credentials')
  const logins: unknown[] = []
  for (let attempt = 0; attempt < 5; attempt++) {
    await assert.rejects(ask(port, 'select 1'), (error: { code: string; hint: string }) => {
      logins.push(error.code)
      assert.match(error.hint, /nora@example\.com/)
      return true
    })
  }
  assert.deepEqual(logins, Array(5).fill('28000'))
  assert.equal(control.callCount('credentials') - before, 2)
  await proxy.close()
})
