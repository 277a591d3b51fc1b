/** Instances and endpoints of both kinds in one list, and an instance started and stopped. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { E, instance, shop } from './support/scripted-databases.js'
import { connectTo, neverAborted, routes, ScriptedWorkspace } from './support/scripted-workspace.js'

test('the list holds both kinds, page by page, and survives the failure of one', async (t) => {
  const pages: Record<string, object> = {
    '': { database_instances: [instance('a')], next_page_token: 'p2' },
    p2: { database_instances: [instance('b')], next_page_token: '' },
  }
  const server = await ScriptedWorkspace.start(
    t,
    routes({
      ...shop,
      'GET /api/2.0/database/instances': ({ query }) => ({
        body: pages[query.get('page_token') ?? ''],
      }),
    }),
  )
  const workspace = await connectTo(t, server.host)
  const both = await workspace.listDatabases(neverAborted)
  assert.deepEqual(
    both.databases.map(({ name }) => name),
    [E, 'a', 'b'],
  )
  assert.deepEqual(both.failures, [])
  server.script = routes(shop)
  const one = await workspace.listDatabases(neverAborted)
  assert.deepEqual(
    one.databases.map(({ name }) => name),
    [E],
  )
  assert.deepEqual(
    one.failures.map(({ kind }) => kind),
    ['provisioned'],
  )
  server.script = () => ({ status: 403, body: { message: 'nothing for you' } })
  await assert.rejects(workspace.listDatabases(neverAborted), { kind: 'identity' })
})

test('an instance is started and stopped by PATCH with a body', async (t) => {
  const server = await ScriptedWorkspace.start(t, (request) =>
    request.method === 'PATCH' ? { body: {} } : { body: instance('warehouse', 'STOPPED') },
  )
  const workspace = await connectTo(t, server.host)
  const found = await workspace.findDatabase(
    { kind: 'provisioned', instance: 'warehouse' },
    neverAborted,
  )
  await workspace.startDatabase(found, neverAborted)
  await workspace.stopDatabase(found, neverAborted)
  assert.deepEqual(
    server.requests.slice(1).map(({ line, body }) => [line, JSON.parse(body)]),
    [
      [
        'PATCH /api/2.0/database/instances/warehouse?update_mask=stopped',
        { name: 'warehouse', stopped: false },
      ],
      [
        'PATCH /api/2.0/database/instances/warehouse?update_mask=stopped',
        { name: 'warehouse', stopped: true },
      ],
    ],
  )
})
