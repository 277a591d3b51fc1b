/** The API of Lakebase Provisioned, `/api/2.0/database`, as far as a proxy and its commands ask it. */

import { ApiError, badRequest, notFound } from './api-error.js'
import { type ApiContext, type ApiRoute, page, route, text, timestamp } from './api-route.js'
import { changeState, type Identity, type Instance } from './inventory.js'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const INSTANCES = '/api/2.0/database/instances'

export function databaseRoutes(context: ApiContext): ApiRoute[] {
  const { inventory, behaviour, tokens, clock } = context
  const find = (name: string): Instance => {
    const found = inventory.instances.find((each) => each.name === name)
    if (found === undefined) throw notFound(`Database instance '${name}' not found.`)
    return found
  }
  const withRole = (): Identity[] => inventory.identities.filter((each) => each.hasRole)
  return [
    route(`GET ${INSTANCES}`, ({ query }) => {
      const { items, next } = page(inventory.instances, query)
      const instances = items.map((each) => ({ name: each.name, ...describe(each) }))
      return { ...(items.length > 0 && { database_instances: instances }), ...next }
    }),
    route(`GET ${INSTANCES}:findByUid`, ({ query }) => {
      const uid = query.get('uid') ?? ''
      const found = inventory.instances.find((each) => each.uid === uid)
      if (found === undefined) throw notFound(`Database instance with uid '${uid}' not found.`)
      return { name: found.name, ...describe(found) }
    }),
    // The real reply to a question by name may leave the name out.
    route(`GET ${INSTANCES}/(*)`, ({ path }) => describe(find(path[0]!))),
    route(`PATCH ${INSTANCES}/(*)`, ({ path, query, body }) => {
      const found = find(path[0]!)
      const mask = (query.get('update_mask') ?? '').split(',')
      if (!mask.includes('stopped') && !mask.includes('*')) {
        throw badRequest('update_mask must name a field that can be updated')
      }
      if (typeof body.stopped !== 'boolean') throw badRequest('stopped is not set')
      if (found.state === 'DELETING') {
        throw new ApiError(409, 'RESOURCE_CONFLICT', 'Instance is being deleted.')
      }
      const to = body.stopped ? 'STOPPED' : 'AVAILABLE'
      changeState(found, to, behaviour.transitionMs, clock)
      return describe(found)
    }),
    route(`GET ${INSTANCES}/(*)/roles`, ({ path, query }) => {
      find(path[0]!)
      const { items, next } = page(withRole(), query)
      return { database_instance_roles: items.map(describeRole), ...next }
    }),
    route(`GET ${INSTANCES}/(*)/roles/(*)`, ({ path }) => {
      find(path[0]!)
      const found = withRole().find((each) => each.userName === path[1])
      if (found === undefined) throw notFound(`Role '${path[1]}' not found.`)
      return describeRole(found)
    }),
    route('POST /api/2.0/database/credentials', ({ body, identity }) => {
      if (!UUID.test(text(body.request_id) ?? '')) throw badRequest('request_id must be a UUID')
      const names = Array.isArray(body.instance_names) ? (body.instance_names as unknown[]) : []
      if (names.length === 0) throw badRequest('instance_names must not be empty')
      for (const name of names) find(String(name))
      const token = tokens.mint({ use: 'database', identity, lifeMs: behaviour.tokenTtlMs })
      return { token: token.text, expiration_time: timestamp(token.expiresAt) }
    }),
  ]
}

function describeRole({ userName, kind }: Identity): object {
  return {
    name: userName,
    identity_type: kind === 'user' ? 'USER' : 'SERVICE_PRINCIPAL',
    membership_role: 'DATABRICKS_SUPERUSER',
  }
}

function describe(instance: Instance): object {
  const { uid, state } = instance
  return {
    uid,
    state,
    read_write_dns: instance.readWriteHost,
    ...(instance.readOnlyHost !== undefined && { read_only_dns: instance.readOnlyHost }),
    pg_version: 'PG_VERSION_16',
    capacity: 'CU_1',
    effective_capacity: 'CU_1',
    node_count: 1,
    effective_node_count: 1,
    retention_window_in_days: 7,
    effective_retention_window_in_days: 7,
    creator: 'ada@example.com',
    creation_time: timestamp(instance.createdAt),
    // Booleans that are false are left out; `stopped` is only ever written.
    ...(state === 'STOPPED' && { effective_stopped: true }),
    ...(instance.readOnlyHost !== undefined && { effective_enable_readable_secondaries: true }),
  }
}
