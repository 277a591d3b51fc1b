/**
 * The settings as the rest of the program reads them: parsed, checked and decided, so that no text
 * is interpreted again. What the table passes on as it is, is typed by the table. Durations are in
 * milliseconds.
 */

import type { Secret } from '../../core/secret.js'
import type { PlainSettings } from '../schema/setting-keys.js'
import type { Target } from '../schema/target-text.js'
import type { BranchSource, Network } from '../schema/values.js'
import type { Login } from './login.js'

/** What settings depend on beside what was written. */
export interface Machine {
  readonly cwd: string
  readonly homeDir: string
  readonly hostname: string
  readonly platform: string
  /** Whether a person reads stderr. */
  readonly isTerminal: boolean
}

/** The settings of one target. */
export interface TargetSettings extends PlainSettings<true> {
  /** In logs, metrics and user names: what `name` says, else `text`. No two have the same. */
  readonly name: string
  /** The TARGET as the user wrote it, without its query and password. */
  readonly text: string
  readonly target: Target
  /** How clients reach it: at a port of its own, at the port that serves all, or by its name at that. */
  readonly reach: 'own port' | 'shared port' | 'name'
  /** Where that is. */
  readonly listen: Listen
  /** What a user types to get there. */
  readonly shownAs: ShownAs
  readonly login: Login
  /** How the server's certificate is verified: with its name, against its authority alone, not at all. */
  readonly verify: 'full' | 'ca' | 'none'
  /** Networks of the load balancers that send the PROXY protocol; undefined: off. */
  readonly proxyProtocolFrom: readonly Network[] | undefined
  /** Undefined: it stays with the branch that it names. */
  readonly followGit: FollowGit | undefined
}

export interface FollowGit {
  /** `projects/P` */
  readonly project: string
  /** What branches are made from; undefined: the default branch. */
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
  /** The user name that chooses it, where the port serves several. */
  readonly user: string | undefined
}

/** A branch that is made for the life of the proxy. */
export interface NewBranchSettings extends BranchSource {
  /** Names of those that are served from it. */
  readonly targets: readonly string[]
  readonly ttlMs: number
  /** It outlives the proxy. */
  readonly keep: boolean
  /** The working folder, whose git branch is in its name. */
  readonly folder: string
}

/** What clients show with `local-auth=password`: one password, or a file with one a line. */
export type LocalPassword = Secret | { readonly file: string }

/** The settings of the process, frozen. */
export interface ProxySettings extends PlainSettings<false> {
  readonly targets: readonly TargetSettings[]
  /** DNS servers, `IP[:port]`. Empty: the system's servers, asked directly. */
  readonly resolver: readonly string[]
  readonly localPassword: LocalPassword | undefined
  readonly localTls: 'off' | 'auto' | { readonly cert: string; readonly key: string }
  /** Where the admin interface is; undefined without one. */
  readonly admin: AdminPort | AdminSocket | undefined
  readonly logFormat: 'pretty' | 'json'
  /** Undefined when no target is served from one. */
  readonly newBranch: NewBranchSettings | undefined
}

export interface AdminPort {
  readonly address: string
  readonly port: number
  /** False when the user named the port: then a port in use is an error. */
  readonly portIsDefault: boolean
  readonly host: string | undefined
}

/** A Unix socket that only this user can use. */
export interface AdminSocket {
  readonly socket: string
}
