/**
 * `follow-git`: which Lakebase branch belongs to what is checked out now. HEAD is read at each call;
 * what the workspace said of a git branch counts for half a minute. `main` and `master` are the
 * project's default branch; without a git branch it is the default branch too, but read-only.
 */

import type { Clock } from '../core/clock.js'
import { pause, SingleFlight, waitFor } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import { plainText } from '../core/plain-text.js'
import type { WorkspaceBranches } from '../databricks/lakebase/branches.js'
import type { LakebaseBranch } from '../databricks/lakebase/workspace.js'
import { firstAllowed, LONG_LIVES_MS } from './branch-life.js'
import { branchIdOf, isNumbered, numberedIds, ownBranchId, sharedBranchId } from './branch-name.js'
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
  /**
   * Returns the identity and the repository that names of branches begin with. Called when they are
   * needed.
   */
  readonly owner: () => Promise<{ readonly identity: string; readonly repository: string }>
  readonly clock: Clock
  readonly log: Log
  /** Ends what is under way. */
  readonly closing: AbortSignal
}

export type GitChoice =
  | { readonly is: 'default'; readonly isReadOnly: boolean }
  | ({ readonly is: 'branch' } & GitBranch)

interface GitBranch {
  /** `projects/P/branches/B` */
  readonly name: string
  readonly uid: string | undefined
  /** When the life of a branch of this user is over. Undefined: it is another user's, or has no end. */
  readonly endsAt: number | undefined
}

/** What there is for a git branch, and what its own branch would be. */
interface Found {
  readonly branch: GitBranch | undefined
  readonly source: string | undefined
  readonly ownId: string
  readonly taken: ReadonlySet<string>
}

const HEAD_TRIES = 20
const HEAD_PAUSE_MS = 50
const GOOD_MS = 30_000
const MAX_SHOWN = 100

export class GitBranches {
  readonly #options: GitBranchesOptions
  /** The branch of each git branch, with the monotonic time of the answer in ms. */
  readonly #known = new Map<string, { readonly branch: GitBranch; readonly at: number }>()
  #hasWarned = false
  readonly #finding = new SingleFlight((gitBranch: string) => this.#find(gitBranch))
  readonly #making = new SingleFlight((gitBranch: string) => this.#findOrMake(gitBranch))

  constructor(options: GitBranchesOptions) {
    this.#options = options
  }

  /** Errors: kind `target` without such a branch, with SQLSTATE 3D000, and those of the workspace. */
  async choose(signal: AbortSignal): Promise<GitChoice> {
    const head = await this.#readHead(signal)
    const choice = this.#choiceWithoutAsking(head)
    if (typeof choice !== 'string') return choice
    return { is: 'branch', ...(await waitFor(this.#making.join(choice), signal)) }
  }

  /** The same, and no branch is made. `none`: the next client is refused, or its branch is made then. */
  async look(
    signal: AbortSignal,
  ): Promise<GitChoice | { readonly is: 'none'; readonly refusal: ProxyError | undefined }> {
    const choice = this.#choiceWithoutAsking(await this.#readHead(signal))
    if (typeof choice !== 'string') return choice
    const found = await waitFor(this.#finding.join(choice), signal)
    if (found.branch !== undefined) return { is: 'branch', ...found.branch }
    return { is: 'none', refusal: this.#options.create ? undefined : this.#noBranch(choice, found) }
  }

  /** A branch was not there any more: it is looked for again. */
  forget(name: string): void {
    for (const [gitBranch, known] of this.#known) {
      if (known.branch.name === name) this.#known.delete(gitBranch)
    }
  }

  /** The git branch, where the workspace has to be asked. */
  #choiceWithoutAsking(head: GitHead): GitChoice | string {
    if (head.is !== 'branch') return { is: 'default', isReadOnly: true }
    const { branch } = head
    if (branch === 'main' || branch === 'master') return { is: 'default', isReadOnly: false }
    const known = this.#known.get(branch)
    const isGood = known !== undefined && this.#options.clock.monotonic() - known.at < GOOD_MS
    return isGood ? { is: 'branch', ...known.branch } : branch
  }

  async #readHead(signal: AbortSignal): Promise<GitHead> {
    const { folder, clock } = this.#options
    for (let tries = 0; tries < HEAD_TRIES; tries += 1) {
      const head = await readGitHead(folder)
      if (head.is === 'foreign') this.#warnOf(head.path)
      if (head.is !== 'unfinished') return head
      await pause(clock, HEAD_PAUSE_MS, signal)
    }
    throw new ProxyError('starting', 'the HEAD of the git repository is not written to its end', {
      hint: 'Look at it with: git status',
    })
  }

  #warnOf(path: string): void {
    if (this.#hasWarned) return
    this.#hasWarned = true
    const git = plainText(path, MAX_SHOWN)
    const how = `Run lakebase-proxy as its owner, or type: chown -R ${process.geteuid?.()} ${git}`
    this.#options.log.warn({ git }, `${git} belongs to another user and is not followed. ${how}`)
  }

  async #find(gitBranch: string): Promise<Found> {
    const { project, workspace, closing, clock } = this.#options
    const branches = await workspace.branches()
    const [all, owner] = await Promise.all([branches.list(project, closing), this.#options.owner()])
    const source = this.#options.source ?? all.find(({ isDefault }) => isDefault)?.name
    const ownId = ownBranchId({ ...owner, head: { is: 'branch', branch: gitBranch } })
    const taken = new Set(all.map(({ name }) => branchIdOf(name)))
    const sharedId = sharedBranchId(gitBranch)
    const shared = all.find(({ name }) => name === `${project}/branches/${sharedId}`)
    const isOwn = (each: LakebaseBranch): boolean =>
      isNumbered(branchIdOf(each.name), ownId) &&
      each.source === source &&
      !each.isProtected &&
      !each.isDefault
    const [own] = all.filter(isOwn).sort((a, b) => (a.name < b.name ? -1 : 1))
    const found = shared ?? own
    const branch = found && {
      name: found.name,
      uid: found.uid,
      endsAt: found === own ? own.expiresAt : undefined,
    }
    if (branch !== undefined) this.#known.set(gitBranch, { branch, at: clock.monotonic() })
    return { branch, source, ownId, taken }
  }

  async #findOrMake(gitBranch: string): Promise<GitBranch> {
    const { create, project, log, clock } = this.#options
    const found = await this.#finding.join(gitBranch)
    if (found.branch !== undefined) return found.branch
    if (!create) throw this.#noBranch(gitBranch, found)
    const git = plainText(gitBranch, MAX_SHOWN)
    log.info({ project, git }, 'making a branch for the git branch')
    const branch = await this.#make(found)
    log.info({ branch: branch.name, git }, `branch ${branch.name} is made for git branch ${git}`)
    this.#known.set(gitBranch, { branch, at: clock.monotonic() })
    return branch
  }

  #noBranch(gitBranch: string, { source, ownId }: Found): ProxyError {
    const { project } = this.#options
    const shown = plainText(gitBranch, MAX_SHOWN)
    const id = sharedBranchId(gitBranch) ?? ownId
    return new ProxyError('target', `git branch "${shown}" has no branch in ${project}`, {
      sqlState: '3D000', // as for a branch that a client chose by name and that does not exist
      hint: `Make one: lakebase-proxy branches create ${id} --from ${source ?? project} --ttl 168h, or let it be made with follow-git=create.`,
    })
  }

  async #make({ source, ownId, taken }: Found): Promise<GitBranch> {
    const { project, workspace, clock, closing } = this.#options
    const branches = await workspace.branches()
    const ids = [...numberedIds(ownId)].filter((each) => !taken.has(each))
    return firstAllowed(LONG_LIVES_MS, async (lifeMs) => {
      const now = clock.now()
      const plan = { project, source, ids, lifeMs, now, isShared: true }
      const { name, uid } = await makeBranch(branches, plan, closing)
      return { name, uid, endsAt: now + lifeMs }
    })
  }
}
