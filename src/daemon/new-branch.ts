/**
 * `branch-from`: the branch that is made for the life of this proxy, and the targets served from it. It is
 * made with a limited life, which is extended while the proxy runs, and is deleted at the end, or kept for
 * some days if that was asked for. A later branch with its name is neither extended nor deleted.
 */

import { BranchLife, extendAtMost, LONG_LIVES_MS } from '../branches/branch-life.js'
import { numberedIds, ownBranchId, uniqueIds } from '../branches/branch-name.js'
import { readGitHead } from '../branches/git-head.js'
import { makeBranch } from '../branches/make-branch.js'
import { repositoryOf } from '../branches/repository.js'
import type {
  NewBranchSettings,
  ProxySettings,
  TargetSettings,
} from '../config/resolve/settings.js'
import { branchTarget } from '../config/schema/target-text.js'
import type { Clock } from '../core/clock.js'
import { withDeadline } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import type { WorkspaceBranches } from '../databricks/lakebase/branches.js'
import { isGone } from '../databricks/lakebase/look-up.js'
import type { BranchRef } from '../databricks/lakebase/workspace.js'
import type { RunCommand } from '../databricks/sign-in/run-command.js'
import type { SignedIn } from './workspaces.js'

export interface NewBranchOptions {
  /** The proxy serves one program: many may be made at once, and none is used again. */
  readonly isForOneProgram: boolean
  /** Shows people what the start is waiting for. */
  readonly tell: (text: string, isLast: boolean) => void
}

export interface TakeOptions {
  /** Undefined for the library: then progress goes to the log alone. */
  readonly how: NewBranchOptions | undefined
  readonly runGit: RunCommand | undefined
  readonly plan: NewBranchSettings
  readonly signedIn: SignedIn
  readonly timeoutMs: number
  readonly clock: Clock
  readonly log: Log
}

const END_LIMIT_MS = 5_000
const HOUR_MS = 3_600_000

export class NewBranch {
  readonly #options: TakeOptions & { readonly how: NewBranchOptions }
  readonly #branches: WorkspaceBranches
  readonly #branch: BranchRef
  readonly #life: BranchLife
  #released: Promise<void> | undefined

  private constructor(
    options: TakeOptions & { readonly how: NewBranchOptions },
    branches: WorkspaceBranches,
    branch: BranchRef,
    leftMs: number,
  ) {
    const { plan, clock, log } = options
    this.#options = options
    this.#branches = branches
    this.#branch = branch
    this.#life = new BranchLife({ branches, branch, leftMs, livesMs: [plan.ttlMs], clock, log })
  }

  /**
   * Resolves when the workspace has made it. Errors: those of the workspace, kind `starting` after
   * `timeoutMs`.
   */
  static async take(options: TakeOptions, signal: AbortSignal): Promise<NewBranch> {
    const { plan, signedIn, runGit, timeoutMs: ms, clock, how = toLogOnly(options.log) } = options
    const { project, branch: source, ttlMs: lifeMs, folder } = plan
    const reason = (): ProxyError =>
      new ProxyError('starting', `no branch of ${project} was made in ${ms / 1000} s`, {
        hint: 'Wait longer with --start-timeout.',
      })
    how.tell(`a new branch of ${source ?? project} is being made`, false)
    return withDeadline({ clock, ms, reason, signals: [signal] }, async (limit) => {
      const [identity, repository, head] = await Promise.all([
        signedIn.identity.get(limit),
        repositoryOf(folder, runGit, limit),
        readGitHead(folder),
      ])
      const id = ownBranchId({ identity, repository, head })
      const ids = how.isForOneProgram ? uniqueIds(id) : [...numberedIds(id), ...uniqueIds(id)]
      const branches = await signedIn.workspace.branches()
      const began = clock.monotonic()
      const wanted = { project, source, ids, lifeMs, now: clock.now() }
      const { name, uid } = await makeBranch(branches, wanted, limit)
      const leftMs = lifeMs - (clock.monotonic() - began)
      return new NewBranch({ ...options, how }, branches, { name, uid }, leftMs)
    })
  }

  /** The same settings, with the targets that are served from the new branch on it. */
  settingsOn(settings: ProxySettings): ProxySettings {
    const { targets: served } = this.#options.plan
    const targets = settings.targets.map((each) =>
      served.includes(each.name) ? targetOn(each, this.#branch.name) : each,
    )
    return { ...settings, targets }
  }

  serves({ target }: TargetSettings): boolean {
    if (target.kind !== 'autoscaling') return false
    return `projects/${target.project}/branches/${target.branch}` === this.#branch.name
  }

  /** A branch that was just made refuses logins for a while. Errors: those of `tryLogin`. */
  async waitForFirstLogin(tryLogin: () => Promise<void>): Promise<void> {
    const { name } = this.#branch
    const { tell } = this.#options.how
    tell(`branch ${name} is made; waiting for its first login`, false)
    await tryLogin()
    tell(`branch ${name} takes connections`, true)
  }

  /** Deletes it, or keeps it as the settings say. Never rejects, takes 5 s at most; safe to call twice. */
  release(): Promise<void> {
    this.#released ??= this.#release()
    return this.#released
  }

  async #release(): Promise<void> {
    const { plan, how, clock, log } = this.#options
    const { name } = this.#branch
    this.#life.end()
    const reason = (): Error => new Error('the workspace did not answer in time')
    try {
      await withDeadline({ clock, ms: END_LIMIT_MS, reason }, (signal) =>
        plan.keep
          ? this.#keep(signal)
          : this.#branches.remove(this.#branch, how.isForOneProgram, signal),
      )
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      const failed = `branch could not be ${plan.keep ? 'kept for longer' : 'deleted'}`
      if (isGone(error)) log.warn({ branch: name }, `${failed}: ${why}`)
      else log.error({ branch: name }, `${failed}, it expires by itself: ${why}`)
    }
  }

  async #keep(signal: AbortSignal): Promise<void> {
    const { plan, log } = this.#options
    const { name } = this.#branch
    const livesMs = [...LONG_LIVES_MS.filter((ms) => ms > plan.ttlMs), plan.ttlMs]
    const ms = await extendAtMost(this.#branches, { branch: this.#branch, livesMs }, signal)
    const words =
      ms > plan.ttlMs ? `kept for ${spanOf(ms)}` : 'kept, as long as the workspace allows'
    log.warn({ branch: name }, `branch ${name} is ${words}`)
  }
}

function spanOf(ms: number): string {
  const hours = ms / HOUR_MS
  const [count, unit] = hours % 24 === 0 ? [hours / 24, 'day'] : [hours, 'hour']
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}

function toLogOnly(log: Log): NewBranchOptions {
  return {
    isForOneProgram: false,
    tell: (text, isLast) => log[isLast ? 'info' : 'debug'](text),
  }
}

function targetOn(target: TargetSettings, name: string): TargetSettings {
  const renamed = (text: string): string => text.replace(/^projects\/[^?]*/, name)
  const { user } = target.shownAs
  return {
    ...target,
    name: renamed(target.name),
    text: renamed(target.text),
    shownAs: { ...target.shownAs, user: user === undefined ? undefined : renamed(user) },
    target: branchTarget(name),
  }
}
