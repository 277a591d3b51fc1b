/** Why a target cannot be connected to, in the words of its state, and what to type about it. */

import type { TargetSettings } from '../config/resolve/settings.js'
import { ProxyError } from '../core/errors.js'
import type { LakebaseDatabase } from '../databricks/lakebase/workspace.js'

/** The error for a client; undefined when the state allows connections. */
export function refusalByState(
  database: LakebaseDatabase,
  target: Pick<TargetSettings, 'autoStart'>,
): ProxyError | undefined {
  const what = database.kind === 'provisioned' ? 'database instance' : 'endpoint'
  const refused = (how: string, hint: string): ProxyError =>
    new ProxyError('stopped', `${what} "${database.name}" is ${how}`, {
      detail: `The workspace reports the state ${database.apiState}.`,
      hint,
    })
  switch (database.state) {
    case 'available':
    case 'idle':
    case 'starting':
      return undefined
    case 'stopped':
      return refused(
        'stopped',
        target.autoStart
          ? 'It starts when a client connects; the client waits for it.'
          : `Start it with: lakebase-proxy instances start ${database.name} (or let clients start it with --auto-start).`,
      )
    case 'disabled':
      return refused(
        'disabled',
        'A disabled endpoint is not enabled by a connection: enable it in the workspace.',
      )
    case 'deleting':
      return refused('being deleted', 'Choose another target: lakebase-proxy instances list.')
  }
}

/**
 * A disabled endpoint, or an instance that is being deleted, never becomes available. Errors: kind
 * `stopped`.
 */
export function checkStartable(database: LakebaseDatabase): void {
  if (database.state === 'stopped') return
  const refusal = refusalByState(database, { autoStart: false })
  if (refusal !== undefined) throw refusal
}

const YOUNG_BRANCH_MS = 5 * 60_000

/** Whether it is so new that its roles and access rules may not be in force everywhere. */
export function isYoung(database: LakebaseDatabase, now: number): boolean {
  return now - (database.branchCreatedAt ?? Number.NEGATIVE_INFINITY) < YOUNG_BRANCH_MS
}

/** Whether it takes connections, but may need a while for the first. */
export function takesTime(database: LakebaseDatabase, now: number): boolean {
  return database.state === 'idle' || database.state === 'starting' || isYoung(database, now)
}
