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

export interface NewBranch {
  /** `projects/P` */
  readonly project: string
  readonly id: string
  /** Name of the branch to copy; undefined: the project's default branch. */
  readonly source: string | undefined
  readonly lifeMs: number
}

/** Branches of Autoscaling projects; they are named `projects/P/branches/B`, projects `projects/P`. */
export interface WorkspaceBranches {
  /** The projects that the identity may see. */
  projects(signal: AbortSignal): Promise<string[]>
  /** The branches that are not deleted. Errors: kind `target`, when the project does not exist. */
  list(project: string, signal: AbortSignal): Promise<LakebaseBranch[]>
  /** Undefined when no branch has that name. */
  get(name: string, signal: AbortSignal): Promise<LakebaseBranch | undefined>
  /** Resolves when the branch exists. Errors: `isTaken(error)` when the name is in use. */
  create(plan: NewBranch, signal: AbortSignal): Promise<LakebaseBranch>
  /**
   * It lives for this long from now. Errors: `isTooLong(error)` when the workspace allows less,
   * `isGone(error)` for another branch than the one that is meant.
   */
  extend(branch: BranchRef, lifeMs: number, signal: AbortSignal): Promise<void>
  /**
   * Resolves when the workspace has accepted. Without `purge`, the branch can be brought back for
   * some days, and its name stays reserved. Errors: kind `target` for a branch that must not be deleted,
   * or that is another than the one that is meant.
   */
  remove(branch: BranchRef, purge: boolean, signal: AbortSignal): Promise<void>
}

/** What a client of a gateway signs in with. */
export type PersonalSignIn =
  /** A personal access token, or an OAuth access token. */
  | { readonly type: 'bearer'; readonly token: Secret }
  | { readonly type: 'oauth-m2m'; readonly clientId: string; readonly clientSecret: Secret }

/** A workspace as another identity than the proxy's own. */
export interface PersonalWorkspace extends Pick<Workspace, 'identity' | 'mintCredential'> {
  /** Drops what it holds. Safe to call twice. */
  close(): Promise<void>
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
  /** Branches of its Autoscaling projects. */
  branches(): Promise<WorkspaceBranches>
}
