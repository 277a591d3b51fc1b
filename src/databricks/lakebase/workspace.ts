/** What a Databricks workspace says of its databases. Both kinds of Lakebase look the same from here on. */

import type { Secret } from '../../core/secret.js'

export type DatabaseState = 'available' | 'idle' | 'starting' | 'stopped' | 'disabled' | 'deleting'

/** An instance (Provisioned) or an endpoint (Autoscaling), normalised. */
export interface LakebaseDatabase {
  readonly kind: 'provisioned' | 'autoscaling'
  /** The instance name, or the whole path `projects/P/branches/B/endpoints/E`. */
  readonly name: string
  readonly uid: string | undefined
  /** Absent while the instance is created, and when it has no such host. Never a pooled host. */
  readonly readWriteHost: string | undefined
  readonly readOnlyHost: string | undefined
  /** For a target that names a host: the one that the workspace says is meant, never a pooled one. */
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

/** A branch as the workspace describes it. Times are epoch ms by the workspace's clock. */
export interface LakebaseBranch {
  /** `projects/P/branches/B` */
  readonly name: string
  /** Differs from that of a later branch with this name. Undefined: the workspace does not say. */
  readonly uid: string | undefined
  /** The API's own word, as in `READY`. */
  readonly state: string
  readonly isDefault: boolean
  readonly isProtected: boolean
  readonly createdAt: number | undefined
  /** Undefined: it stays until it is deleted. */
  readonly expiresAt: number | undefined
  /** Name of the branch that it was made from. */
  readonly source: string | undefined
}

/** A branch by its name; with a `uid`, only while it is still that one. */
export interface BranchRef {
  readonly name: string
  readonly uid?: string | undefined
}

export interface BranchRequest {
  /** `projects/P` */
  readonly project: string
  readonly id: string
  /** Name of the branch to copy; undefined: the project's default branch. */
  readonly source: string | undefined
  readonly lifeMs: number
  /** Others may find and use it as soon as it exists: it stays when the wait for it is given up. */
  readonly isShared?: boolean
}

/** What a client of a gateway signs in with. */
export type PersonalSignIn =
  /** A personal access token, or an OAuth access token. */
  | { readonly type: 'bearer'; readonly token: Secret }
  | { readonly type: 'oauth-m2m'; readonly clientId: string; readonly clientSecret: Secret }
