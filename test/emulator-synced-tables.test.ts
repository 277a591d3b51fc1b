/** Synced tables in the emulator's two APIs. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { type Clock, systemClock } from '../src/core/clock.js'
import { demoUser } from '../src/emulator/inventory.js'
import { emulatorForTests } from './support/emulator.js'

// Steps of a minute, which pass when the test says so.
const STEP_MS = 60_000
let passedMs = 0
const clock: Clock = { ...systemClock, now: () => systemClock.now() + passedMs }
const emulator = await emulatorForTests({ transitionMs: STEP_MS, clock })

type Json = Record<string, unknown>

async function call(
  path: string,
  method = 'GET',
  body?: Json,
): Promise<{ status: number; body: Json }> {
  const response = await fetch(`${emulator.workspaceUrl}/api/2.0${path}`, {
    method,
    headers: { authorization: `Bearer ${demoUser.pat}` },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  return { status: response.status, body: (await response.json()) as Json }
}

const spec = (rest: Json = {}): Json => ({
  ...{ source_table_full_name: 'main.sales.orders', primary_key_columns: ['id'] },
  ...{ scheduling_policy: 'SNAPSHOT', new_pipeline_spec: { storage_catalog: 'main' } },
  ...rest,
})

const createProvisioned = (name: string, specification: Json, rest: Json = {}) =>
  call('/database/synced_tables', 'POST', {
    ...{ name, database_instance_name: 'demo-instance', logical_database_name: 'd' },
    ...{ spec: specification, ...rest },
  })

const createAutoscaling = (name: string, specification: Json) =>
  call(`/postgres/synced_tables?synced_table_id=${name}`, 'POST', {
    spec: {
      branch: 'projects/demo/branches/production',
      postgres_database: 'databricks_postgres',
      ...specification,
    },
  })

/** Each state once, until one that stays; a step passes between two questions. */
async function statesOf(path: string, field: string): Promise<string[]> {
  const seen: string[] = []
  while (!/ONLINE|OFFLINE/.test(seen.at(-1) ?? '')) {
    const { body } = await call(path)
    const state = String((body[field] as Json).detailed_state)
    if (seen.at(-1) !== state) seen.push(state)
    passedMs += STEP_MS
  }
  return seen
}

const onTheWay = ['', '_PIPELINE_RESOURCES', '_INITIAL_SNAPSHOT'].map(
  (suffix) => `SYNCED_TABLE_PROVISIONING${suffix}`,
)

test('a Provisioned synced table goes through its states', async () => {
  const { status } = await createProvisioned('main.sales.orders_synced', spec())
  assert.equal(status, 200)
  const path = '/database/synced_tables/main.sales.orders_synced'
  const states = await statesOf(path, 'data_synchronization_status')
  assert.deepEqual(states, [...onTheWay, 'SYNCED_TABLE_ONLINE_NO_PENDING_UPDATE'])
  assert.equal((await call(path, 'DELETE')).status, 200)
  assert.equal((await call(path)).status, 404)
})

test('an Autoscaling synced table is created by an operation, and goes through the same states', async () => {
  const policy = { scheduling_policy: 'CONTINUOUS' }
  const { body } = await createAutoscaling('main.sales.copy', spec(policy))
  assert.equal('done' in body, false)
  let operation = body
  while (operation.done !== true) {
    passedMs += STEP_MS
    operation = (await call(`/postgres/${body.name}`)).body
  }
  assert.equal((operation.response as Json).name, 'synced_tables/main.sales.copy')
  const states = await statesOf('/postgres/synced_tables/main.sales.copy', 'status')
  assert.equal(states.at(-1), 'SYNCED_TABLE_ONLINE_CONTINUOUS_UPDATE')
})

test('offline is misspelt by the one API and not by the other', async () => {
  const paused = spec({ source_table_full_name: 'main.sales.paused' })
  await createProvisioned('main.sales.p1', paused)
  await createAutoscaling('main.sales.p2', paused)
  const [first, second] = await Promise.all([
    statesOf('/database/synced_tables/main.sales.p1', 'data_synchronization_status'),
    statesOf('/postgres/synced_tables/main.sales.p2', 'status'),
  ])
  assert.equal(first.at(-1), 'SYNCED_TABLED_OFFLINE')
  assert.equal(second.at(-1), 'SYNCED_TABLE_OFFLINE')
})

test('a sync that fails says why', async () => {
  const broken = spec({ source_table_full_name: 'main.sales.broken' })
  await createProvisioned('main.sales.b', broken)
  const path = '/database/synced_tables/main.sales.b'
  const states = await statesOf(path, 'data_synchronization_status')
  assert.equal(states.at(-1), 'SYNCED_TABLE_OFFLINE_FAILED')
  const status = (await call(path)).body.data_synchronization_status as Json
  assert.match(String(status.message), /null value in primary key column/)
})

test('wrong arguments are refused, each with its own status', async () => {
  const cases: [number, string, Json, Json?][] = [
    [400, 'two.parts', spec()],
    [400, 'main.sales.x', spec({ primary_key_columns: [] })],
    [400, 'main.sales.x', spec({ primary_key_columns: ['none'] })],
    [400, 'main.sales.x', spec({ scheduling_policy: 'HOURLY' })],
    [400, 'main.sales.x', spec({ new_pipeline_spec: undefined })],
    [400, 'main.sales.x', spec({ existing_pipeline_id: 'x' })],
    [404, 'main.sales.x', spec({ new_pipeline_spec: undefined, existing_pipeline_id: 'x' })],
    [404, 'main.sales.x', spec({ source_table_full_name: 'main.sales.none' })],
    [404, 'main.sales.x', spec(), { database_instance_name: 'none' }],
    [400, 'main.sales.x', spec(), { logical_database_name: undefined }],
  ]
  for (const [status, name, specification, rest] of cases) {
    const reply = await createProvisioned(name, specification, rest)
    assert.equal(reply.status, status, JSON.stringify(reply.body))
  }
  // Triggered and continuous want a change data feed; a snapshot does not.
  const noFeed = { source_table_full_name: 'main.sales.customers' }
  const triggered = await createProvisioned(
    'main.sales.x',
    spec({ ...noFeed, scheduling_policy: 'TRIGGERED' }),
  )
  assert.match(String(triggered.body.message), /Change data feed is not enabled/)
  assert.equal((await createProvisioned('main.sales.x', spec(noFeed))).status, 200)
  assert.equal((await createProvisioned('main.sales.x', spec(noFeed))).status, 409)
})

test('what the real API has not implemented is 501', async () => {
  const listed = await call('/database/instances/demo-instance/synced_tables')
  assert.deepEqual([listed.status, listed.body.error_code], [501, 'NOT_IMPLEMENTED'])
  assert.equal((await call('/database/synced_tables/main.sales.x', 'PATCH', {})).status, 501)
})
