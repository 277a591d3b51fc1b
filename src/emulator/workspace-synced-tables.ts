/** Synced tables as the two APIs have them: one answers at once, the other with an operation. */

import { ApiError, badRequest, notFound } from './api-error.js'
import {
  type ApiContext,
  type ApiRoute,
  beginChange,
  objectOf,
  route,
  text,
  timestamp,
} from './api-route.js'
import { type SyncedTable, SyncedTables, syncStateOf } from './synced-tables.js'

export function syncedTableRoutes(context: ApiContext): ApiRoute[] {
  const tables = new SyncedTables()
  return [...databaseRoutes(tables, context), ...postgresRoutes(tables, context)]
}

function databaseRoutes(tables: SyncedTables, context: ApiContext): ApiRoute[] {
  const { inventory, behaviour, clock } = context
  const api = 'database'
  const one = '/api/2.0/database/synced_tables/(*)'
  const notImplemented = () => {
    throw new ApiError(501, 'NOT_IMPLEMENTED', 'This API is not implemented.')
  }
  return [
    route('POST /api/2.0/database/synced_tables', ({ body }) => {
      const name = text(body.name) ?? ''
      const instance = text(body.database_instance_name)
      if (instance === undefined || text(body.logical_database_name) === undefined) {
        throw badRequest(
          'database_instance_name and logical_database_name are required for a standard catalog',
        )
      }
      if (!inventory.instances.some((each) => each.name === instance)) {
        throw notFound(`Database instance '${instance}' not found.`)
      }
      const spec = objectOf(body.spec)
      const stepMs = behaviour.transitionMs
      const table = tables.create({ name, api, spec, createdAt: clock.now(), stepMs })
      return describeProvisioned(table, context, body)
    }),
    route(`GET ${one}`, ({ path }) => describeProvisioned(tables.get(path[0]!, api), context)),
    route(`DELETE ${one}`, ({ path }) => {
      tables.delete(path[0]!, api)
      return {}
    }),
    route(`PATCH ${one}`, notImplemented),
    route('GET /api/2.0/database/instances/(*)/synced_tables', notImplemented),
  ]
}

function describeProvisioned(
  table: SyncedTable,
  { clock }: ApiContext,
  asked: Readonly<Record<string, unknown>> = {},
): object {
  const { detailedState, message, isOver } = syncStateOf(table, clock.now())
  return {
    ...asked,
    name: table.name,
    spec: table.spec,
    unity_catalog_provisioning_state: isOver ? 'ACTIVE' : 'PROVISIONING',
    data_synchronization_status: {
      detailed_state: detailedState,
      message,
      pipeline_id: table.pipelineId,
      ...(detailedState.includes('ONLINE') && { last_sync: lastSync(table) }),
    },
  }
}

function lastSync(table: SyncedTable): object {
  return {
    sync_start_timestamp: timestamp(table.createdAt + 2 * table.stepMs),
    sync_end_timestamp: timestamp(table.createdAt + 3 * table.stepMs),
    delta_table_sync_info: { delta_commit_version: '7' },
  }
}

function postgresRoutes(tables: SyncedTables, context: ApiContext): ApiRoute[] {
  const { inventory, behaviour, clock, operations } = context
  const api = 'postgres'
  const one = '/api/2.0/postgres/synced_tables/(*)'
  return [
    route('POST /api/2.0/postgres/synced_tables', ({ query, body }) => {
      const name = query.get('synced_table_id') ?? ''
      const spec = objectOf(body.spec)
      const known = inventory.projects.flatMap((project) => context.branches.present(project))
      if (!known.some((branch) => branch.name === spec.branch)) {
        throw notFound('branch id not found')
      }
      if (text(spec.postgres_database) === undefined) {
        throw badRequest('spec.postgres_database is required')
      }
      const stepMs = behaviour.transitionMs
      const table = tables.create({ name, api, spec, createdAt: clock.now(), stepMs })
      // The operation is the table's creation, the first step: the table tells what follows.
      const described = (): object => describeAutoscaling(table, context)
      return beginChange(context, `synced_tables/${name}`, described)
    }),
    route(`GET ${one}`, ({ path }) => describeAutoscaling(tables.get(path[0]!, api), context)),
    route(`DELETE ${one}`, ({ path }) => {
      tables.delete(path[0]!, api)
      return operations.begin(`synced_tables/${path[0]}`, () => ({ is: 'done', response: {} }))
    }),
  ]
}

function describeAutoscaling(table: SyncedTable, { clock }: ApiContext): object {
  const { detailedState, message, isOver } = syncStateOf(table, clock.now())
  return {
    name: `synced_tables/${table.name}`,
    create_time: timestamp(table.createdAt),
    spec: table.spec,
    status: {
      detailed_state: detailedState,
      message,
      pipeline_id: table.pipelineId,
      unity_catalog_provisioning_state: isOver ? 'ACTIVE' : 'PROVISIONING',
      ...(detailedState.includes('ONLINE') && { last_sync: lastSync(table) }),
    },
  }
}
