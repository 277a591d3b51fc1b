/**
 * `follow-git`: a client is connected to the branch that belongs to what is checked out when it
 * comes. Each branch has parts of its own, made for its first client and closed some time after its
 * last; sessions that are open stay where they are.
 */

import type { GitBranches } from '../branches/git-branches.js'
import type { Clock } from '../core/clock.js'
import { withDeadline } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import { isGone } from '../databricks/lakebase/look-up.js'
import type { Connector } from '../upstream/connect.js'
import type { Connected } from '../upstream/open.js'
import { toWireText } from '../wire/frontend.js'

type Connect = Connector['connect']

/** The parts of one branch. */
export interface BranchParts {
  readonly connect: Connect
  close(): Promise<void>
}

export interface GitTargetsOptions {
  readonly branches: Promise<GitBranches>
  /** To the default branch. */
  readonly connect: Connect
  readonly open: (branch: string) => BranchParts
  /** How long clients are held while a branch is made. */
  readonly timeoutMs: number
  readonly clock: Clock
}

interface Opened {
  readonly parts: BranchParts
  connecting: number
  cancelClose: () => void
}

const CLOSE_AFTER_MS = 10 * 60_000
const MAX_OPEN = 100

export class GitTargets {
  readonly #options: GitTargetsOptions
  /** By branch, the one used last at the end. */
  readonly #open = new Map<string, Opened>()

  constructor(options: GitTargetsOptions) {
    this.#options = options
  }

  connect: Connect = async (login, progress, limit) => {
    const { branches, timeoutMs, clock, connect } = this.#options
    progress.enter('resolve')
    const reason = (): ProxyError =>
      new ProxyError('starting', `the branch was not made in ${timeoutMs / 1000} s`, {
        hint: 'Try again, or wait longer with --start-timeout.',
      })
    const choice = await withDeadline(
      { clock, ms: timeoutMs, reason, signals: [limit.signal] },
      (signal) => branches.then((each) => each.choose(signal)),
    )
    if (choice.is === 'branch') return this.#connectTo(choice.name, [login, progress, limit])
    if (!choice.isReadOnly) return connect(login, progress, limit)
    const parameters = new Map(login.parameters)
    parameters.set('default_transaction_read_only', toWireText('on'))
    return connect({ ...login, parameters }, progress, limit)
  }

  /** Ends the connections that are being made. Safe to call twice. */
  async close(): Promise<void> {
    const all = [...this.#open.values()]
    this.#open.clear()
    for (const { cancelClose } of all) cancelClose()
    await Promise.all(all.map(({ parts }) => parts.close()))
  }

  async #connectTo(branch: string, client: Parameters<Connect>): Promise<Connected> {
    const { open, branches, clock } = this.#options
    const opened = this.#open.get(branch) ?? {
      parts: open(branch),
      connecting: 0,
      cancelClose() {},
    }
    opened.cancelClose()
    this.#open.delete(branch)
    this.#open.set(branch, opened)
    opened.connecting += 1
    try {
      return await opened.parts.connect(...client)
    } catch (error) {
      if (isGone(error)) (await branches).forget(branch)
      throw error
    } finally {
      opened.connecting -= 1
      opened.cancelClose = clock.after(CLOSE_AFTER_MS, () => this.#closeIfUnused(branch))
      if (this.#open.size > MAX_OPEN) this.#closeIfUnused(this.#open.keys().next().value ?? '')
    }
  }

  #closeIfUnused(branch: string): void {
    const opened = this.#open.get(branch)
    if (opened === undefined || opened.connecting > 0) return
    opened.cancelClose()
    this.#open.delete(branch)
    void opened.parts.close()
  }
}
