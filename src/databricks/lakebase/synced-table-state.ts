/** What both APIs say of a synced table, brought to one form. */

import { z } from 'zod'

import type { LakebaseDatabase } from './workspace.js'

export type SyncedTableState = 'provisioning' | 'online' | 'offline' | 'failed'

export interface SyncedTable {
  /** `catalog.schema.table`. */
  readonly name: string
  readonly kind: LakebaseDatabase['kind']
  readonly state: SyncedTableState
  /** The API's own word, one spelling for both APIs. */
  readonly apiState: string
  readonly message: string | undefined
  readonly source: string | undefined
  /** `SNAPSHOT`, `TRIGGERED`, `CONTINUOUS`. */
  readonly policy: string | undefined
  readonly pipelineId: string | undefined
  /** As the API wrote it. */
  readonly lastSyncTime: string | undefined
}

const Text = z.string().nullish()

const Status = z
  .object({
    detailed_state: Text,
    message: Text,
    pipeline_id: Text,
    last_sync_time: Text,
    last_sync: z.object({ sync_end_timestamp: Text }).nullish(),
    unity_catalog_provisioning_state: Text,
  })
  .nullish()

/** Provisioned keeps the status under another name, and part of it beside. */
export const SyncedTableReply = z.object({
  name: Text,
  spec: z.object({ source_table_full_name: Text, scheduling_policy: Text, branch: Text }).nullish(),
  status: Status,
  data_synchronization_status: Status,
  unity_catalog_provisioning_state: Text,
})

/** Until a state is told, the table counts as being provisioned. */
export function normalize(
  reply: z.infer<typeof SyncedTableReply>,
  name: string,
  kind: LakebaseDatabase['kind'],
): SyncedTable {
  const status = reply.status ?? reply.data_synchronization_status
  const catalogState =
    reply.unity_catalog_provisioning_state ?? status?.unity_catalog_provisioning_state
  // The Provisioned API misspells this one.
  const apiState =
    status?.detailed_state?.replace('SYNCED_TABLED_', 'SYNCED_TABLE_') ?? catalogState ?? 'UNKNOWN'
  return {
    name: (reply.name ?? name).replace(/^synced_tables\//, ''),
    kind,
    state: catalogState === 'FAILED' ? 'failed' : stateOf(apiState),
    apiState,
    message: status?.message ?? undefined,
    source: reply.spec?.source_table_full_name ?? undefined,
    policy: reply.spec?.scheduling_policy ?? undefined,
    pipelineId: status?.pipeline_id ?? undefined,
    lastSyncTime: status?.last_sync_time ?? status?.last_sync?.sync_end_timestamp ?? undefined,
  }
}

function stateOf(apiState: string): SyncedTableState {
  if (apiState.endsWith('_FAILED')) return 'failed'
  if (apiState.startsWith('SYNCED_TABLE_ONLINE')) return 'online'
  if (apiState.startsWith('SYNCED_TABLE_OFFLINE')) return 'offline'
  return 'provisioning'
}
