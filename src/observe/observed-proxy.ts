/** What observe/ sees of the running proxy. daemon/ implements it. */

import type { TargetSettings } from '../config/resolve/settings.js'
import type { ProxyError } from '../core/errors.js'
import type { Credentials } from '../credentials/credentials.js'
import type { LakebaseDatabase } from '../databricks/lakebase/workspace.js'
import type { Listener } from '../listener/listener.js'
import type { TargetSessions } from '../listener/target-sessions.js'
import type { Spares } from '../upstream/spares.js'

export interface ObservedProxy {
  readonly phase: ProxyPhase
  readonly targets: readonly ObservedTarget[]
  /** The setting: a target at its max-connections is not ready. */
  readonly unreadyWhenFull: boolean
  /** Path of the CA that verifies `local-tls=auto`. */
  readonly localCaFile: string | undefined
}

export interface ObservedTarget {
  readonly settings: TargetSettings
  /** The workspace identity's role, once known. */
  readonly identity: string | undefined
  /** Where it was signed in, once known; undefined for a static URL. */
  readonly workspace: WorkspacePlace | undefined
  /** The latest description by the workspace; undefined for a static URL. */
  readonly database: LakebaseDatabase | undefined
  readonly credentials: Pick<Credentials, 'state' | 'expiresAt'>
  /** Where clients reach it. */
  readonly listener: Pick<Listener, 'port' | 'addresses'>
  readonly sessions: Pick<TargetSessions, 'admitted' | 'isFull'>
  /** Undefined with `warm=0`. */
  readonly spares: Pick<Spares, 'held' | 'hits'> | undefined
  /** How long clients have waited for the server to wake; undefined when none waits. */
  readonly wakingSeconds: number | undefined
  /** Set with `follow-git`. The other fields then describe the branch that the next client goes to. */
  readonly following?: Following
  /** Looks where the next client goes. Never rejects. */
  look?(): Promise<void>
}

export interface Following {
  /** False: the branch does not exist, or not yet. */
  readonly isKnown: boolean
  readonly isReadOnly: boolean
  /** The error that the next client gets. */
  readonly refusal: ProxyError | undefined
}

export interface WorkspacePlace {
  /** Its URL. */
  readonly workspace: string
  readonly profile: string | undefined
}

export type ProxyPhase = 'starting' | 'running' | 'stopping'
