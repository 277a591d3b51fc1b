/** Synced tables as the two APIs have them: one answers at once, the other with an operation. */

import { randomUUID } from 'node:crypto'

import {
  type ApiContext,
  ApiError,
  type ApiRoute,
  badRequest,
  notFound,
  text,
  timestamp,
} from './api-route.js'
import { type SyncedTable, SyncedTables, syncStateOf } from './synced-tables.js'

export function syncedTableRoutes(context: ApiContext): ApiRoute[] {
  const tables = new SyncedTables()
  return [...databaseRoutes(tables, context), ...postgresRoutes(tables, context)]
}

/** A catalog that is registered with an instance: instance and database follow from it. */
const REGISTERED_CATALOG = {
  name: 'lakebase',
  instance: 'demo-instance',
  database: 'databricks_postgres',
}

function databaseRoutes(tables: SyncedTables, context: ApiContext): ApiRoute[] {
  const { inventory, behaviour, clock } = context
  const api = 'database'
  const one = /^\/api\/2\.0\/database\/synced_tables\/([^/]+)$/
  const notImplemented = () => {
    throw new ApiError(501, 'NOT_IMPLEMENTED', 'This API is not implemented.')
  }
  return [
    {
      api: 'synced-tables',
      method: 'POST',
      path: /^\/api\/2\.0\/database\/synced_tables$/,
      handle({ body }) {
        const name = text(body.name) ?? ''
        const place = placeOf(name, body)
        if (!inventory.instances.some((each) => each.name === place.instance)) {
          throw notFound(`Database instance '${place.instance}' not found.`)
        }
        const spec = objectOf(body.spec)
        const stepMs = behaviour.transitionMs
        const table = tables.create({ name, api, spec, now: clock.now(), stepMs })
        return { body: describeProvisioned(table, context, body) }
      },
    },
    {
      api: 'synced-table',
      method: 'GET',
      path: one,
      handle: ({ path }) => ({ body: describeProvisioned(tables.get(path[0]!, api), context) }),
    },
    {
      api: 'synced-table',
      method: 'DELETE',
      path: one,
      handle({ path }) {
        tables.delete(path[0]!, api)
        return { body: {} }
      },
    },
    { api: 'synced-table', method: 'PATCH', path: one, handle: notImplemented },
    {
      api: 'synced-tables',
      method: 'GET',
      path: /^\/api\/2\.0\/database\/instances\/([^/]+)\/synced_tables$/,
      handle: notImplemented,
    },
  ]
}

function placeOf(
  name: string,
  body: Readonly<Record<string, unknown>>,
): { instance: string; database: string } {
  const instance = text(body.database_instance_name)
  const database = text(body.logical_database_name)
  if (name.startsWith(`${REGISTERED_CATALOG.name}.`)) {
    const { instance: itsInstance, database: itsDatabase } = REGISTERED_CATALOG
    if ((instance ?? itsInstance) !== itsInstance || (database ?? itsDatabase) !== itsDatabase) {
      throw badRequest('instance and database must match those of the registered catalog')
    }
    return { instance: itsInstance, database: itsDatabase }
  }
  if (instance === undefined || database === undefined) {
    throw badRequest(
      'database_instance_name and logical_database_name are required for a standard catalog',
    )
  }
  return { instance, database }
}

function describeProvisioned(
  table: SyncedTable,
  { clock, behaviour }: ApiContext,
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
      ...(detailedState.includes('ONLINE') && { last_sync: lastSync(table, behaviour) }),
    },
  }
}

function lastSync(table: SyncedTable, behaviour: ApiContext['behaviour']): object {
  return {
    sync_start_timestamp: timestamp(table.createdAt + 2 * table.stepMs, behaviour),
    sync_end_timestamp: timestamp(table.createdAt + 3 * table.stepMs, behaviour),
    delta_table_sync_info: { delta_commit_version: '7' },
  }
}

function postgresRoutes(tables: SyncedTables, context: ApiContext): ApiRoute[] {
  const { inventory, behaviour, clock } = context
  const operations = new Map<string, SyncedTable>()
  const api = 'postgres'
  const one = /^\/api\/2\.0\/postgres\/synced_tables\/([^/]+)$/
  return [
    {
      api: 'synced-tables',
      method: 'POST',
      path: /^\/api\/2\.0\/postgres\/synced_tables$/,
      handle({ query, body }) {
        const name = query.get('synced_table_id') ?? ''
        const spec = objectOf(body.spec)
        const branches = inventory.projects.flatMap((project) => project.branches)
        if (!branches.some((branch) => branch.name === spec.branch)) {
          throw notFound('branch id not found')
        }
        if (text(spec.postgres_database) === undefined) {
          throw badRequest('spec.postgres_database is required')
        }
        const stepMs = behaviour.transitionMs
        const table = tables.create({ name, api, spec, now: clock.now(), stepMs })
        const operation = `synced_tables/${name}/operations/${randomUUID()}`
        operations.set(operation, table)
        return { body: { name: operation, metadata: {} } }
      },
    },
    {
      api: 'operation',
      method: 'GET',
      path: /^\/api\/2\.0\/postgres\/(.+\/operations\/[^/]+)$/,
      handle({ path }) {
        const table = operations.get(path[0]!)
        if (table === undefined) throw notFound('operation id not found')
        // The operation is the table's creation: what follows is told by the table.
        const done = clock.now() - table.createdAt >= table.stepMs
        const response = describeAutoscaling(table, context)
        return { body: { name: path[0], metadata: {}, ...(done && { done, response }) } }
      },
    },
    {
      api: 'synced-table',
      method: 'GET',
      path: one,
      handle: ({ path }) => ({ body: describeAutoscaling(tables.get(path[0]!, api), context) }),
    },
    {
      api: 'synced-table',
      method: 'DELETE',
      path: one,
      handle({ path }) {
        tables.delete(path[0]!, api)
        const name = `synced_tables/${path[0]}/operations/${randomUUID()}`
        return { body: { name, done: true, response: {} } }
      },
    },
  ]
}

function describeAutoscaling(table: SyncedTable, { clock, behaviour }: ApiContext): object {
  const { detailedState, message, isOver } = syncStateOf(table, clock.now())
  return {
    name: `synced_tables/${table.name}`,
    create_time: timestamp(table.createdAt, behaviour),
    spec: table.spec,
    status: {
      detailed_state: detailedState,
      message,
      pipeline_id: table.pipelineId,
      unity_catalog_provisioning_state: isOver ? 'ACTIVE' : 'PROVISIONING',
      ...(detailedState.includes('ONLINE') && { last_sync: lastSync(table, behaviour) }),
    },
  }
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>
  }
  throw badRequest('spec is required')
}
