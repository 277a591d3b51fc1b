/**
 * The settings as the rest of the program reads them: parsed, checked and decided, so that no text
 * is interpreted again. A setting that needs no decision has its type from the table (`PlainSettings`).
 * Durations are in milliseconds.
 */

import type { Secret } from '../../core/secret.js'
import type { PlainSettings } from '../schema/setting-keys.js'
import type { Target } from '../schema/target-text.js'
import type { BranchSource, Network } from '../schema/values.js'

/** What the settings depend on, besides the text that was written. */
export interface Machine {
  readonly cwd: string
  readonly homeDir: string
  readonly hostname: string
  readonly platform: string
  /** Whether a person reads stderr. */
  readonly isTerminal: boolean
}

export interface TargetSettings extends PlainSettings<'target'> {
  /** Its name in logs, metrics and user names: the setting `name`, or else `text`. It is unique. */
  readonly name: string
  /** The TARGET as the user wrote it, without its query and password. */
  readonly text: string
  readonly target: Target
  /** At a port of its own, as the default of the port that serves all, or at that port by its name. */
  readonly reach: 'own port' | 'shared port' | 'name'
  /** The sockets on which clients reach it. */
  readonly listen: Listen
  /** The connection parameters that a user types to reach it. */
  readonly shownAs: ShownAs
  readonly login: Login
  /** How the server's certificate is verified: with its name, against its authority alone, not at all. */
  readonly verify: 'full' | 'ca' | 'none'
  /** Networks of the load balancers that send the PROXY protocol; undefined: off. */
  readonly proxyProtocolFrom: readonly Network[] | undefined
  /** Undefined when it always leads to the branch that it names. */
  readonly followGit: FollowGit | undefined
}

export type Login =
  /** The role of the identity that is signed in to the workspace. */
  | { readonly as: 'identity' }
  /** The role that each client names. */
  | { readonly as: 'client' }
  /** Each client is its own identity, or a group of it: `local-auth=databricks`. */
  | { readonly as: 'person' }
  /** `group`: a token of the group's role, which logs in as no other. */
  | { readonly as: 'role' | 'group'; readonly name: string }

export interface FollowGit {
  /** `projects/P` */
  readonly project: string
  /** The branch that new ones are made from; undefined: the default branch. */
  readonly source: string | undefined
  readonly create: boolean
  /** The working folder. */
  readonly folder: string
}

export interface Listen {
  readonly addresses: readonly string[]
  /** 0 picks a free one. */
  readonly port: number
  /** The folder of the Unix socket. */
  readonly unixSocket: string | undefined
}

export interface ShownAs {
  /** A name or an address. */
  readonly host: string
  /** 0: only the running proxy knows it. */
  readonly port: number
  /** `disable` where clients get no TLS. */
  readonly sslmode: 'disable' | 'require' | 'verify-full'
  /** The user name that chooses it, where the port serves several targets. */
  readonly user: string | undefined
}

/** A branch that is made for the life of the proxy. */
export interface NewBranchSettings extends BranchSource {
  /** The names of the targets that lead to it. */
  readonly targets: readonly string[]
  readonly ttlMs: number
  /** It is not deleted when the proxy ends. */
  readonly keep: boolean
  /** The working folder, whose git branch is in its name. */
  readonly folder: string
}

/** The password that clients must know with `local-auth=password`, or a file with one a line. */
export type LocalPassword = Secret | { readonly file: string }

/** The settings of the process, frozen. */
export interface ProxySettings extends PlainSettings<'process'> {
  readonly targets: readonly TargetSettings[]
  /** DNS servers, `IP[:port]`. Empty: the system's servers, asked directly. */
  readonly resolver: readonly string[]
  readonly localPassword: LocalPassword | undefined
  readonly localTls: 'off' | 'auto' | { readonly cert: string; readonly key: string }
  /** The socket of the admin interface; undefined without one. */
  readonly admin: AdminPort | AdminSocket | undefined
  readonly logFormat: 'pretty' | 'json'
  /** Undefined without `branch-from`. */
  readonly newBranch: NewBranchSettings | undefined
}

export interface AdminPort {
  readonly address: string
  readonly port: number
  /** False when the user named the port: then a port in use is an error. */
  readonly portIsDefault: boolean
  readonly host: string | undefined
}

export interface AdminSocket {
  readonly socket: string
}
