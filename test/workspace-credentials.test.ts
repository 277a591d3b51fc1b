/** Database credentials: what is asked for, and how long the answer counts. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { autoscaling, provisioned } from './support/databases.js'
import { FakeClock } from './support/fake-clock.js'
import {
  connectTo,
  neverAborted,
  type ScriptedReply,
  ScriptedWorkspace,
} from './support/scripted-workspace.js'

const SERVER_NOW = Date.parse('2026-03-01T12:00:00Z')
const MINUTE = 60_000

function reply(body: object, headers: Record<string, string> = {}): ScriptedReply {
  return { body, headers: { date: new Date(SERVER_NOW).toUTCString(), ...headers } }
}

const at = (ms: number): string => new Date(SERVER_NOW + ms).toISOString()

function jwt(claims: object): string {
  return `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.sig`
}

test('a Provisioned credential is asked for by instance name with a fresh UUID', async (t) => {
  const server = await ScriptedWorkspace.start(t, () =>
    reply({ token: 'tok', expiration_time: at(60 * MINUTE) }),
  )
  const clock = new FakeClock()
  const workspace = await connectTo(t, server.host, { clock })
  const credential = await workspace.mintCredential(provisioned, { ttlMs: 300_000 }, neverAborted)
  assert.equal(credential.token.reveal(), 'tok')
  assert.equal(credential.expiresAt, 60 * MINUTE - 1000)
  await workspace.mintCredential(provisioned, {}, neverAborted)
  const bodies = server.requests.map(({ body }) => JSON.parse(body))
  assert.equal(server.lines[0], 'POST /api/2.0/database/credentials')
  assert.deepEqual(Object.keys(bodies[0]).sort(), ['instance_names', 'request_id'])
  assert.deepEqual(bodies[0].instance_names, ['inst'])
  assert.match(bodies[0].request_id, /^[0-9a-f-]{36}$/)
  assert.notEqual(bodies[0].request_id, bodies[1].request_id)
})

test('an Autoscaling credential is asked for by endpoint, ttl and group only where set', async (t) => {
  const server = await ScriptedWorkspace.start(t, () =>
    reply({ token: 'tok', expire_time: at(5 * MINUTE) }),
  )
  const clock = new FakeClock()
  const workspace = await connectTo(t, server.host, { clock })
  assert.equal(
    (await workspace.mintCredential(autoscaling, {}, neverAborted)).expiresAt,
    5 * MINUTE - 1000,
  )
  await workspace.mintCredential(autoscaling, { ttlMs: 300_000, group: 'analysts' }, neverAborted)
  assert.equal(server.lines[0], 'POST /api/2.0/postgres/credentials')
  assert.deepEqual(
    server.requests.map(({ body }) => JSON.parse(body)),
    [
      { endpoint: autoscaling.name },
      { endpoint: autoscaling.name, ttl: '300s', group_name: 'analysts' },
    ],
  )
})

test('a group on a Provisioned instance is refused before anything is asked', async (t) => {
  const server = await ScriptedWorkspace.start(t)
  const workspace = await connectTo(t, server.host)
  await assert.rejects(workspace.mintCredential(provisioned, { group: 'g' }, neverAborted), {
    kind: 'config',
  })
  assert.deepEqual(server.lines, [])
})

for (const hoursOff of [-2, 0, 2]) {
  test(`a local clock that is ${hoursOff} hours off does no harm`, async (t) => {
    const clock = new FakeClock()
    clock.sleep(SERVER_NOW + hoursOff * 60 * MINUTE)
    const server = await ScriptedWorkspace.start(t, () =>
      reply({ token: 'tok', expiration_time: at(60 * MINUTE) }),
    )
    const workspace = await connectTo(t, server.host, { clock })
    const { expiresAt } = await workspace.mintCredential(provisioned, {}, neverAborted)
    const lifeMs = expiresAt - clock.now()
    assert.ok(lifeMs > 59.9 * MINUTE && lifeMs <= 60 * MINUTE, `${lifeMs} ms`)
  })
}

for (const [form, body, minutes] of [
  ['nanoseconds', { token: 't', expire_time: '2026-03-01T12:30:00.123456789Z' }, 30],
  ['an offset', { token: 't', expiration_time: '2026-03-01T14:30:00+02:00' }, 30],
  ["no expiry, the JWT's own", { token: jwt({ exp: SERVER_NOW / 1000 + 1200 }) }, 20],
  [
    'an expiry that is not a time',
    { token: jwt({ exp: SERVER_NOW / 1000 + 1200 }), expire_time: 'soon' },
    20,
  ],
  ['no expiry and no JWT', { token: 'opaque' }, 50],
  ['a JWT that is garbage', { token: 'a.b.c' }, 50],
] as const) {
  test(`the life of a credential is read from a reply with ${form}`, async (t) => {
    const clock = new FakeClock()
    const server = await ScriptedWorkspace.start(t, () => reply(body))
    const workspace = await connectTo(t, server.host, { clock })
    const { expiresAt } = await workspace.mintCredential(autoscaling, {}, neverAborted)
    assert.equal(Math.ceil(expiresAt / MINUTE), minutes)
  })
}

test('a life of seconds is not stretched by the Date header, which tells whole seconds', async (t) => {
  const clock = new FakeClock()
  clock.sleep(SERVER_NOW + 900)
  const server = await ScriptedWorkspace.start(t, () =>
    reply({ token: 'tok', expiration_time: at(3900) }),
  )
  const workspace = await connectTo(t, server.host, { clock })
  const { expiresAt } = await workspace.mintCredential(provisioned, {}, neverAborted)
  assert.equal(expiresAt - clock.now(), 3000)
})

test('a credential that has already expired is refused', async (t) => {
  const server = await ScriptedWorkspace.start(t, () =>
    reply({ token: 'tok', expiration_time: at(-1000) }),
  )
  const workspace = await connectTo(t, server.host)
  await assert.rejects(workspace.mintCredential(provisioned, {}, neverAborted), {
    kind: 'credential',
    message: /already expired/,
    hint: /clock/,
  })
})

test('a reply without a token is an error, and what came is not repeated as a secret', async (t) => {
  const server = await ScriptedWorkspace.start(t, () =>
    reply({ tocken: 'eyJhbGciOi.eyJzdWIi.sig' }),
  )
  const workspace = await connectTo(t, server.host)
  await assert.rejects(workspace.mintCredential(provisioned, {}, neverAborted), (error: Error) => {
    assert.match(error.message, /unexpected reply/)
    assert.doesNotMatch(JSON.stringify(error), /eyJ/)
    return true
  })
})

test('a minted token prints as redacted', async (t) => {
  const server = await ScriptedWorkspace.start(t, () =>
    reply({ token: 'sesame', expiration_time: at(MINUTE) }),
  )
  const workspace = await connectTo(t, server.host)
  const credential = await workspace.mintCredential(provisioned, {}, neverAborted)
  assert.doesNotMatch(`${credential.token} ${JSON.stringify(credential)}`, /sesame/)
})
