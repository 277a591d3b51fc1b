/** What the API says of an instance, a branch and an endpoint, and the routes of a workspace with one of each. */

import type { ScriptedReply } from './scripted-workspace.js'

export const UID = '11111111-2222-3333-4444-555555555555'

export const instance = (name: string, state = 'AVAILABLE'): object => ({
  name,
  uid: UID,
  state,
  read_write_dns: `instance-${UID}.database.cloud.databricks.com`,
  effective_stopped: state === 'STOPPED',
})

export const branch = (name: string, isDefault = false): object => ({
  name,
  create_time: '2026-01-02T03:04:05Z',
  status: { ...(isDefault ? { default: true } : {}), current_state: 'READY' },
})

export const endpoint = (name: string, type = 'READ_WRITE', status: object = {}): object => ({
  name,
  uid: `ep-${name.split('/').join('-')}`,
  status: {
    current_state: 'ACTIVE',
    endpoint_type: `ENDPOINT_TYPE_${type}`,
    hosts: {
      host: `${name.split('/').at(-1)}.direct`,
      read_write_pooled_host: `${name.split('/').at(-1)}.pooled`,
    },
    ...status,
  },
})

export const API = 'GET /api/2.0/postgres'
export const B = 'projects/shop/branches/production'
export const E = `${B}/endpoints/primary`

export const shop: Record<string, ScriptedReply> = {
  [`${API}/projects`]: { body: { projects: [{ name: 'projects/shop' }] } },
  [`${API}/projects/shop/branches`]: { body: { branches: [branch(B, true)] } },
  [`${API}/${B}`]: { body: branch(B, true) },
  [`${API}/${B}/endpoints`]: { body: { endpoints: [endpoint(E)] } },
  [`${API}/${E}`]: { body: endpoint(E) },
}

export const warehouse: Record<string, ScriptedReply> = {
  'GET /api/2.0/database/instances/warehouse': { body: instance('warehouse') },
  'GET /api/2.0/database/instances:findByUid': { body: instance('warehouse') },
  'GET /api/2.0/database/instances': { body: { database_instances: [instance('warehouse')] } },
}
