/** The roles of a database, as doctor wants to know them. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { LakebaseDatabase } from '../src/databricks/lakebase/workspace.js'
import { connectTo, neverAborted, routes, ScriptedWorkspace } from './support/scripted-workspace.js'

const database = (kind: LakebaseDatabase['kind'], name: string): LakebaseDatabase => ({
  kind,
  name,
  uid: undefined,
  readWriteHost: undefined,
  readOnlyHost: undefined,
  state: 'available',
  apiState: 'X',
  branchCreatedAt: undefined,
})

test('roles of both kinds tell how they log in', async (t) => {
  const server = await ScriptedWorkspace.start(
    t,
    routes({
      'GET /api/2.0/database/instances/i/roles': {
        body: {
          database_instance_roles: [
            { name: 'ada@example.com', identity_type: 'USER' },
            { name: 'native', identity_type: 'PG_ONLY' },
          ],
        },
      },
      'GET /api/2.0/postgres/projects/p/branches/b/roles': {
        body: {
          roles: [
            {
              name: 'projects/p/branches/b/roles/r1',
              status: {
                postgres_role: 'ada@example.com',
                auth_method: 'LAKEBASE_OAUTH_V1',
                identity_type: 'USER',
              },
            },
            {
              name: 'projects/p/branches/b/roles/r2',
              spec: { auth_method: 'PG_PASSWORD_SCRAM_SHA_256' },
            },
            { name: 'projects/p/branches/b/roles/r3', status: { auth_method: 'NO_LOGIN' } },
          ],
        },
      },
    }),
  )
  const workspace = await connectTo(t, server.host)
  assert.deepEqual(await workspace.listRoles(database('provisioned', 'i'), neverAborted), [
    { name: 'ada@example.com', login: 'token' },
    { name: 'native', login: 'password' },
  ])
  const name = 'projects/p/branches/b/endpoints/e'
  assert.deepEqual(await workspace.listRoles(database('autoscaling', name), neverAborted), [
    { name: 'ada@example.com', login: 'token' },
    { name: 'r2', login: 'password' },
    { name: 'r3', login: 'none' },
  ])
})

test('roles that we may not list are unknown, which is not an error', async (t) => {
  const server = await ScriptedWorkspace.start(t, () => ({ status: 403, body: { message: 'no' } }))
  const workspace = await connectTo(t, server.host)
  assert.equal(await workspace.listRoles(database('provisioned', 'i'), neverAborted), undefined)
})
