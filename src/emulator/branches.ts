/**
 * The life of branches: made from another with its data, extended, deleted softly or for good,
 * brought back, and expired by the emulator's clock. Errors are the API's own.
 */

import type { Clock } from '../core/clock.js'
import { ApiError, badRequest, notFound } from './api-error.js'
import type { Behaviour } from './behaviour.js'
import type { BranchClusters } from './branch-clusters.js'
import { type Branch, branchUid, newEndpoint, type Project } from './inventory.js'
import type { OperationState } from './operations.js'

export interface BranchesOptions {
  readonly clock: Clock
  readonly behaviour: Behaviour
  readonly clusters: Pick<BranchClusters, 'create' | 'remove' | 'stop'>
  /** Makes the hosts of a branch known, or unknown. */
  readonly publish: (branch: Branch) => void
  readonly withdraw: (branch: Branch) => void
}

export interface BranchRequest {
  readonly id: string
  /** Its name; undefined: the project's default branch. */
  readonly source: string | undefined
  readonly isProtected: boolean
  readonly expiry: Expiry
}

/** When a branch ends: a time after its creation, at a moment, or never. */
export type Expiry =
  | { readonly ttlMs: number }
  | { readonly expireAt: number }
  | { readonly noExpiry: true }

export interface CreatedBranch {
  readonly branch: Branch
  readonly state: () => OperationState
  /** Resolves when the branch takes connections. */
  readonly made: Promise<void>
}

const DAY_MS = 24 * 3600_000
const PURGE_AFTER_MS = 7 * DAY_MS

export class Branches {
  readonly #options: BranchesOptions

  constructor(options: BranchesOptions) {
    this.#options = options
  }

  /** The branches of the project that are not deleted. */
  present(project: Project): Branch[] {
    this.#removeDue(project)
    return project.branches.filter((branch) => branch.deletedAt === undefined)
  }

  /** The deleted ones too, as long as they can be brought back. */
  all(project: Project): readonly Branch[] {
    this.#removeDue(project)
    return project.branches
  }

  create(project: Project, plan: BranchRequest): CreatedBranch {
    const { clock, publish } = this.#options
    if (!/^[a-z][a-z0-9-]{0,62}$/.test(plan.id)) {
      throw badRequest('branch_id must match ^[a-z][a-z0-9-]{0,62}$')
    }
    const name = `${project.name}/branches/${plan.id}`
    if (this.all(project).some((each) => each.name === name)) {
      throw new ApiError(409, 'ALREADY_EXISTS', `branch '${plan.id}' already exists`)
    }
    const source = this.#source(project, plan.source)
    const unarchived = this.present(project).filter((each) => each.state !== 'ARCHIVED')
    const { maxUnarchivedBranches: max } = this.#options.behaviour
    if (unarchived.length >= max) {
      const message = `project has reached its limit of ${max} unarchived branches`
      throw new ApiError(400, 'QUOTA_EXCEEDED', message)
    }
    const createdAt = clock.now()
    const branch: Branch = {
      ...{ name, uid: branchUid(), isDefault: false, isProtected: plan.isProtected },
      ...{ createdAt, updatedAt: createdAt, state: 'INIT', source: source.name },
      expireAt: this.#expireAt(plan.expiry, createdAt),
      deletedAt: undefined,
      endpoints: [newEndpoint(`${name}/endpoints/primary`, createdAt, 'INIT')],
    }
    project.branches.push(branch)
    publish(branch)
    this.#expireLater(project, branch)
    let failure: ApiError | undefined
    const made = this.#make(branch, source)
    made.catch((error: unknown) => {
      failure = new ApiError(500, 'INTERNAL_ERROR', `could not copy the data: ${error}`)
    })
    const state = (): OperationState => {
      if (failure !== undefined) return { is: 'failed', error: failure }
      return branch.state === 'INIT' ? { is: 'running' } : { is: 'done', response: branch }
    }
    return { branch, state, made }
  }

  setExpiry(project: Project, branch: Branch, expiry: Expiry): void {
    branch.expireAt = this.#expireAt(expiry, branch.createdAt)
    branch.updatedAt = this.#options.clock.now()
    this.#expireLater(project, branch)
  }

  /** Deletes it softly: its name stays reserved and it can be brought back for a week. */
  delete(project: Project, branch: Branch, purge: boolean): void {
    if (branch.isProtected) throw badRequest('a protected branch cannot be deleted')
    if (branch.isDefault) throw badRequest('the default branch of a project cannot be deleted')
    const { clock, clusters, withdraw } = this.#options
    withdraw(branch)
    if (purge) {
      project.branches.splice(project.branches.indexOf(branch), 1)
      clusters.remove(branch.uid).catch(() => {}) // the emulator is being closed
    } else {
      branch.deletedAt ??= clock.now()
      clusters.stop(branch.uid).catch(() => {})
    }
  }

  undelete(project: Project, branch: Branch): void {
    if (branch.deletedAt === undefined) throw badRequest('the branch is not deleted')
    branch.deletedAt = undefined
    this.#options.publish(branch)
    this.#expireLater(project, branch)
  }

  purgeAt(branch: Branch): number | undefined {
    return branch.deletedAt === undefined ? undefined : branch.deletedAt + PURGE_AFTER_MS
  }

  #source(project: Project, name: string | undefined): Branch {
    const found = this.present(project).find((each) =>
      name === undefined ? each.isDefault : each.name === name,
    )
    if (found === undefined) throw notFound('source branch id not found')
    if (found.state !== 'READY') throw badRequest(`source branch is ${found.state}`)
    return found
  }

  #expireAt(expiry: Expiry, createdAt: number): number | undefined {
    if ('noExpiry' in expiry) return undefined
    const now = this.#options.clock.now()
    const at = 'ttlMs' in expiry ? createdAt + expiry.ttlMs : expiry.expireAt
    if (at <= now) throw badRequest('expiration time must be in the future')
    if (at - now > this.#options.behaviour.maxBranchLifeMs) {
      throw badRequest('expiration time exceeds the maximum expiration time')
    }
    return at
  }

  async #make(branch: Branch, source: Branch): Promise<void> {
    const { clock, behaviour, clusters } = this.#options
    const waited = new Promise<void>((resolve) => clock.after(behaviour.transitionMs, resolve))
    await clusters.create(branch.uid, source.uid)
    await waited
    branch.state = 'READY'
    for (const endpoint of branch.endpoints) endpoint.state = 'ACTIVE'
  }

  #expireLater(project: Project, branch: Branch): void {
    if (branch.expireAt === undefined) return
    const { clock } = this.#options
    // Sessions end then, whether or not a call asks. A long time is waited for in parts.
    clock.after(branch.expireAt - clock.now(), () => {
      this.#removeDue(project)
      const isLater = branch.expireAt !== undefined && branch.expireAt > clock.now()
      if (isLater && branch.deletedAt === undefined) this.#expireLater(project, branch)
    })
  }

  /** An expired branch goes for good, a deleted one after a week. */
  #removeDue(project: Project): void {
    const now = this.#options.clock.now()
    for (const branch of [...project.branches]) {
      const endsAt = this.purgeAt(branch) ?? branch.expireAt
      if (endsAt === undefined || endsAt > now) continue
      branch.isProtected = false
      this.delete(project, branch, true)
    }
  }
}
