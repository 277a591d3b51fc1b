/** Synced tables in both APIs: what is sent, what is refused beforehand, and how states are told. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { SyncedTableRequest } from '../src/databricks/lakebase/synced-table-checks.js'
import {
  createSyncedTable,
  deleteSyncedTable,
  getSyncedTable,
  listSyncedTables,
  waitForSyncedTable,
} from '../src/databricks/lakebase/synced-tables.js'
import { autoscaling, provisioned } from './support/databases.js'
import { FakeClock, settle } from './support/fake-clock.js'
import {
  connectTo,
  neverAborted,
  routes,
  type Script,
  type ScriptedReply,
  ScriptedWorkspace,
} from './support/scripted-workspace.js'

const ORDERS: SyncedTableRequest = {
  name: 'main.app.orders',
  source: 'main.gold.orders',
  primaryKey: ['id', 'day'],
  policy: 'snapshot',
  databaseName: 'databricks_postgres',
}

const OLD_PATH = '/api/2.0/database/synced_tables'
const NEW_PATH = '/api/2.0/postgres/synced_tables'
const SOURCE = 'GET /api/2.1/unity-catalog/tables/main.gold.orders'

async function setUp(t: TestContext, script: Script) {
  const server = await ScriptedWorkspace.start(t, script)
  const clock = new FakeClock()
  const workspace = await connectTo(t, server.host, { clock })
  const client = workspace.client(neverAborted)
  return { server, client, clock }
}

test('a Provisioned synced table is created with a new pipeline', async (t) => {
  const { server, client } = await setUp(
    t,
    routes({ [`POST ${OLD_PATH}`]: { body: { name: ORDERS.name } } }),
  )
  const { table, operation } = await createSyncedTable(client, provisioned, ORDERS)
  assert.deepEqual([table.state, table.kind, operation], ['provisioning', 'provisioned', undefined])
  assert.deepEqual(JSON.parse(server.requests[0]!.body), {
    name: 'main.app.orders',
    database_instance_name: 'inst',
    logical_database_name: 'databricks_postgres',
    spec: {
      source_table_full_name: 'main.gold.orders',
      primary_key_columns: ['id', 'day'],
      scheduling_policy: 'SNAPSHOT',
      create_database_objects_if_missing: true,
      new_pipeline_spec: { storage_catalog: 'main', storage_schema: 'app' },
    },
  })
})

test('an Autoscaling synced table is created on the branch, with an existing pipeline', async (t) => {
  const { server, client } = await setUp(
    t,
    routes({
      [SOURCE]: { body: { properties: { 'delta.enableChangeDataFeed': 'true' } } },
      [`POST ${NEW_PATH}`]: { body: { name: 'operations/1', done: false } },
    }),
  )
  const request: SyncedTableRequest = {
    ...ORDERS,
    policy: 'continuous',
    timeseriesKey: 'ts',
    existingPipelineId: 'pipe-1',
  }
  const { operation } = await createSyncedTable(client, autoscaling, request)
  assert.equal(operation, 'operations/1')
  const { line, body } = server.requests[1]!
  assert.equal(line, `POST ${NEW_PATH}?synced_table_id=main.app.orders`)
  assert.deepEqual(JSON.parse(body), {
    spec: {
      branch: 'projects/p/branches/b',
      postgres_database: 'databricks_postgres',
      source_table_full_name: 'main.gold.orders',
      primary_key_columns: ['id', 'day'],
      timeseries_key: 'ts',
      scheduling_policy: 'CONTINUOUS',
      create_database_objects_if_missing: true,
      existing_pipeline_id: 'pipe-1',
    },
  })
})

for (const [what, wrong, text] of [
  ['a name of two parts', { name: 'app.orders' }, /"app.orders" is not a three-part name/],
  ['a source of four parts', { source: 'a.b.c.d' }, /source "a.b.c.d" is not/],
  ['itself as source', { source: ORDERS.name }, /own source/],
  ['no primary key', { primaryKey: [] }, /at least one column/],
  ['a key column twice', { primaryKey: ['id', 'id'] }, /"id" is named twice/],
  [
    'an unknown policy',
    { policy: 'hourly' },
    /"hourly" is not one of snapshot, triggered, continuous/,
  ],
  [
    'storage for an existing pipeline',
    { existingPipelineId: 'p', storageCatalog: 'c' },
    /storage already/,
  ],
  ['two things at once', { name: 'x', primaryKey: [''] }, /"x" is not.*; the primary key/],
] as const) {
  test(`${what} is refused before anything is asked`, async (t) => {
    const { server, client } = await setUp(t, () => undefined)
    const request = { ...ORDERS, ...wrong } as SyncedTableRequest
    await assert.rejects(createSyncedTable(client, provisioned, request), {
      kind: 'config',
      message: text,
    })
    assert.deepEqual(server.lines, [])
  })
}

test('a source without change data feed is refused for triggered and continuous', async (t) => {
  const { server, client } = await setUp(
    t,
    routes({ [SOURCE]: { body: { data_source_format: 'DELTA', properties: { x: 'y' } } } }),
  )
  for (const policy of ['triggered', 'continuous'] as const) {
    await assert.rejects(createSyncedTable(client, provisioned, { ...ORDERS, policy }), {
      kind: 'config',
      hint: /ALTER TABLE main.gold.orders SET TBLPROPERTIES/,
    })
  }
  assert.ok(server.requests.every(({ method }) => method === 'GET'))
})

test('a source that does not exist is named; one that is not ours to see is left to the API', async (t) => {
  const { server, client } = await setUp(
    t,
    routes({
      [SOURCE]: { status: 404, body: { error_code: 'TABLE_DOES_NOT_EXIST', message: 'no' } },
    }),
  )
  const request = { ...ORDERS, policy: 'triggered' } as const
  await assert.rejects(createSyncedTable(client, provisioned, request), {
    kind: 'target',
    message: 'source table main.gold.orders does not exist',
  })
  server.script = routes({
    [SOURCE]: { status: 403, body: { error_code: 'PERMISSION_DENIED', message: 'no' } },
    [`POST ${OLD_PATH}`]: { body: {} },
  })
  await createSyncedTable(client, provisioned, request)
})

test('a creation is not repeated where it may have happened already', async (t) => {
  const { server, client } = await setUp(t, () => ({ status: 500, body: { message: 'perhaps' } }))
  await assert.rejects(createSyncedTable(client, provisioned, ORDERS), /perhaps/)
  assert.equal(server.requests.length, 1)
})

for (const [detailed, state, told] of [
  ['SYNCED_TABLE_PROVISIONING_INITIAL_SNAPSHOT', 'provisioning', undefined],
  ['SYNCED_TABLE_ONLINE', 'online', undefined],
  ['SYNCED_TABLE_ONLINE_CONTINUOUS_UPDATE', 'online', undefined],
  ['SYNCED_TABLE_ONLINE_NO_PENDING_UPDATE', 'online', undefined],
  ['SYNCED_TABLE_ONLINE_PIPELINE_FAILED', 'failed', undefined],
  ['SYNCED_TABLE_OFFLINE_FAILED', 'failed', undefined],
  ['SYNCED_TABLED_OFFLINE', 'offline', 'SYNCED_TABLE_OFFLINE'],
  ['SYNCED_TABLE_OFFLINE', 'offline', undefined],
] as const) {
  test(`${detailed} counts as ${state} in both APIs`, async (t) => {
    const status = { detailed_state: detailed, message: 'words', pipeline_id: 'p1' }
    const { server, client } = await setUp(
      t,
      routes({ [`GET ${OLD_PATH}/a.b.c`]: { body: { data_synchronization_status: status } } }),
    )
    const old = await getSyncedTable(client, 'a.b.c')
    server.script = routes({
      [`GET ${NEW_PATH}/a.b.c`]: { body: { name: 'synced_tables/a.b.c', status } },
    })
    const recent = await getSyncedTable(client, 'a.b.c')
    assert.deepEqual([old.kind, recent.kind], ['provisioned', 'autoscaling'])
    for (const table of [old, recent]) {
      assert.deepEqual(
        [table.name, table.state, table.apiState, table.message, table.pipelineId],
        ['a.b.c', state, told ?? detailed, 'words', 'p1'],
      )
    }
  })
}

test('a table that neither API has is named', async (t) => {
  const { client } = await setUp(t, () => undefined)
  await assert.rejects(getSyncedTable(client, 'a.b.c'), {
    kind: 'target',
    message: 'synced table a.b.c does not exist',
  })
  await assert.rejects(getSyncedTable(client, 'b.c'), { kind: 'config' })
})

test('a table is deleted where it is', async (t) => {
  const { server, client } = await setUp(t, routes({ [`DELETE ${OLD_PATH}/a.b.c`]: { body: {} } }))
  await deleteSyncedTable(client, 'a.b.c', { purgeData: true })
  assert.deepEqual(server.lines, [
    `DELETE ${NEW_PATH}/a.b.c`,
    `DELETE ${OLD_PATH}/a.b.c?purge_data=true`,
  ])
})

test('where the API cannot list them, the error says what can be asked instead', async (t) => {
  const { client } = await setUp(t, () => ({
    status: 501,
    body: { error_code: 'NOT_IMPLEMENTED', message: 'Not implemented' },
  }))
  for (const database of [provisioned, autoscaling]) {
    await assert.rejects(listSyncedTables(client, database), {
      kind: 'target',
      hint: /synced-tables show CATALOG/,
    })
  }
})

test('where it can, only those of the branch are listed', async (t) => {
  const { client } = await setUp(
    t,
    routes({
      [`GET ${NEW_PATH}`]: {
        body: {
          synced_tables: [
            { name: 'synced_tables/a.b.c', spec: { branch: 'projects/p/branches/b' } },
            { name: 'synced_tables/a.b.d', spec: { branch: 'projects/other/branches/b' } },
          ],
        },
      },
    }),
  )
  const names = (await listSyncedTables(client, autoscaling)).map(({ name }) => name)
  assert.deepEqual(names, ['a.b.c'])
})

test('waiting tells each state once and ends when the table is online', async (t) => {
  const states = [
    undefined,
    'SYNCED_TABLE_PROVISIONING',
    'SYNCED_TABLE_PROVISIONING',
    'SYNCED_TABLE_PROVISIONING_INITIAL_SNAPSHOT',
    'SYNCED_TABLE_ONLINE',
  ]
  let polls = 0
  const { client, clock } = await setUp(t, ({ path, method }): ScriptedReply | undefined => {
    if (method === 'POST') return { body: { name: 'operations/1' } }
    if (path.endsWith('/operations/1')) return { body: { name: 'operations/1', done: polls > 0 } }
    const detailed_state = states[polls++]
    return detailed_state === undefined ? undefined : { body: { status: { detailed_state } } }
  })
  const created = await createSyncedTable(client, autoscaling, ORDERS)
  const seen: string[] = []
  const waiting = waitForSyncedTable(client, created, {
    clock,
    onState: ({ apiState }) => seen.push(apiState),
  })
  const online = await whileAdvancing(clock, waiting)
  assert.equal(online.state, 'online')
  assert.deepEqual(seen, [
    'UNKNOWN',
    'SYNCED_TABLE_PROVISIONING',
    'SYNCED_TABLE_PROVISIONING_INITIAL_SNAPSHOT',
    'SYNCED_TABLE_ONLINE',
  ])
})

test("waiting for a table that fails ends with the API's own words", async (t) => {
  const { client, clock } = await setUp(t, ({ method, path }) =>
    method === 'POST'
      ? { body: {} }
      : path.startsWith(OLD_PATH)
        ? {
            body: {
              data_synchronization_status: {
                detailed_state: 'SYNCED_TABLE_OFFLINE_FAILED',
                message: 'duplicate key',
              },
            },
          }
        : undefined,
  )
  const created = await createSyncedTable(client, provisioned, ORDERS)
  const waiting = waitForSyncedTable(client, created, {
    clock,
    onState: () => {},
  })
  await assert.rejects(whileAdvancing(clock, waiting), {
    message: 'synced table main.app.orders failed',
    detail: 'SYNCED_TABLE_OFFLINE_FAILED: duplicate key',
  })
})

test('waiting bears a table that is offline for a moment, and not one that stays so', async (t) => {
  let isBack = true
  const { client, clock } = await setUp(t, ({ method, path }) => {
    if (method === 'POST') return { body: {} }
    if (!path.startsWith(OLD_PATH)) return undefined
    const detailed_state =
      isBack && clock.now() > 30_000 ? 'SYNCED_TABLE_ONLINE' : 'SYNCED_TABLED_OFFLINE'
    return { body: { data_synchronization_status: { detailed_state } } }
  })
  const wait = async () => {
    const created = await createSyncedTable(client, provisioned, ORDERS)
    const options = { clock, onState: () => {} }
    return whileAdvancing(clock, waitForSyncedTable(client, created, options))
  }
  assert.equal((await wait()).state, 'online')
  isBack = false
  await assert.rejects(wait(), {
    message: 'synced table main.app.orders is offline',
    detail: 'SYNCED_TABLE_OFFLINE',
  })
})

test('a creation that the operation reports as failed ends the wait', async (t) => {
  const { client, clock } = await setUp(t, ({ method, path }) =>
    method === 'POST'
      ? { body: { name: 'operations/1', done: false } }
      : path.endsWith('operations/1')
        ? { body: { done: true, error: { message: 'no such column' } } }
        : undefined,
  )
  const created = await createSyncedTable(client, autoscaling, ORDERS)
  const options = { clock, onState: () => {} }
  await assert.rejects(whileAdvancing(clock, waitForSyncedTable(client, created, options)), {
    message: 'could not create synced table main.app.orders: no such column',
  })
})

/** Lets ten seconds pass at a time, until the promise is settled. */
async function whileAdvancing<T>(clock: FakeClock, promise: Promise<T>): Promise<T> {
  let settled = false
  const done = (): void => {
    settled = true
  }
  promise.then(done, done)
  while (!settled) {
    await settle()
    // Only between requests, whose own limits must not run out.
    if (clock.pending === 1) await clock.advance(10_000)
  }
  return promise
}
