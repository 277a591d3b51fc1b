/**
 * Keeps a branch alive for as long as it is in use: its life, which is limited, is extended at half its
 * time until this ends. When the proxy is killed, the workspace removes the branch at the end of it.
 */

import type { Clock } from '../core/clock.js'
import type { Log } from '../core/log.js'
import { isTooLong } from '../databricks/lakebase/api-error.js'
import type { WorkspaceBranches } from '../databricks/lakebase/branches.js'
import { isGone } from '../databricks/lakebase/look-up.js'
import type { BranchRef } from '../databricks/lakebase/workspace.js'

export interface BranchLifeOptions {
  readonly branches: Pick<WorkspaceBranches, 'extend'>
  readonly branch: BranchRef
  /** The rest of its life; negative when it is over. */
  readonly leftMs: number
  /** What it is extended to: the first that the workspace allows. */
  readonly livesMs: readonly number[]
  readonly clock: Clock
  readonly log: Log
}

/** A machine that slept may be late: the clock is looked at again and again. */
const LOOK_AGAIN_MS = 60_000

export class BranchLife {
  /** The one that is kept alive. */
  readonly branch: BranchRef
  readonly #options: BranchLifeOptions
  readonly #ended = new AbortController()
  #lifeMs: number
  /** When its life began to count, by both clocks: one can be set, the other stands still in a sleep. */
  #since: { readonly wall: number; readonly monotonic: number }
  #cancelLook = (): void => {}

  constructor(options: BranchLifeOptions) {
    const { clock, leftMs, livesMs } = options
    this.#options = options
    this.branch = options.branch
    this.#lifeMs = Math.max(leftMs, livesMs[0] ?? leftMs)
    const usedMs = this.#lifeMs - leftMs
    this.#since = { wall: clock.now() - usedMs, monotonic: clock.monotonic() - usedMs }
    this.#lookLater(this.#untilHalfMs)
  }

  /** Stops extending its life. Safe to call twice. */
  end(): void {
    this.#cancelLook()
    this.#ended.abort()
  }

  #lookLater(delayMs: number): void {
    const { clock } = this.#options
    const ms = Math.max(0, Math.min(delayMs, LOOK_AGAIN_MS))
    this.#cancelLook = clock.after(ms, () => void this.#look())
  }

  /** Until half of its life is used up; negative when that is over. */
  get #untilHalfMs(): number {
    const { clock } = this.#options
    const { wall, monotonic } = this.#since
    return this.#lifeMs / 2 - Math.max(clock.now() - wall, clock.monotonic() - monotonic)
  }

  async #look(): Promise<void> {
    const { clock, branches, branch, livesMs, log } = this.#options
    if (this.#untilHalfMs > 0) return this.#lookLater(this.#untilHalfMs)
    const now = { wall: clock.now(), monotonic: clock.monotonic() }
    try {
      this.#lifeMs = await extendAtMost(branches, { branch, livesMs }, this.#ended.signal)
      this.#since = now
      if (!this.#ended.signal.aborted) this.#lookLater(this.#untilHalfMs) // the machine may have slept
    } catch (error) {
      if (this.#ended.signal.aborted) return
      const why = error instanceof Error ? error.message : String(error)
      log.error({ branch: branch.name }, `the life of the branch could not be extended: ${why}`)
      // Tried again each minute, and for a short life three times before its end.
      if (!isGone(error)) this.#lookLater(this.#lifeMs / 8)
    }
  }
}

const HOUR_MS = 3_600_000
/** A week, or the most that the workspace allows. */
export const LONG_LIVES_MS: readonly number[] = [168, 144, 120, 96, 72, 48, 24, 12, 6, 4, 2, 1].map(
  (hours) => hours * HOUR_MS,
)

/** Resolves to the life that it has from now on. Errors: `isTooLong` when even the last is too long. */
export function extendAtMost(
  branches: Pick<WorkspaceBranches, 'extend'>,
  { branch, livesMs }: Pick<BranchLifeOptions, 'branch' | 'livesMs'>,
  signal: AbortSignal,
): Promise<number> {
  return firstAllowed(livesMs, async (ms) => {
    await branches.extend(branch, ms, signal)
    return ms
  })
}

/** What comes of the first life that the workspace allows. */
export async function firstAllowed<T>(
  livesMs: readonly number[],
  attempt: (lifeMs: number) => Promise<T>,
): Promise<T> {
  let failure: unknown
  for (const ms of livesMs) {
    try {
      return await attempt(ms)
    } catch (error) {
      if (!isTooLong(error)) throw error
      failure = error
    }
  }
  throw failure
}
