/**
 * A Databricks workspace as the stages to the right need it: who we are there, where a target
 * lives, and a credential for it. Both kinds of Lakebase look the same from here on.
 */

import type { Target } from '../../config/schema/target-text.js'
import type { Secret } from '../../core/secret.js'

export type DatabaseState = 'available' | 'idle' | 'starting' | 'stopped' | 'disabled' | 'deleting'

/** An instance (Provisioned) or an endpoint (Autoscaling), normalised. */
export interface LakebaseDatabase {
  readonly kind: 'provisioned' | 'autoscaling'
  /** The instance name, or the whole path `projects/P/branches/B/endpoints/E`. */
  readonly name: string
  readonly uid: string | undefined
  /** Absent while the instance is created, and where there is none. Never a pooled host. */
  readonly readWriteHost: string | undefined
  readonly readOnlyHost: string | undefined
  /** For a target that names a pooled host: the one to dial in its place. */
  readonly directHost?: string | undefined
  readonly state: DatabaseState
  /** The API's own word for the state, as in its reply. */
  readonly apiState: string
  /** Epoch ms when the Autoscaling branch was created, where known. */
  readonly branchCreatedAt: number | undefined
}

export interface DatabaseCredential {
  readonly token: Secret
  /** Epoch ms by this machine's clock: the reply's life (expiry less its Date header) from now. */
  readonly expiresAt: number
}

export interface MintOptions {
  readonly ttlMs?: number | undefined
  readonly group?: string | undefined
}

/** Every call ends within its own budget, or when `signal` aborts. Errors are ProxyErrors. */
export interface Workspace {
  /** The role name of the signed-in identity: an e-mail, or a service principal's application id. */
  identity(signal: AbortSignal): Promise<string>
  /** Looks the target up now; nothing is cached here. */
  findDatabase(target: Target, signal: AbortSignal): Promise<LakebaseDatabase>
  mintCredential(
    database: LakebaseDatabase,
    options: MintOptions,
    signal: AbortSignal,
  ): Promise<DatabaseCredential>
  /** Asks for a stopped Provisioned instance to be started; returns once the API has accepted. */
  startDatabase(database: LakebaseDatabase, signal: AbortSignal): Promise<void>
  stopDatabase(database: LakebaseDatabase, signal: AbortSignal): Promise<void>
}
