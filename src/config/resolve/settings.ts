import type { Secret } from '../../core/secret.js'
import type { Target } from '../schema/target-text.js'
import type { Network } from '../schema/values.js'

/** What settings depend on beside what was written. */
export interface Machine {
  readonly cwd: string
  readonly homeDir: string
  readonly hostname: string
  readonly platform: string
  /** Whether a person reads stderr. */
  readonly isTerminal: boolean
}

/** The settings of one target: those marked [t] in the table, resolved. Durations in milliseconds. */
export interface TargetSettings {
  /** The TARGET as the user wrote it, without its query and password: the name in logs and metrics. */
  readonly name: string
  readonly target: Target
  readonly address: readonly string[]
  /** 0 picks a free one. */
  readonly port: number
  readonly unixSocket: string | undefined
  readonly database: string
  /** `identity`, `client`, or the name of a role. */
  readonly user: string
  readonly readOnly: boolean
  readonly group: string | undefined
  readonly tokenTtlMs: number | undefined
  readonly databricksHost: string | undefined
  readonly profile: string | undefined
  readonly sslmode: 'verify-full' | 'verify-ca' | 'require'
  /** Path of a PEM file. */
  readonly sslrootcert: string | undefined
  readonly hostaddr: string | undefined
  readonly upstreamPort: number
  readonly autoStart: boolean
  readonly startTimeoutMs: number
  /** 0: no limit. */
  readonly maxConnections: number
  /** 0: never. */
  readonly idleTimeoutMs: number
  /** Networks of the load balancers that send the PROXY protocol; undefined: off. */
  readonly proxyProtocolFrom: readonly Network[] | undefined
  readonly localAuth: 'trust' | 'password'
  readonly warm: number
  readonly warmTtlMs: number
}

/** What clients show with `local-auth=password`: one password, or a file with one a line. */
export type LocalPassword = Secret | { readonly file: string }

/** The settings of the process, resolved and frozen. Durations in milliseconds. */
export interface ProxySettings {
  readonly targets: readonly TargetSettings[]
  /** DNS servers, `IP[:port]`. Empty: the system's servers, asked directly. */
  readonly resolver: readonly string[]
  readonly connectTimeoutMs: number
  /** In its place for clients of a server that is waking, where it is longer. */
  readonly wakeTimeoutMs: number
  readonly handshakeTimeoutMs: number
  readonly drainTimeoutMs: number
  readonly drainDelayMs: number
  readonly unreadyWhenFull: boolean
  readonly localPassword: LocalPassword | undefined
  readonly localTls: 'off' | 'auto' | { readonly cert: string; readonly key: string }
  readonly unsafeListen: boolean
  readonly admin:
    | {
        readonly address: string
        readonly port: number
        /** False when the user named the port: then a port in use is an error. */
        readonly portIsDefault: boolean
        readonly host: string | undefined
      }
    | undefined
  readonly logLevel: string
  readonly logFormat: 'pretty' | 'json'
  readonly quiet: boolean
}
