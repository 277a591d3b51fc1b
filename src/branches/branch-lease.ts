/**
 * A branch that lives as long as this proxy. It is made with a limited life, which is extended at
 * half its time for as long as the proxy runs: when the proxy is killed, the workspace removes the
 * branch. At the end it is deleted, or kept for some days if that was asked for. Only the branch
 * that this lease has made is ever extended or deleted.
 */

import type { Clock } from '../core/clock.js'
import { withDeadline } from '../core/deadline.js'
import type { Log } from '../core/log.js'
import { isTooLong } from '../databricks/lakebase/branches.js'
import { isGone } from '../databricks/lakebase/look-up.js'
import type { WorkspaceBranches } from '../databricks/lakebase/workspace.js'
import { type BranchPlan, makeBranch } from './make-branch.js'

export interface LeaseOptions extends Omit<BranchPlan, 'now'> {
  readonly branches: WorkspaceBranches
  /** At the end it is not deleted. */
  readonly keep: boolean
  /** Its name is free again at once when it is deleted. */
  readonly purge: boolean
  readonly clock: Clock
  readonly log: Log
}

const END_LIMIT_MS = 5_000
/** A machine that slept may be late: the clock is looked at again and again. */
const LOOK_AGAIN_MS = 60_000
const HOUR_MS = 3_600_000
/** The longest that the workspace allows. */
const KEPT_MS = [168, 144, 120, 96, 72, 48, 24, 12, 6, 4, 2, 1].map((hours) => hours * HOUR_MS)

/** A moment by both clocks: one can be set, the other stands still while the machine sleeps. */
interface Moment {
  readonly wall: number
  readonly monotonic: number
}

export class BranchLease {
  readonly #options: LeaseOptions
  /** `projects/P/branches/B` */
  readonly name: string
  readonly #ended = new AbortController()
  /** When its life began to count. */
  #since: Moment
  #cancelLook = (): void => {}
  #released: Promise<void> | undefined

  private constructor(options: LeaseOptions, name: string, since: Moment) {
    this.#options = options
    this.name = name
    this.#since = since
    this.#lookLater(options.lifeMs / 2)
  }

  /** Resolves when the workspace has made the branch. Errors: those of `makeBranch`. */
  static async take(options: LeaseOptions, signal: AbortSignal): Promise<BranchLease> {
    const { clock, branches } = options
    const since = { wall: clock.now(), monotonic: clock.monotonic() }
    const { name } = await makeBranch(branches, { ...options, now: since.wall }, signal)
    return new BranchLease(options, name, since)
  }

  /** Deletes the branch, or lets it live on. Never rejects, takes 5 s at most; safe to call twice. */
  release(): Promise<void> {
    this.#released ??= this.#release()
    return this.#released
  }

  async #release(): Promise<void> {
    const { branches, keep, purge, clock, log } = this.#options
    this.#cancelLook()
    this.#ended.abort()
    const reason = (): Error => new Error('the workspace did not answer in time')
    try {
      await withDeadline({ clock, ms: END_LIMIT_MS, reason }, (signal) =>
        keep ? this.#keep(signal) : branches.remove(this.name, purge, signal),
      )
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      const what = keep ? 'kept for longer' : 'deleted'
      log.error({ branch: this.name }, `branch could not be ${what}, it expires by itself: ${why}`)
    }
  }

  async #keep(signal: AbortSignal): Promise<void> {
    const { branches, lifeMs, log } = this.#options
    const hours = (ms: number): string =>
      ms % (24 * HOUR_MS) === 0 ? `${ms / HOUR_MS / 24} days` : `${ms / HOUR_MS} hours`
    for (const ms of KEPT_MS.filter((each) => each > lifeMs)) {
      try {
        await branches.extend(this.name, ms, signal)
        log.warn({ branch: this.name }, `branch ${this.name} is kept for ${hours(ms)}`)
        return
      } catch (error) {
        if (!isTooLong(error)) throw error
      }
    }
    await branches.extend(this.name, lifeMs, signal)
    log.warn({ branch: this.name }, `branch ${this.name} is kept, as long as the workspace allows`)
  }

  #lookLater(delayMs: number): void {
    const { clock } = this.#options
    this.#cancelLook = clock.after(Math.min(delayMs, LOOK_AGAIN_MS), () => void this.#look())
  }

  async #look(): Promise<void> {
    const { clock, lifeMs, branches, log } = this.#options
    const now = { wall: clock.now(), monotonic: clock.monotonic() }
    const age = Math.max(now.wall - this.#since.wall, now.monotonic - this.#since.monotonic)
    if (age < lifeMs / 2) return this.#lookLater(lifeMs / 2 - age)
    try {
      await branches.extend(this.name, lifeMs, this.#ended.signal)
      this.#since = now
      this.#lookLater(lifeMs / 2)
    } catch (error) {
      if (this.#ended.signal.aborted) return
      const why = error instanceof Error ? error.message : String(error)
      log.error({ branch: this.name }, `the life of the branch could not be extended: ${why}`)
      if (!isGone(error)) this.#lookLater(lifeMs / 8)
    }
  }
}
