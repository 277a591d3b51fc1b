/**
 * A branch that lives as long as this proxy. It is made with a limited life, which is extended at
 * half its time for as long as the proxy runs: when the proxy is killed, the workspace removes the
 * branch. At the end it is deleted, or kept for some days if that was asked for. Only the branch
 * that this lease has made is ever extended or deleted, and no later one with its name.
 */

import type { Clock } from '../core/clock.js'
import { withDeadline } from '../core/deadline.js'
import type { Log } from '../core/log.js'
import type { WorkspaceBranches } from '../databricks/lakebase/branches.js'
import { isGone } from '../databricks/lakebase/look-up.js'
import type { BranchRef } from '../databricks/lakebase/workspace.js'
import { BranchLife, extendAtMost, LONG_LIVES_MS } from './branch-life.js'
import { type BranchPlan, makeBranch } from './make-branch.js'

export interface LeaseOptions extends Omit<BranchPlan, 'now'> {
  readonly branches: WorkspaceBranches
  /** True when the branch is not deleted at the end. */
  readonly keep: boolean
  /** True when its name must be free again as soon as it is deleted. */
  readonly purge: boolean
  readonly clock: Clock
  readonly log: Log
}

const END_LIMIT_MS = 5_000
const HOUR_MS = 3_600_000

export class BranchLease {
  readonly #options: LeaseOptions
  /** `projects/P/branches/B` */
  readonly name: string
  readonly #branch: BranchRef
  readonly #life: BranchLife
  #released: Promise<void> | undefined

  private constructor(options: LeaseOptions, branch: BranchRef, leftMs: number) {
    const { lifeMs } = options
    this.#options = options
    this.name = branch.name
    this.#branch = branch
    this.#life = new BranchLife({ ...options, branch, leftMs, livesMs: [lifeMs] })
  }

  /** Resolves when the workspace has made the branch. Errors: those of `makeBranch`. */
  static async take(options: LeaseOptions, signal: AbortSignal): Promise<BranchLease> {
    const { clock, branches, lifeMs } = options
    const began = clock.monotonic()
    const { name, uid } = await makeBranch(branches, { ...options, now: clock.now() }, signal)
    return new BranchLease(options, { name, uid }, lifeMs - (clock.monotonic() - began))
  }

  /** Deletes the branch, or lets it live on. Never rejects, takes 5 s at most; safe to call twice. */
  release(): Promise<void> {
    this.#released ??= this.#release()
    return this.#released
  }

  async #release(): Promise<void> {
    const { branches, keep, purge, clock, log } = this.#options
    this.#life.end()
    const reason = (): Error => new Error('the workspace did not answer in time')
    try {
      await withDeadline({ clock, ms: END_LIMIT_MS, reason }, (signal) =>
        keep ? this.#keep(signal) : branches.remove(this.#branch, purge, signal),
      )
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      const what = keep ? 'kept for longer' : 'deleted'
      if (isGone(error)) {
        log.warn({ branch: this.name }, `branch could not be ${what}: ${why}`)
        return
      }
      log.error({ branch: this.name }, `branch could not be ${what}, it expires by itself: ${why}`)
    }
  }

  async #keep(signal: AbortSignal): Promise<void> {
    const { branches, lifeMs, log } = this.#options
    const hours = (ms: number): string =>
      ms % (24 * HOUR_MS) === 0 ? `${ms / HOUR_MS / 24} days` : `${ms / HOUR_MS} hours`
    const livesMs = [...LONG_LIVES_MS.filter((ms) => ms > lifeMs), lifeMs]
    const ms = await extendAtMost(branches, { branch: this.#branch, livesMs }, signal)
    const words = ms > lifeMs ? `kept for ${hours(ms)}` : 'kept, as long as the workspace allows'
    log.warn({ branch: this.name }, `branch ${this.name} is ${words}`)
  }
}
