/** What is wrong with the arguments of a new synced table, said before anything is created. */

import { z } from 'zod'

import { ProxyError } from '../../core/errors.js'
import { ApiError } from './api-error.js'
import { apiPath, type WorkspaceClient } from './client.js'

const SYNC_POLICIES = ['snapshot', 'triggered', 'continuous'] as const
export type SyncPolicy = (typeof SYNC_POLICIES)[number]

export interface SyncedTableRequest {
  /** `catalog.schema.table` of the synced table in Unity Catalog. */
  readonly name: string
  /** `catalog.schema.table` of the Delta table it follows. */
  readonly source: string
  readonly primaryKey: readonly string[]
  readonly policy: SyncPolicy
  /** The Postgres database it is kept in. */
  readonly databaseName: string
  /** The column that decides between rows with the same key: the highest value is kept. */
  readonly timeseriesKey?: string | undefined
  /** Without it a new pipeline is made. */
  readonly existingPipelineId?: string | undefined
  /** Where a new pipeline keeps its files; by default the catalog and schema of `name`. */
  readonly storageCatalog?: string | undefined
  readonly storageSchema?: string | undefined
}

/** All problems at once. Errors: kind `config`. */
export function checkArguments(request: SyncedTableRequest): void {
  const { name, source, primaryKey, policy, existingPipelineId } = request
  const problems: string[] = []
  if (!isThreePart(name)) problems.push(`"${name}" is not a three-part name (CATALOG.SCHEMA.TABLE)`)
  if (!isThreePart(source)) {
    problems.push(`source "${source}" is not a three-part name (CATALOG.SCHEMA.TABLE)`)
  }
  if (name === source) problems.push('a synced table cannot be its own source')
  if (primaryKey.length === 0 || primaryKey.some((column) => column.trim() === '')) {
    problems.push('the primary key needs at least one column (--primary-key id)')
  }
  const twice = primaryKey.find((column, at) => primaryKey.indexOf(column) !== at)
  if (twice !== undefined) problems.push(`primary key column "${twice}" is named twice`)
  if (!SYNC_POLICIES.includes(policy)) {
    problems.push(`policy "${policy}" is not one of ${SYNC_POLICIES.join(', ')}`)
  }
  const storage = request.storageCatalog ?? request.storageSchema
  if (existingPipelineId !== undefined && storage !== undefined) {
    problems.push('an existing pipeline has its storage already: leave out its catalog and schema')
  }
  if (problems.length === 0) return
  throw new ProxyError('config', `wrong arguments for a synced table: ${problems.join('; ')}`, {
    hint: 'See: lakebase-proxy synced-tables create --help',
  })
}

/** Errors: kind `config`, when `name` has not three parts. */
export function checkName(name: string, what: string): void {
  if (isThreePart(name)) return
  throw new ProxyError('config', `${what} "${name}" is not a three-part name`, {
    hint: 'Write it as CATALOG.SCHEMA.TABLE.',
  })
}

const SourceTable = z.object({
  data_source_format: z.string().nullish(),
  properties: z.record(z.string(), z.string()).nullish(),
})

/**
 * Triggered and continuous tables read the change data feed of their source. Where Unity Catalog
 * does not let us look, the API will say it itself.
 */
export async function checkChangeDataFeed(
  client: WorkspaceClient,
  request: Pick<SyncedTableRequest, 'source' | 'policy'>,
): Promise<void> {
  const { source, policy } = request
  if (policy === 'snapshot') return
  const table = await lookUpSource(client, source)
  if (table?.properties === undefined || table.properties === null) return
  if ((table.data_source_format ?? 'DELTA') !== 'DELTA') return
  if (table.properties['delta.enableChangeDataFeed'] === 'true') return
  throw new ProxyError(
    'config',
    `source ${source} has no change data feed, which ${policy} needs`,
    {
      hint: `Run in Databricks SQL: ALTER TABLE ${source} SET TBLPROPERTIES (delta.enableChangeDataFeed = true); or use --policy snapshot.`,
    },
  )
}

async function lookUpSource(
  client: WorkspaceClient,
  source: string,
): Promise<z.infer<typeof SourceTable> | undefined> {
  try {
    return await client.request({
      path: apiPath('/api/2.1/unity-catalog/tables', source),
      schema: SourceTable,
      what: `look up source table ${source}`,
    })
  } catch (error) {
    if (!(error instanceof ApiError) || error.status >= 500) throw error
    if (error.errorCode !== 'TABLE_DOES_NOT_EXIST') return undefined
    throw new ProxyError('target', `source table ${source} does not exist`, { cause: error })
  }
}

function isThreePart(name: string): boolean {
  return /^[^.\s/]+\.[^.\s/]+\.[^.\s/]+$/.test(name)
}
