/** Where a target lives: both kinds of Lakebase, parts of names, the other kind, the closest name. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { LakebaseDatabase } from '../src/databricks/lakebase/workspace.js'
import { recordedLog } from './support/recorded-log.js'
import {
  API,
  B,
  branch,
  E,
  endpoint,
  instance,
  shop,
  UID,
  warehouse,
} from './support/scripted-databases.js'
import { connectTo, neverAborted, routes, ScriptedWorkspace } from './support/scripted-workspace.js'

test('a Provisioned instance is one request away, and its name need not be in the reply', async (t) => {
  const { name: _, ...nameless } = instance('x') as { name: string }
  const server = await ScriptedWorkspace.start(
    t,
    routes({ 'GET /api/2.0/database/instances/my inst': { body: nameless } }),
  )
  const workspace = await connectTo(t, server.host)
  const found = await workspace.findDatabase(
    { kind: 'provisioned', instance: 'my inst' },
    neverAborted,
  )
  assert.deepEqual(found, {
    kind: 'provisioned',
    name: 'my inst',
    uid: UID,
    readWriteHost: `instance-${UID}.database.cloud.databricks.com`,
    readOnlyHost: undefined,
    state: 'available',
    apiState: 'AVAILABLE',
    branchCreatedAt: undefined,
  } satisfies LakebaseDatabase)
  assert.deepEqual(server.lines, ['GET /api/2.0/database/instances/my%20inst'])
  const { headers } = server.requests[0]!
  assert.equal(headers.authorization, 'Bearer dapi-secret')
  assert.equal(headers['user-agent'], 'lakebase-proxy/9.9.9')
})

for (const [apiState, state] of [
  ['AVAILABLE', 'available'],
  ['STARTING', 'starting'],
  ['UPDATING', 'starting'],
  ['FAILING_OVER', 'starting'],
  ['UPGRADING', 'starting'],
  ['STOPPED', 'stopped'],
  ['DELETING', 'deleting'],
  ['SOMETHING_NEW', 'available'],
] as const) {
  test(`an instance that is ${apiState} counts as ${state}`, async (t) => {
    const server = await ScriptedWorkspace.start(
      t,
      routes({ 'GET /api/2.0/database/instances/i': { body: instance('i', apiState) } }),
    )
    const workspace = await connectTo(t, server.host)
    const found = await workspace.findDatabase({ kind: 'provisioned', instance: 'i' }, neverAborted)
    assert.deepEqual([found.state, found.apiState], [state, apiState])
  })
}

for (const [status, state, apiState] of [
  [{ current_state: 'ACTIVE' }, 'available', 'ACTIVE'],
  [{ current_state: 'IDLE' }, 'idle', 'IDLE'],
  [{ current_state: 'INIT' }, 'starting', 'INIT'],
  [{ current_state: 'DEGRADED' }, 'available', 'DEGRADED'],
  [{ current_state: 'IDLE', disabled: true }, 'disabled', 'DISABLED'],
] as const) {
  test(`an endpoint with ${JSON.stringify(status)} counts as ${state}`, async (t) => {
    const server = await ScriptedWorkspace.start(
      t,
      routes({ ...shop, [`${API}/${E}`]: { body: endpoint(E, 'READ_WRITE', status) } }),
    )
    const workspace = await connectTo(t, server.host)
    const found = await workspace.findDatabase(path('shop', 'production', 'primary'), neverAborted)
    assert.deepEqual([found.state, found.apiState], [state, apiState])
  })
}

test('a whole path, and each part of it, lead to the same endpoint and never to a pooled host', async (t) => {
  const server = await ScriptedWorkspace.start(t, routes(shop))
  const workspace = await connectTo(t, server.host)
  for (const target of [
    path('shop'),
    path('shop', 'production'),
    path('shop', 'production', 'primary'),
  ]) {
    const found = await workspace.findDatabase(target, neverAborted)
    assert.equal(found.name, E)
    assert.equal(found.readWriteHost, 'primary.direct')
    assert.equal(found.branchCreatedAt, Date.parse('2026-01-02T03:04:05Z'))
    assert.doesNotMatch(JSON.stringify(found), /pooled/)
  }
})

test('of several branches the default one is taken, of several endpoints the read-write one', async (t) => {
  const server = await ScriptedWorkspace.start(
    t,
    routes({
      ...shop,
      [`${API}/projects/shop/branches`]: {
        body: { branches: [branch('projects/shop/branches/dev'), branch(B, true)] },
      },
      [`${API}/${B}/endpoints`]: {
        body: { endpoints: [endpoint(`${B}/endpoints/replica`, 'READ_ONLY'), endpoint(E)] },
      },
    }),
  )
  const workspace = await connectTo(t, server.host)
  assert.equal((await workspace.findDatabase(path('shop'), neverAborted)).name, E)
})

test('where no branch is the obvious one, the choices are listed', async (t) => {
  const server = await ScriptedWorkspace.start(
    t,
    routes({
      ...shop,
      [`${API}/projects/shop/branches`]: {
        body: {
          branches: [branch('projects/shop/branches/dev'), branch('projects/shop/branches/test')],
        },
      },
    }),
  )
  const workspace = await connectTo(t, server.host)
  await assert.rejects(workspace.findDatabase(path('shop'), neverAborted), {
    kind: 'target',
    hint: 'Name one of: projects/shop/branches/dev, projects/shop/branches/test.',
  })
})

test('a read-only endpoint has a read-only host and no other', async (t) => {
  const server = await ScriptedWorkspace.start(
    t,
    routes({ ...shop, [`${API}/${E}`]: { body: endpoint(E, 'READ_ONLY') } }),
  )
  const workspace = await connectTo(t, server.host)
  const found = await workspace.findDatabase(path('shop', 'production', 'primary'), neverAborted)
  assert.deepEqual([found.readWriteHost, found.readOnlyHost], [undefined, 'primary.direct'])
})

test('who may not see the branch may still use its endpoint', async (t) => {
  const server = await ScriptedWorkspace.start(
    t,
    routes({ ...shop, [`${API}/${B}`]: { status: 403, body: { message: 'no' } } }),
  )
  const workspace = await connectTo(t, server.host)
  const found = await workspace.findDatabase(path('shop', 'production', 'primary'), neverAborted)
  assert.deepEqual([found.name, found.branchCreatedAt], [E, undefined])
})

test('an instance name that only Autoscaling knows is found there, with a notice', async (t) => {
  const server = await ScriptedWorkspace.start(t, routes(shop))
  const log = recordedLog()
  const workspace = await connectTo(t, server.host, { log })
  const found = await workspace.findDatabase(
    { kind: 'provisioned', instance: 'shop' },
    neverAborted,
  )
  assert.equal(found.name, E)
  assert.deepEqual(
    log.lines.filter(({ level }) => level === 'warn').map(({ message }) => message),
    [`"shop" is not a Provisioned instance; using Autoscaling endpoint ${E}`],
  )
})

test('the name of an endpoint, given as an instance, is found too', async (t) => {
  const server = await ScriptedWorkspace.start(t, routes(shop))
  const workspace = await connectTo(t, server.host)
  for (const name of ['primary', 'ep-projects-shop-branches-production-endpoints-primary']) {
    const found = await workspace.findDatabase(
      { kind: 'provisioned', instance: name },
      neverAborted,
    )
    assert.equal(found.name, E)
  }
})

for (const [what, name] of [
  ['a branch', 'br-quiet-1'],
  ['a project', '99999999-2222-3333-4444-555555555555'],
  ['a project of that display name', 'My-Shop'],
] as const) {
  test(`the uid or display name that the pages show is found: ${what}`, async (t) => {
    const uid = '99999999-2222-3333-4444-555555555555'
    const project = { name: 'projects/shop', uid, status: { display_name: 'My-Shop' } }
    const shown = {
      ...shop,
      [`${API}/projects`]: { body: { projects: [{ name: 'projects/other' }, project] } },
      [`${API}/projects/other/branches`]: { body: {} },
      [`${API}/projects/shop/branches`]: {
        body: { branches: [{ ...branch(B, true), uid: 'br-quiet-1' }] },
      },
    }
    const server = await ScriptedWorkspace.start(t, routes(shown))
    const workspace = await connectTo(t, server.host)
    const found = await workspace.findDatabase(
      { kind: 'provisioned', instance: name },
      neverAborted,
    )
    assert.equal(found.name, E)
  })
}

test('a uid that fits nothing is answered with what there is', async (t) => {
  const server = await ScriptedWorkspace.start(t, routes(shop))
  const workspace = await connectTo(t, server.host)
  const target = { kind: 'provisioned', instance: 'br-gone-1234567' } as const
  await assert.rejects(workspace.findDatabase(target, neverAborted), {
    kind: 'target',
    hint: 'There is: projects/shop.',
  })
})

test('a project that is an instance is found there, with a notice', async (t) => {
  const server = await ScriptedWorkspace.start(t, routes(warehouse))
  const log = recordedLog()
  const workspace = await connectTo(t, server.host, { log })
  const found = await workspace.findDatabase(path('warehouse'), neverAborted)
  assert.deepEqual([found.kind, found.name], ['provisioned', 'warehouse'])
  assert.match(
    log.lines.find(({ level }) => level === 'warn')!.message,
    /not an Autoscaling project/,
  )
})

test('a misspelt name is answered with the closest of either kind', async (t) => {
  const server = await ScriptedWorkspace.start(t, routes({ ...shop, ...warehouse }))
  const workspace = await connectTo(t, server.host)
  await assert.rejects(
    workspace.findDatabase({ kind: 'provisioned', instance: 'warehose' }, neverAborted),
    { kind: 'target', hint: 'Did you mean warehouse?' },
  )
  await assert.rejects(workspace.findDatabase(path('shopp'), neverAborted), {
    kind: 'target',
    hint: 'Did you mean projects/shop?',
  })
  await assert.rejects(
    workspace.findDatabase({ kind: 'provisioned', instance: 'nothing-like-it' }, neverAborted),
    { kind: 'target', hint: 'There is: warehouse, projects/shop.' },
  )
})

test('a branch or an endpoint that does not exist is named', async (t) => {
  const server = await ScriptedWorkspace.start(t, routes(shop))
  const workspace = await connectTo(t, server.host)
  await assert.rejects(workspace.findDatabase(path('shop', 'dev'), neverAborted), {
    kind: 'target',
    message: 'branch projects/shop/branches/dev does not exist',
  })
  await assert.rejects(workspace.findDatabase(path('shop', 'production', 'x'), neverAborted), {
    kind: 'target',
    message: `endpoint ${B}/endpoints/x does not exist`,
  })
})

test('a host name leads to its instance by uid, and to its endpoint by search', async (t) => {
  const server = await ScriptedWorkspace.start(t, routes({ ...shop, ...warehouse }))
  const log = recordedLog()
  const workspace = await connectTo(t, server.host, { log })
  const find = (host: string) => workspace.findDatabase({ kind: 'host', host }, neverAborted)
  const byUid = await find(`instance-${UID}.database.cloud.databricks.com`)
  assert.equal(byUid.name, 'warehouse')
  assert.equal(server.requests.at(-1)!.query.get('uid'), UID)
  assert.equal((await find('PRIMARY.direct')).name, E)
  assert.equal(log.lines.filter(({ level }) => level === 'warn').length, 0)
  const pooled = await find('primary.pooled')
  assert.equal(pooled.readWriteHost, 'primary.direct')
  assert.equal(pooled.directHost, 'primary.direct')
  assert.match(
    log.lines.find(({ level }) => level === 'warn')!.message,
    /pooled host, which takes no tok/,
  )
  await assert.rejects(find('ep-none.database.us-east-1.cloud.databricks.com'), { kind: 'target' })
})

test('a host name with the uid of an instance in a stranger’s domain stands for the host that the workspace names', async (t) => {
  const server = await ScriptedWorkspace.start(t, routes(warehouse))
  const workspace = await connectTo(t, server.host)
  const find = (host: string) => workspace.findDatabase({ kind: 'host', host }, neverAborted)
  const found = await find(`instance-${UID}.database.stranger.example`)
  assert.equal(found.directHost, `instance-${UID}.database.cloud.databricks.com`)
  await assert.rejects(find(`instance-x${UID}.database.stranger.example`), {
    kind: 'target',
    message: `"warehouse" does not have the host instance-x${UID}.database.stranger.example`,
  })
})

test('an instance found by uid without a name gets it from the list', async (t) => {
  const { name: _, ...nameless } = instance('x') as { name: string }
  const server = await ScriptedWorkspace.start(
    t,
    routes({ ...warehouse, 'GET /api/2.0/database/instances:findByUid': { body: nameless } }),
  )
  const workspace = await connectTo(t, server.host)
  const host = `instance-${UID}.database.cloud.databricks.com`
  assert.equal(
    (await workspace.findDatabase({ kind: 'host', host }, neverAborted)).name,
    'warehouse',
  )
})

function path(project: string, branchName?: string, endpointName?: string) {
  return {
    kind: 'autoscaling',
    project,
    ...(branchName === undefined ? {} : { branch: branchName }),
    ...(endpointName === undefined ? {} : { endpoint: endpointName }),
  } as const
}
