/**
 * Synced tables: Delta tables of Unity Catalog kept up to date in a Lakebase (reverse ETL), in both
 * APIs. What can be known to be wrong is said before the call is made.
 */

import { z } from 'zod'
import type { Clock } from '../../core/clock.js'
import { pause } from '../../core/deadline.js'
import { ProxyError } from '../../core/errors.js'
import { plainText } from '../../core/plain-text.js'
import { ApiError } from './api-error.js'
import { branchNameOf, POSTGRES } from './autoscaling.js'
import { apiPath, type WorkspaceClient } from './client.js'
import { listAll } from './pages.js'
import {
  checkArguments,
  checkChangeDataFeed,
  checkName,
  type SyncedTableRequest,
} from './synced-table-checks.js'
import { normalize, type SyncedTable, SyncedTableReply } from './synced-table-state.js'
import type { LakebaseDatabase } from './workspace.js'

const PROVISIONED = '/api/2.0/database/synced_tables'
const AUTOSCALING = `${POSTGRES}/synced_tables`
const MIN_POLL_MS = 2_000
const MAX_POLL_MS = 10_000
// A table may be offline for a moment before it is online. A table that stays offline has failed.
const OFFLINE_PATIENCE_MS = 60_000

/** A table just asked for: on Autoscaling, `operation` tells of its creation. */
export interface CreatedSyncedTable {
  readonly table: SyncedTable
  readonly operation: string | undefined
}

/** Returns once the API has accepted; follow it with `waitForSyncedTable`. */
export async function createSyncedTable(
  client: WorkspaceClient,
  database: LakebaseDatabase,
  request: SyncedTableRequest,
): Promise<CreatedSyncedTable> {
  checkArguments(request)
  await checkChangeDataFeed(client, request)
  const what = `create synced table ${request.name}`
  // A repeat after a lost reply would only be told that the table exists already.
  const call = { method: 'POST', what, idempotent: false, kind: 'target' } as const
  if (database.kind === 'provisioned') {
    const value = await client.request({
      ...call,
      path: PROVISIONED,
      body: {
        name: request.name,
        database_instance_name: database.name,
        logical_database_name: request.databaseName,
        spec: specOf(request),
      },
      schema: SyncedTableReply,
    })
    return { table: normalize(value, request.name, 'provisioned'), operation: undefined }
  }
  const value = await client.request({
    ...call,
    path: AUTOSCALING,
    query: { synced_table_id: request.name },
    body: {
      spec: {
        branch: branchNameOf(database.name),
        postgres_database: request.databaseName,
        ...specOf(request),
      },
    },
    schema: Operation,
  })
  failIfRefused(value, what)
  const reply = SyncedTableReply.safeParse(value.response ?? {})
  return {
    table: normalize(reply.data ?? {}, request.name, 'autoscaling'),
    operation: value.done === true ? undefined : (value.name ?? undefined),
  }
}

/** Looks in both APIs. Errors: `target` when neither has it. */
export async function getSyncedTable(client: WorkspaceClient, name: string): Promise<SyncedTable> {
  checkName(name, 'synced table')
  return inEitherApi(name, async (kind) => {
    const value = await client.request({
      path: pathOf(kind, name),
      schema: SyncedTableReply,
      what: `look up synced table ${name}`,
      kind: 'target',
    })
    return normalize(value, name, kind)
  })
}

/** Removes the table from Unity Catalog; with `purgeData` also from Postgres, where the API can. */
export async function deleteSyncedTable(
  client: WorkspaceClient,
  name: string,
  { purgeData = false }: { readonly purgeData?: boolean } = {},
): Promise<void> {
  checkName(name, 'synced table')
  await inEitherApi(name, async (kind) => {
    const value = await client.request({
      method: 'DELETE',
      path: pathOf(kind, name),
      query: kind === 'provisioned' && purgeData ? { purge_data: 'true' } : {},
      schema: Operation,
      what: `delete synced table ${name}`,
      kind: 'target',
    })
    failIfRefused(value, `delete synced table ${name}`)
  })
}

/** Errors: `target` where the API cannot list them (Provisioned answers 501). */
export async function listSyncedTables(
  client: WorkspaceClient,
  database: LakebaseDatabase,
): Promise<SyncedTable[]> {
  const { kind, name } = database
  const path =
    kind === 'provisioned'
      ? apiPath('/api/2.0/database/instances', name, 'synced_tables')
      : AUTOSCALING
  const what = `list the synced tables of "${name}"`
  try {
    const item = SyncedTableReply
    const replies = await listAll(client, { path, field: 'synced_tables', item, what })
    const here = kind === 'autoscaling' ? branchNameOf(name) : undefined
    return replies
      .filter(({ spec }) => !spec?.branch || here === undefined || spec.branch === here)
      .map((reply) => normalize(reply, reply.name ?? '', kind))
  } catch (error) {
    if (!(error instanceof ApiError) || ![400, 404, 405, 501].includes(error.status)) throw error
    throw new ProxyError('target', `the API of ${client.host} cannot ${what}`, {
      cause: error,
      hint: 'Look at one by its name: lakebase-proxy synced-tables show CATALOG.SCHEMA.TABLE',
    })
  }
}

/**
 * Follows a table until it is online, telling each state once. Errors: `target` with the API's own
 * words when it failed.
 */
export async function waitForSyncedTable(
  client: WorkspaceClient,
  created: CreatedSyncedTable,
  options: {
    readonly clock: Clock
    readonly onState: (table: SyncedTable) => void
  },
): Promise<SyncedTable> {
  const { clock, onState } = options
  let { table, operation } = created
  let notOfflineAt = clock.now()
  onState(table)
  for (let pollMs = MIN_POLL_MS; ; pollMs = Math.min(pollMs * 1.5, MAX_POLL_MS)) {
    if (table.state === 'online') return table
    if (table.state !== 'offline') notOfflineAt = clock.now()
    const staysOffline = clock.now() - notOfflineAt > OFFLINE_PATIENCE_MS
    if (table.state === 'failed' || staysOffline) {
      const what = staysOffline ? 'is offline' : 'failed'
      throw new ProxyError('target', `synced table ${table.name} ${what}`, {
        detail: [table.apiState, table.message].filter((text) => text !== undefined).join(': '),
        hint: 'Look at its pipeline in the workspace; delete the table before creating it again.',
      })
    }
    await pause(clock, pollMs, client.signal)
    if (operation !== undefined && (await isDone(client, operation, table.name))) {
      operation = undefined
    }
    const next = await getSyncedTable(client, table.name).catch((error: unknown) => {
      // Until its creation is done, the table need not be there.
      if (operation !== undefined && error instanceof ProxyError && error.kind === 'target') {
        return table
      }
      throw error
    })
    if (next.apiState !== table.apiState) onState(next)
    table = next
  }
}

function specOf(request: SyncedTableRequest): Record<string, unknown> {
  const [catalog, schema] = request.name.split('.')
  return {
    source_table_full_name: request.source,
    primary_key_columns: request.primaryKey,
    timeseries_key: request.timeseriesKey,
    scheduling_policy: request.policy.toUpperCase(),
    create_database_objects_if_missing: true,
    ...(request.existingPipelineId === undefined
      ? {
          new_pipeline_spec: {
            storage_catalog: request.storageCatalog ?? catalog,
            storage_schema: request.storageSchema ?? schema,
          },
        }
      : { existing_pipeline_id: request.existingPipelineId }),
  }
}

const Operation = z.object({
  name: z.string().nullish(),
  done: z.boolean().nullish(),
  error: z.object({ message: z.string().nullish() }).nullish(),
  response: z.unknown().optional(),
})

function failIfRefused({ error }: z.infer<typeof Operation>, what: string): void {
  if (error === undefined || error === null) return
  throw new ProxyError(
    'target',
    `could not ${what}: ${plainText(error.message ?? 'no reason given')}`,
  )
}

async function isDone(client: WorkspaceClient, operation: string, name: string): Promise<boolean> {
  const what = `create synced table ${name}`
  const path = apiPath(POSTGRES, operation)
  const value = await client.request({ path, schema: Operation, what, kind: 'target' })
  failIfRefused(value, what)
  return value.done === true
}

function pathOf(kind: LakebaseDatabase['kind'], name: string): string {
  return apiPath(kind === 'provisioned' ? PROVISIONED : AUTOSCALING, name)
}

/** Autoscaling first. A product that is switched off refuses in many ways. */
async function inEitherApi<T>(
  name: string,
  attempt: (kind: LakebaseDatabase['kind']) => Promise<T>,
): Promise<T> {
  let first: ApiError | undefined
  for (const kind of ['autoscaling', 'provisioned'] as const) {
    try {
      return await attempt(kind)
    } catch (error) {
      if (!(error instanceof ApiError) || ![400, 403, 404, 501].includes(error.status)) throw error
      if (first === undefined || first.status === 404) first = error
    }
  }
  if (first !== undefined && first.status !== 404) throw first
  throw new ProxyError('target', `synced table ${name} does not exist`, {
    cause: first,
    hint: 'Its name in Unity Catalog has three parts: CATALOG.SCHEMA.TABLE.',
  })
}
