/** `synced-tables`: Delta tables kept up to date in Postgres (reverse ETL), made and looked at. */

import { systemClock } from '../../core/clock.js'
import { ProxyError } from '../../core/errors.js'
import { shownJson } from '../../core/plain-text.js'
import type { SyncPolicy } from '../../databricks/lakebase/synced-table-checks.js'
import type { SyncedTable } from '../../databricks/lakebase/synced-table-state.js'
import {
  createSyncedTable,
  deleteSyncedTable,
  getSyncedTable,
  listSyncedTables,
  waitForSyncedTable,
} from '../../databricks/lakebase/synced-tables.js'
import type { Invocation } from '../invocation/command.js'
import { oneTarget } from '../invocation/one-target.js'
import { table, withSignIn, withWorkspace } from './with-workspace.js'

/** With `--wait`, shows each state until the table is online. Errors: when it fails. */
export async function createTable(invocation: Invocation): Promise<number> {
  const { options, operands, surroundings } = invocation
  const given = (name: string): string => {
    const value = options.get(name)
    if (value !== undefined) return value
    throw new ProxyError('config', `--${name} is missing`, {
      hint: 'See: lakebase-proxy synced-tables create --help',
    })
  }
  const request = {
    name: operands[0]!,
    source: given('source'),
    primaryKey: given('primary-key')
      .split(',')
      .map((column) => column.trim()),
    policy: given('policy') as SyncPolicy,
    timeseriesKey: options.get('timeseries-key'),
    existingPipelineId: options.get('pipeline'),
    storageCatalog: options.get('storage-catalog'),
    storageSchema: options.get('storage-schema'),
  }
  const { config, target } = await oneTarget(ofTarget(invocation))
  return withWorkspace(config, target, surroundings, async ({ workspace, signal }) => {
    const client = workspace.client(signal)
    const database = await workspace.findDatabase(target.target, signal)
    const whole = { ...request, databaseName: target.database }
    const created = await createSyncedTable(client, database, whole)
    if (!options.has('wait')) {
      surroundings.stdout.write(describe(created.table))
      surroundings.stderr.write(
        `It is being made. Follow it with: lakebase-proxy synced-tables show ${request.name}\n`,
      )
      return 0
    }
    const startedAt = systemClock.monotonic()
    const online = await waitForSyncedTable(client, created, {
      clock: systemClock,
      onState({ apiState, message }) {
        const seconds = Math.round((systemClock.monotonic() - startedAt) / 1000)
        const more = message === undefined ? '' : `, ${message}`
        surroundings.stderr.write(`${request.name}: ${apiState}, ${seconds} s${more}\n`)
      },
    })
    surroundings.stdout.write(describe(online))
    return 0
  })
}

export async function showTable(invocation: Invocation): Promise<number> {
  const { options, operands, surroundings } = invocation
  return withSignIn(invocation, async ({ workspace, signal }) => {
    const client = workspace.client(signal)
    const found = await getSyncedTable(client, operands[0]!)
    const text = options.has('json') ? `${shownJson(found)}\n` : describe(found)
    surroundings.stdout.write(text)
    return 0
  })
}

export async function listTables(invocation: Invocation): Promise<number> {
  const { options, surroundings } = invocation
  const { config, target } = await oneTarget(ofTarget(invocation))
  return withWorkspace(config, target, surroundings, async ({ workspace, signal }) => {
    const database = await workspace.findDatabase(target.target, signal)
    const tables = await listSyncedTables(workspace.client(signal), database)
    if (options.has('json')) {
      surroundings.stdout.write(`${shownJson(tables)}\n`)
    } else if (tables.length === 0) {
      surroundings.stdout.write(`There is no synced table in ${database.name}.\n`)
    } else {
      const rows = tables.map((each) => [
        each.name,
        each.policy ?? '-',
        each.apiState,
        each.source ?? '-',
      ])
      surroundings.stdout.write(table([['NAME', 'POLICY', 'STATE', 'SOURCE'], ...rows]))
    }
    return 0
  })
}

export async function deleteTable(invocation: Invocation): Promise<number> {
  const { options, operands, surroundings } = invocation
  return withSignIn(invocation, async ({ workspace, signal }) => {
    const client = workspace.client(signal)
    const purgeData = options.has('purge-data')
    await deleteSyncedTable(client, operands[0]!, { purgeData })
    surroundings.stderr.write(`${operands[0]} is deleted.\n`)
    return 0
  })
}

/** The operand is a table's name; the target is named by `--target`, or configured. */
function ofTarget({ options, loadConfig }: Invocation): Parameters<typeof oneTarget>[0] {
  const named = options.get('target')
  const targets = named === undefined ? [] : [named]
  return { operands: targets, loadConfig: (wanted) => loadConfig({ targets, ...wanted }) }
}

function describe(found: SyncedTable): string {
  const rows = [
    ['name', found.name],
    ['state', found.apiState],
    ['message', found.message ?? '-'],
    ['source', found.source ?? '-'],
    ['policy', found.policy ?? '-'],
    ['pipeline', found.pipelineId ?? '-'],
    ['last sync', found.lastSyncTime ?? '-'],
  ]
  return table(rows)
}
