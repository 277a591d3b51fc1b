/**
 * Synced tables (reverse ETL) of the emulated workspace: what may be asked for, and the states a
 * table goes through, each for a while, until it is online or has failed. No row is ever copied.
 */

import { randomUUID } from 'node:crypto'

import { ApiError, badRequest, notFound } from './api-error.js'
import { text } from './api-route.js'

export type SchedulingPolicy = 'SNAPSHOT' | 'TRIGGERED' | 'CONTINUOUS'

export interface SyncedTable {
  /** `catalog.schema.table` */
  readonly name: string
  readonly api: 'database' | 'postgres'
  /** As it was asked for. */
  readonly spec: Readonly<Record<string, unknown>>
  readonly policy: SchedulingPolicy
  readonly source: SourceTable
  readonly pipelineId: string
  readonly createdAt: number
  /** How long each state on the way lasts. */
  readonly stepMs: number
}

/** A Delta table of the workspace. */
export interface SourceTable {
  readonly name: string
  readonly columns: readonly string[]
  readonly changeDataFeed: boolean
  /** How its sync ends. */
  readonly outcome: 'online' | 'failed' | 'offline'
}

const sourceTables: readonly SourceTable[] = [
  source('main.sales.orders', { changeDataFeed: true }),
  // README's example.
  source('main.shop.orders', { columns: ['order_id', 'at', 'total'] }),
  source('main.sales.customers', { changeDataFeed: false }),
  source('main.sales.broken', { changeDataFeed: true, outcome: 'failed' }),
  source('main.sales.paused', { changeDataFeed: true, outcome: 'offline' }),
]

function source(name: string, rest: Partial<SourceTable>): SourceTable {
  return { name, columns: ['id', 'at', 'name'], changeDataFeed: true, outcome: 'online', ...rest }
}

/** The state's own words in `detailed_state`, with what is said about it. */
export interface SyncState {
  readonly detailedState: string
  readonly message: string
  readonly isOver: boolean
}

export function syncStateOf(table: SyncedTable, now: number): SyncState {
  const onTheWay = ['', '_PIPELINE_RESOURCES', '_INITIAL_SNAPSHOT']
  const step = Math.floor((now - table.createdAt) / table.stepMs)
  const suffix = onTheWay[step]
  if (suffix !== undefined) {
    const detailedState = `SYNCED_TABLE_PROVISIONING${suffix}`
    return { detailedState, message: 'Synced table is being created.', isOver: false }
  }
  switch (table.source.outcome) {
    case 'failed':
      return {
        detailedState: 'SYNCED_TABLE_OFFLINE_FAILED',
        message: `Pipeline ${table.pipelineId} failed: null value in primary key column "id".`,
        isOver: true,
      }
    case 'offline':
      return {
        // Misspelt in the Provisioned API, and only there.
        detailedState: table.api === 'database' ? 'SYNCED_TABLED_OFFLINE' : 'SYNCED_TABLE_OFFLINE',
        message: 'Synced table is offline.',
        isOver: true,
      }
    case 'online': {
      const continuous = table.policy === 'CONTINUOUS'
      const detailedState = `SYNCED_TABLE_ONLINE_${continuous ? 'CONTINUOUS_UPDATE' : 'NO_PENDING_UPDATE'}`
      return { detailedState, message: 'Synced table is online.', isOver: true }
    }
  }
}

type NewTable = Pick<SyncedTable, 'name' | 'api' | 'spec' | 'createdAt' | 'stepMs'>

export class SyncedTables {
  readonly #tables = new Map<string, SyncedTable>()

  /** Errors: ApiError, for all that the real API would refuse. */
  create({ name, api, spec, createdAt, stepMs }: NewTable): SyncedTable {
    if (!isThreePart(name)) throw badRequest(`'${name}' is not a three-part table name`)
    if (this.#tables.has(name)) {
      throw new ApiError(409, 'RESOURCE_ALREADY_EXISTS', `Synced table '${name}' already exists.`)
    }
    const found = this.#findSource(text(spec.source_table_full_name) ?? '')
    const policy = readPolicy(spec.scheduling_policy)
    checkKeys(spec.primary_key_columns, found)
    if (policy !== 'SNAPSHOT' && !found.changeDataFeed) {
      throw badRequest(
        `Change data feed is not enabled on '${found.name}', which ${policy} needs. Run: ALTER TABLE ${found.name} SET TBLPROPERTIES (delta.enableChangeDataFeed = true)`,
      )
    }
    const table: SyncedTable = {
      ...{ name, api, spec, policy, source: found, createdAt, stepMs },
      pipelineId: this.#pipeline(spec),
    }
    this.#tables.set(name, table)
    return table
  }

  get(name: string, api: SyncedTable['api']): SyncedTable {
    const table = this.#tables.get(name)
    if (table?.api !== api) throw notFound(`Synced table '${name}' does not exist.`)
    return table
  }

  delete(name: string, api: SyncedTable['api']): void {
    this.get(name, api)
    this.#tables.delete(name)
  }

  #findSource(name: string): SourceTable {
    if (!isThreePart(name)) throw badRequest(`'${name}' is not a three-part table name`)
    const found = sourceTables.find((each) => each.name === name)
    if (found === undefined) throw notFound(`Table '${name}' does not exist.`)
    return found
  }

  #pipeline(spec: Readonly<Record<string, unknown>>): string {
    const existing = text(spec.existing_pipeline_id)
    const isNew = spec.new_pipeline_spec !== undefined
    if (isNew === (existing !== undefined)) {
      throw badRequest('exactly one of new_pipeline_spec and existing_pipeline_id must be set')
    }
    if (existing === undefined) return randomUUID()
    const known = [...this.#tables.values()].some((table) => table.pipelineId === existing)
    if (!known) throw notFound(`Pipeline '${existing}' does not exist.`)
    return existing
  }
}

function isThreePart(name: string): boolean {
  return /^[^.]+\.[^.]+\.[^.]+$/.test(name)
}

function readPolicy(value: unknown): SchedulingPolicy {
  if (value === 'SNAPSHOT' || value === 'TRIGGERED' || value === 'CONTINUOUS') return value
  throw badRequest('scheduling_policy must be SNAPSHOT, TRIGGERED or CONTINUOUS')
}

function checkKeys(value: unknown, table: SourceTable): void {
  const keys = Array.isArray(value) ? (value as unknown[]) : []
  if (keys.length === 0) throw badRequest('primary_key_columns must not be empty')
  const unknown = keys.find((key) => !table.columns.includes(String(key)))
  if (unknown !== undefined) {
    throw badRequest(`Primary key column '${unknown}' is not a column of '${table.name}'.`)
  }
}
