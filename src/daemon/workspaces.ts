/** The workspaces that targets need, each signed in once, however many targets it has. */

import type { TargetSettings } from '../config/settings.js'
import { LookUp } from '../workspace/look-up.js'
import type { Workspace } from '../workspace/workspace.js'

/** A signed-in workspace, shared by the targets of one profile. */
export interface SignedIn {
  readonly workspace: Workspace
  readonly identity: LookUp<string>
}

export interface WorkspacesOptions {
  /** Signs in as the target's host and profile say; called once for each such pair. */
  open: (target: TargetSettings) => Promise<Workspace & { close(): Promise<void> }>
  /** Ends what a workspace is asked: aborts when the proxy closes. */
  closing: AbortSignal
}

export class Workspaces {
  readonly #options: WorkspacesOptions
  readonly #held = new Map<string, SignedIn & { close: () => Promise<void> }>()

  constructor(options: WorkspacesOptions) {
    this.#options = options
  }

  /** Undefined for a static URL, which needs none. Errors: kind `config`. */
  async of(target: TargetSettings): Promise<SignedIn | undefined> {
    if (target.target.kind === 'static') return undefined
    const key = JSON.stringify([target.databricksHost, target.profile])
    const known = this.#held.get(key)
    if (known !== undefined) return known
    const { open, closing } = this.#options
    const workspace = await open(target)
    const signedIn = {
      workspace,
      identity: new LookUp(() => workspace.identity(closing)),
      close: () => workspace.close(),
    }
    this.#held.set(key, signedIn)
    return signedIn
  }

  async close(): Promise<void> {
    await Promise.all([...this.#held.values()].map((workspace) => workspace.close()))
  }
}
