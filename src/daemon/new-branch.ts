/** `branch-from`: the branch that is made for the life of this proxy, and the targets served from it. */

import { BranchLease } from '../branches/branch-lease.js'
import { numberedIds, ownBranchId, uniqueIds } from '../branches/branch-name.js'
import { readGitHead } from '../branches/git-head.js'
import { type RunGit, repositoryOf } from '../branches/repository.js'
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
  readonly runGit: RunGit | undefined
  readonly plan: NewBranchSettings
  readonly signedIn: SignedIn
  readonly timeoutMs: number
  readonly clock: Clock
  readonly log: Log
}

export class NewBranch {
  readonly #lease: BranchLease
  /** Names of the targets that are served from it. */
  readonly #targets: readonly string[]
  readonly #tell: NewBranchOptions['tell']

  private constructor(
    lease: BranchLease,
    targets: readonly string[],
    tell: NewBranchOptions['tell'],
  ) {
    this.#lease = lease
    this.#targets = targets
    this.#tell = tell
  }

  /**
   * Resolves when the workspace has made it. Errors: those of the workspace, kind `starting` after
   * `timeoutMs`.
   */
  static async take(options: TakeOptions, signal: AbortSignal): Promise<NewBranch> {
    const { plan, signedIn, runGit, timeoutMs, clock, log } = options
    const { isForOneProgram: purge, tell } = options.how ?? alone(log)
    const reason = (): ProxyError =>
      new ProxyError('starting', `no branch of ${plan.project} was made in ${timeoutMs / 1000} s`, {
        hint: 'Wait longer with --start-timeout.',
      })
    tell(`a new branch of ${plan.branch ?? plan.project} is being made`, false)
    return withDeadline({ clock, ms: timeoutMs, reason, signals: [signal] }, async (limit) => {
      const { project, branch: source, ttlMs: lifeMs, keep, folder } = plan
      const [identity, repository, head] = await Promise.all([
        signedIn.identity.get(limit),
        repositoryOf(folder, runGit, limit),
        readGitHead(folder),
      ])
      const id = ownBranchId({ identity, repository, head })
      const ids = purge ? uniqueIds(id) : [...numberedIds(id), ...uniqueIds(id)]
      const branches = await signedIn.workspace.branches()
      const wanted = { project, source, ids, lifeMs, keep, purge }
      const lease = await BranchLease.take({ ...wanted, branches, clock, log }, limit)
      return new NewBranch(lease, plan.targets, tell)
    })
  }

  /** The same settings, with the targets that are served from the new branch on it. */
  on(settings: ProxySettings): ProxySettings {
    const { name } = this.#lease
    const targets = settings.targets.map((each) =>
      this.#targets.includes(each.name) ? on(each, name) : each,
    )
    return { ...settings, targets }
  }

  serves({ target }: TargetSettings): boolean {
    if (target.kind !== 'autoscaling') return false
    return `projects/${target.project}/branches/${target.branch}` === this.#lease.name
  }

  /** A branch that was just made refuses logins for a while. Errors: those of `tryLogin`. */
  async answers(tryLogin: () => Promise<void>): Promise<void> {
    const { name } = this.#lease
    this.#tell(`branch ${name} is made; waiting for its first login`, false)
    await tryLogin()
    this.#tell(`branch ${name} takes connections`, true)
  }

  /** Deletes it, or keeps it as the settings say. Never rejects; safe to call twice. */
  release(): Promise<void> {
    return this.#lease.release()
  }
}

function alone(log: Log): NewBranchOptions {
  return {
    isForOneProgram: false,
    tell: (text, isLast) => log[isLast ? 'info' : 'debug'](text),
  }
}

function on(target: TargetSettings, name: string): TargetSettings {
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
