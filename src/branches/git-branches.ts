/**
 * `follow-git`: which Lakebase branch belongs to what is checked out now. HEAD is read at each call;
 * what the workspace said of a git branch counts for half a minute. `main` and `master` are the
 * project's default branch; without a git branch it is the default branch too, but read-only.
 */

import type { Clock } from '../core/clock.js'
import { pause, SingleFlight, waitFor } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import { isTooLong } from '../databricks/lakebase/branches.js'
import type { LakebaseBranch, WorkspaceBranches } from '../databricks/lakebase/workspace.js'
import { branchIdOf, fitBranchId, isNumbered, numberedIds, ownBranchId } from './branch-name.js'
import { type GitHead, readGitHead } from './git-head.js'
import { makeBranch } from './make-branch.js'

export interface GitBranchesOptions {
  /** The working folder. */
  readonly folder: string
  /** `projects/P` */
  readonly project: string
  /** What one's own branches are made from; undefined: the default branch. */
  readonly source: string | undefined
  /** A branch that is not there is made. */
  readonly create: boolean
  readonly workspace: { branches(): Promise<WorkspaceBranches> }
  /** Whose branches, and of which repository; asked once it is needed. */
  readonly owner: () => Promise<{ readonly identity: string; readonly repository: string }>
  readonly clock: Clock
  readonly log: Log
  /** Ends what is under way. */
  readonly closing: AbortSignal
}

export type GitChoice =
  | { readonly is: 'default'; readonly isReadOnly: boolean }
  /** `projects/P/branches/B` */
  | { readonly is: 'branch'; readonly name: string }

const HEAD_TRIES = 20
const HEAD_PAUSE_MS = 50
const GOOD_MS = 30_000
/** The longest that the workspace allows. */
const LIVES_MS = [168, 72, 24, 8, 2].map((hours) => hours * 3_600_000)

export class GitBranches {
  readonly #options: GitBranchesOptions
  /** By git branch, with the monotonic time of the answer. */
  readonly #known = new Map<string, { readonly name: string; readonly at: number }>()
  readonly #asking = new SingleFlight((gitBranch: string) => this.#ask(gitBranch))

  constructor(options: GitBranchesOptions) {
    this.#options = options
  }

  /** Errors: kind `target` (3D000) without such a branch, and those of the workspace. */
  async choose(signal: AbortSignal): Promise<GitChoice> {
    const head = await this.#readHead(signal)
    if (head.is !== 'branch') return { is: 'default', isReadOnly: true }
    const { branch } = head
    if (branch === 'main' || branch === 'master') return { is: 'default', isReadOnly: false }
    const known = this.#known.get(branch)
    const { clock } = this.#options
    if (known !== undefined && clock.monotonic() - known.at < GOOD_MS) {
      return { is: 'branch', name: known.name }
    }
    return { is: 'branch', name: await waitFor(this.#asking.join(branch), signal) }
  }

  /** A branch was not there any more: it is looked for again. */
  forget(name: string): void {
    for (const [gitBranch, known] of this.#known) {
      if (known.name === name) this.#known.delete(gitBranch)
    }
  }

  async #readHead(signal: AbortSignal): Promise<GitHead> {
    const { folder, clock } = this.#options
    for (let tries = 0; tries < HEAD_TRIES; tries += 1) {
      const head = await readGitHead(folder)
      if (head.is !== 'unfinished') return head
      await pause(clock, HEAD_PAUSE_MS, signal)
    }
    throw new ProxyError('starting', 'the HEAD of the git repository is not written to its end', {
      hint: 'Look at it with: git status',
    })
  }

  async #ask(gitBranch: string): Promise<string> {
    const { workspace, closing, clock } = this.#options
    const branches = await workspace.branches()
    const name = await this.#find(gitBranch, branches, closing)
    this.#known.set(gitBranch, { name, at: clock.monotonic() })
    return name
  }

  async #find(
    gitBranch: string,
    branches: WorkspaceBranches,
    signal: AbortSignal,
  ): Promise<string> {
    const { project, create, log } = this.#options
    const all = await branches.list(project, signal)
    const shared = all.find(({ name }) => name === `${project}/branches/${fitBranchId(gitBranch)}`)
    if (shared !== undefined) return shared.name
    const source = this.#options.source ?? all.find(({ isDefault }) => isDefault)?.name
    const owner = await this.#options.owner()
    const id = ownBranchId({ ...owner, head: { is: 'branch', branch: gitBranch } })
    const isOwn = (each: LakebaseBranch): boolean =>
      isNumbered(branchIdOf(each.name), id) && each.source === source && !each.isProtected
    const [own] = all.filter(isOwn).sort((a, b) => (a.name < b.name ? -1 : 1))
    if (own !== undefined) return own.name
    if (!create) {
      throw new ProxyError('target', `git branch "${gitBranch}" has no branch in ${project}`, {
        sqlState: '3D000',
        hint: `Make one: lakebase-proxy branches create ${fitBranchId(gitBranch)} --from ${source ?? project} --ttl 168h, or let it be made with follow-git=create.`,
      })
    }
    const taken = new Set(all.map((each) => branchIdOf(each.name)))
    const ids = [...numberedIds(id)].filter((each) => !taken.has(each))
    log.info({ project, git: gitBranch }, 'making a branch for the git branch')
    const made = await this.#make(branches, { source, ids }, signal)
    log.info({ branch: made }, `branch ${made} is made for git branch ${gitBranch}`)
    return made
  }

  async #make(
    branches: WorkspaceBranches,
    { source, ids }: { readonly source: string | undefined; readonly ids: readonly string[] },
    signal: AbortSignal,
  ): Promise<string> {
    const { project, clock } = this.#options
    let failure: unknown
    for (const lifeMs of LIVES_MS) {
      try {
        const plan = { project, source, ids, lifeMs, now: clock.now() }
        return (await makeBranch(branches, plan, signal)).name
      } catch (error) {
        if (!(error instanceof ProxyError) || !isTooLong(error.cause)) throw error
        failure = error
      }
    }
    throw failure
  }
}
