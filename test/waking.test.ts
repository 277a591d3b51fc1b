/**
 * Servers that need a while: asleep, starting, or on a branch that was just made. Their clients
 * wait within wake-timeout; those of a server that is simply dead are told within connect-timeout.
 */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { toDatabase } from '../src/databricks/lakebase/autoscaling.js'
import { RawClient, type ServerSaid } from './chaos/raw-client.js'
import { eventually, within } from './chaos/world.js'
import { emulatorForTests } from './support/emulator.js'
import type { FrontFault } from './support/emulator-faults.js'
import { FakeClock } from './support/fake-clock.js'
import { ask } from './support/http.js'
import { proxyBefore, type TestProxyOptions } from './support/proxy.js'

const emulator = await emulatorForTests()
const { control } = emulator
const BRANCH = 'projects/demo/branches/production'
const ENDPOINT = `${BRANCH}/endpoints/primary`
const IDLE = 'projects/many/branches/idle/endpoints/primary'
const startup = { user: 'anyone', database: 'databricks_postgres' }

async function login(port: number): Promise<'ready' | ServerSaid | undefined> {
  const client = await RawClient.connect(port)
  const said = await within(10_000, client.login(startup))
  client.socket.destroy()
  return said
}

/** Before the emulator's Autoscaling endpoint, with everything asked for that is asked for once. */
async function ready(t: TestContext, target: string, options: TestProxyOptions = {}) {
  const proxy = await proxyBefore(t, emulator, { targets: [target], ...options })
  await proxy.daemon.targets[0]!.prime()
  return proxy
}

const refuse = (at: 'startup' | 'password', sqlState: string, message: string): FrontFault => ({
  at,
  refuse: { severity: 'FATAL', sqlState, message },
})

for (const [at, sqlState, message] of [
  ['startup', '57P01', 'terminating connection due to administrator command'],
  ['startup', '57P03', 'the database system is starting up'],
  ['startup', '08006', 'connection to the compute failed'],
  ['password', '08001', 'could not connect to the compute'],
  ['password', 'XX000', "Couldn't connect to compute node"],
  [
    'startup',
    'XX000',
    'Control plane request failed: endpoint is temporarily unavailable. Check your quotas and/or try again later.',
  ],
  ['password', 'XX000', 'Failed to acquire permit to connect to the database.'],
] as const) {
  test(`${sqlState} "${message}" is retried, and the client never knows`, async (t) => {
    const { port } = await ready(t, ENDPOINT)
    control.failFront(refuse(at, sqlState, message), 2)
    assert.equal(await login(port), 'ready')
  })
}

for (const [sqlState, message] of [
  ['08006', 'Insecure connection. Ensure that connection is using SSL.'],
  ['08006', 'Connection does not have SNI.'],
  ['08006', 'Invalid length of startup packet.'],
  ['0A000', 'Unsupported frontend protocol 3.2. Server supports 3.0 to 3.0'],
  ['08P01', 'Invalid protocol version. Protocol version: 80877104'],
  ['XX000', 'Control plane request failed: endpoint is disabled'],
  ['XX000', 'This IP address 10.0.0.1 is not allowed to connect to this endpoint.'],
  ['28000', 'no pg_hba.conf entry for host'],
] as const) {
  test(`${sqlState} "${message}" is final, and told at once`, async (t) => {
    const { port } = await ready(t, ENDPOINT)
    control.failFront(refuse('startup', sqlState, message), 1)
    const said = await login(port)
    assert.ok(typeof said === 'object')
    assert.deepEqual([said.code, said.message], [sqlState, message])
  })
}

const notYet: Record<string, FrontFault> = {
  '28P01 after the password': refuse('password', '28P01', 'password authentication failed'),
  '28000 after the password': refuse('password', '28000', 'role is not permitted to log in'),
  '28000 before it': refuse('startup', '28000', 'External authorization failed.'),
  'SASL, as unknown roles may be asked for': { at: 'startup', ask: 'sasl' },
}

for (const [what, fault] of Object.entries(notYet)) {
  test(`a branch younger than five minutes that answers ${what} is asked again`, async (t) => {
    const branch = control.branch(BRANCH)
    const { createdAt } = branch
    t.after(() => {
      branch.createdAt = createdAt
    })
    branch.createdAt = Date.now() - 60_000
    const { port, log } = await ready(t, ENDPOINT)
    const minted = control.mintedCount
    control.failFront(fault, 3)
    assert.equal(await login(port), 'ready')
    assert.ok(control.mintedCount - minted <= 1, 'one new token at the most')
    assert.ok(log.lines.some(({ message }) => /^server woke in \d+ s$/.test(message)))
  })

  test(`an old branch that answers ${what} is believed`, async (t) => {
    const { port } = await ready(t, ENDPOINT)
    control.failFront(fault, 2)
    const said = await login(port)
    assert.ok(typeof said === 'object')
    assert.equal(said.code, '28000')
    control.clearFaults()
  })
}

/** A client that has been asked nothing and told nothing yet, a second after it came. */
async function silentClient(port: number, clock: FakeClock, hasDialled: () => boolean) {
  const client = (await RawClient.connect(port)).startup(startup)
  await eventually(hasDialled, 'it is not dialled')
  await clock.advance(1_000)
  return client
}

test('an endpoint that takes 15 s to wake serves its client; the log and the status say that it is waking', async (t) => {
  const clock = new FakeClock()
  control.behaviour.wakeMs = 2_000
  t.after(() => {
    control.behaviour.wakeMs = 200
  })
  const { port, daemon, log } = await ready(t, IDLE, {
    clock,
    adminPort: 0,
    adminAddress: '127.0.0.1',
  })
  control.endpoint(IDLE).state = 'IDLE'
  const accepted = control.acceptedCount
  const client = await silentClient(port, clock, () => control.acceptedCount > accepted)
  await log.seen(({ message }) => message === 'server is waking, and its clients wait')
  await clock.advance(12_000)
  assert.equal(daemon.targets[0]!.wakingSeconds, 12)
  const page = await ask(`${daemon.adminUrl}/status`)
  assert.match(page.body, /The server is waking, 12 s/)
  assert.ok(log.lines.some(({ message }) => message === 'waking, 10 s'))
  await clock.advance(2_000)
  const messages = await within(10_000, client.until('Z'))
  assert.equal(messages.at(-1)?.type, 'Z')
  assert.ok(log.lines.some(({ message }) => message === 'server woke in 14 s'))
  assert.equal(daemon.targets[0]!.wakingSeconds, undefined)
  client.socket.destroy()
})

test('an endpoint that was awake when it was looked up is asked for again when it is silent', async (t) => {
  const clock = new FakeClock()
  control.endpoint(ENDPOINT).state = 'ACTIVE'
  const { port, daemon } = await ready(t, ENDPOINT, { clock })
  control.endpoint(ENDPOINT).state = 'INIT' // suspended since, and starting again
  t.after(() => {
    control.endpoint(ENDPOINT).state = 'ACTIVE'
  })
  control.failFront({ at: 'startup', how: 'hang' }, 1)
  const accepted = control.acceptedCount
  const client = await silentClient(port, clock, () => control.acceptedCount > accepted)
  await eventually(() => daemon.targets[0]!.wakingSeconds !== undefined, 'it is not seen to wake')
  await clock.advance(58_000)
  assert.equal(client.socket.readableLength, 0)
  await clock.advance(1_000)
  const [error] = await within(10_000, client.until('E'))
  assert.match(String(error?.body), /57P03/)
  assert.match(
    String(error?.body),
    /Waited for 60 s \(wake-timeout\)\. The workspace reported the state INIT/,
  )
})

test('an active endpoint that is dead costs connect-timeout and no more', async (t) => {
  const clock = new FakeClock()
  control.endpoint(ENDPOINT).state = 'ACTIVE'
  const { port, daemon } = await ready(t, ENDPOINT, { clock })
  control.failFront({ at: 'startup', how: 'hang' })
  const accepted = control.acceptedCount
  const calls = control.callCount()
  const client = await silentClient(port, clock, () => control.acceptedCount > accepted)
  await eventually(() => control.callCount() > calls, 'its state is not asked for')
  await clock.advance(9_000)
  const [error] = await within(10_000, client.until('E'))
  assert.match(String(error?.body), /57P03/)
  assert.match(String(error?.body), /Waited for 10 s \(connect-timeout\)/)
  assert.equal(daemon.targets[0]!.wakingSeconds, undefined)
})

for (const [branchState, endpointState, state, apiState] of [
  ['READY', 'ACTIVE', 'available', 'ACTIVE'],
  ['READY', 'IDLE', 'idle', 'IDLE'],
  ['READY', 'INIT', 'starting', 'INIT'],
  ['READY', 'DEGRADED', 'available', 'DEGRADED'],
  ['INIT', 'ACTIVE', 'starting', 'INIT'],
  ['ARCHIVED', 'IDLE', 'idle', 'ARCHIVED'],
  ['IMPORTING', 'ACTIVE', 'starting', 'IMPORTING'],
  ['RESETTING', 'ACTIVE', 'starting', 'RESETTING'],
  ['DELETED', 'ACTIVE', 'deleting', 'DELETED'],
  [undefined, undefined, 'available', 'UNKNOWN'],
] as const) {
  test(`a branch that is ${branchState} with an endpoint that is ${endpointState} is ${state}`, () => {
    const found = toDatabase({
      endpoint: { name: ENDPOINT, status: { current_state: endpointState } },
      branch: { name: BRANCH, status: { current_state: branchState } },
    })
    assert.deepEqual([found.state, found.apiState], [state, apiState])
  })
}
