/**
 * The workspaces that targets need, each signed in once, however many targets it has. A target gets
 * its workspace at once and listens at once; who asks it anything waits until it is there.
 */

import type { TargetSettings } from '../config/resolve/settings.js'
import type {
  ConnectedWorkspace,
  PersonalWorkspace,
  Workspace,
} from '../databricks/lakebase/connect-workspace.js'
import { LookUp } from '../databricks/lakebase/look-up.js'
import type { PersonalSignIn } from '../databricks/lakebase/workspace.js'
import type { WorkspacePlace } from '../observe/observed-proxy.js'

export type ClosableWorkspace = Workspace &
  Pick<ConnectedWorkspace, 'describeSignIn' | 'signInAs' | 'close'>

/** A signed-in workspace, shared by the targets of one profile. */
export interface SignedIn {
  readonly workspace: Workspace
  readonly identity: LookUp<string>
  /** The same workspace for a client of a gateway. */
  readonly signInAs: (signIn: PersonalSignIn) => Promise<PersonalWorkspace>
  /** Known once it is opened. */
  readonly place: WorkspacePlace | undefined
}

export interface WorkspacesOptions {
  /** Signs in as the target's host and profile say; called once for each such pair. */
  open: (target: TargetSettings) => Promise<ClosableWorkspace>
  /** Aborts requests to workspaces when the proxy closes. */
  closing: AbortSignal
}

export class Workspaces {
  readonly #options: WorkspacesOptions
  readonly #held = new Map<string, SignedIn & { opening: Promise<ClosableWorkspace> }>()

  constructor(options: WorkspacesOptions) {
    this.#options = options
  }

  /** Undefined for a static URL, which needs no workspace. */
  of(target: TargetSettings): SignedIn | undefined {
    if (target.target.kind === 'static') return undefined
    const key = JSON.stringify([target.databricksHost, target.profile])
    const known = this.#held.get(key)
    if (known !== undefined) return known
    const { open, closing } = this.#options
    const opening = open(target)
    opening.catch(() => this.#held.delete(key)) // reported by `opened`; after a reload it may work
    const workspace = onceOpen(opening)
    const identity = new LookUp(() => workspace.identity(closing))
    let place: WorkspacePlace | undefined
    opening.then(
      (opened) => {
        const { host, profile } = opened.describeSignIn()
        place = { workspace: host, profile }
      },
      () => {},
    )
    const signedIn = {
      ...{ workspace, identity, opening },
      signInAs: async (signIn: PersonalSignIn) => (await opening).signInAs(signIn),
      get place() {
        return place
      },
    }
    this.#held.set(key, signedIn)
    return signedIn
  }

  /** Resolves when all are there. Errors: kind `config`, when the settings for signing in do not do. */
  async opened(): Promise<void> {
    await Promise.all([...this.#held.values()].map(({ opening }) => opening))
  }

  async close(): Promise<void> {
    const open = await Promise.allSettled([...this.#held.values()].map(({ opening }) => opening))
    await Promise.all(
      open.map((each) => (each.status === 'fulfilled' ? each.value.close() : undefined)),
    )
  }
}

/** A workspace whose requests wait until it is signed in to. */
function onceOpen(opening: Promise<Workspace>): Workspace {
  return {
    identity: async (...asked) => (await opening).identity(...asked),
    findDatabase: async (...asked) => (await opening).findDatabase(...asked),
    mintCredential: async (...asked) => (await opening).mintCredential(...asked),
    startDatabase: async (...asked) => (await opening).startDatabase(...asked),
    branches: async () => (await opening).branches(),
  }
}
