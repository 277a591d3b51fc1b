/**
 * The one table of settings. Flags, variables, file keys, the options of a TARGET's query, the
 * library's options, their types, the help text and the table of docs/settings.md all come from it.
 */

import { PROCESS_SETTINGS } from './process-settings.js'
import {
  DEFAULT_PORT_ONLY,
  DIALS,
  FREE,
  LOOPBACK_ONLY,
  once,
  only,
  PROTECTION,
  perTarget,
  type Setting,
  TRUST,
} from './setting.js'
import {
  branchSource,
  choice,
  dnsServers,
  duration,
  ipAddress,
  ipAddresses,
  type Kind,
  networks,
  shortName,
  switched,
  text,
  wholeNumber,
} from './values.js'
import { workspaceUrl } from './workspace-url.js'

const MAX_PORT = 65_535

/** By section, as the help text shows them. */
export const SECTIONS = {
  'Where clients connect': {
    address: perTarget({
      kind: ipAddresses,
      default: 'localhost',
      help: 'addresses to listen at; localhost is 127.0.0.1 and ::1',
      dotenv: LOOPBACK_ONLY,
      into: 'listen',
    }),
    port: perTarget({
      kind: wholeNumber('port', MAX_PORT),
      default: '5432',
      help: 'port to listen at, +1 for each further target; 0 picks a free one and prints it',
      dotenv: FREE,
      into: 'listen',
    }),
    name: perTarget({
      kind: shortName,
      default: undefined,
      help: 'short name of the target: for route, logs, metrics and the status page',
      dotenv: FREE,
      into: 'name',
    }),
    route: once({
      kind: choice('how', 'off', 'on', 'required'),
      default: 'off',
      help: "off: a port for each target; on: the first target's port serves all, chosen by the user name; required: each client must choose",
      dotenv: FREE,
      reload: 'target',
    }),
    'unix-socket': perTarget({
      kind: text('folder', true),
      default: undefined,
      help: 'a folder: also listen at .s.PGSQL.<port> in it, for this user only',
      dotenv: FREE,
      into: 'listen',
    }),
    'local-auth': perTarget({
      kind: choice('how', 'trust', 'password', 'databricks'),
      default: 'trust',
      help: 'trust: clients show nothing; password: they show one (SCRAM-SHA-256); databricks: each is its own identity',
      dotenv: only('password'),
    }),
    'local-password-file': once({
      kind: text('file', true),
      default: undefined,
      help: 'file with passwords, one a line, read again on change; else LAKEBASE_PROXY_LOCAL_PASSWORD',
      dotenv: PROTECTION,
      into: 'localPassword',
      reload: 'all targets',
    }),
    'local-tls': once({
      kind: choice('how', 'off', 'auto'),
      default: 'off',
      help: 'off, or auto: offer clients TLS with a certificate of our own, whose CA is printed',
      dotenv: only('auto'),
      into: 'localTls',
      reload: 'all targets',
    }),
    'local-tls-cert': once({
      kind: text('file', true),
      default: undefined,
      help: 'offer clients TLS with this certificate (PEM), read again on change',
      dotenv: PROTECTION,
      into: 'localTls',
      reload: 'all targets',
    }),
    'local-tls-key': once({
      kind: text('file', true),
      default: undefined,
      help: 'key of that certificate (PEM)',
      dotenv: PROTECTION,
      into: 'localTls',
      reload: 'all targets',
    }),
    'proxy-protocol': perTarget({
      kind: choice('how', 'off', 'on'),
      default: 'off',
      help: 'on: load balancers say who the client is, by the PROXY protocol (version 1 or 2)',
      dotenv: PROTECTION,
      into: 'proxyProtocolFrom',
    }),
    'proxy-protocol-from': once({
      kind: networks,
      default: '127.0.0.0/8,::1/128',
      help: 'addresses or networks of these load balancers: they must send it, all others must not',
      dotenv: PROTECTION,
      into: 'proxyProtocolFrom',
      reload: 'target',
    }),
    'unsafe-listen': once({
      kind: switched,
      default: 'false',
      help: 'listen beyond this machine without local-tls and a local-auth that asks for a password',
      dotenv: PROTECTION,
      reload: 'all targets',
    }),
  },
  Lakebase: {
    database: perTarget({
      kind: text('name'),
      default: 'databricks_postgres',
      help: "the database when the client names none, or one that is its user's name and does not exist",
      dotenv: FREE,
    }),
    user: perTarget({
      kind: text('role'),
      default: 'identity',
      help: 'role to log in as: identity (of the workspace), client (what the client typed), or a name',
      dotenv: FREE,
      into: 'login',
    }),
    'read-only': perTarget({
      kind: switched,
      default: 'false',
      help: 'use the read-only host',
      dotenv: only(true),
    }),
    group: perTarget({
      kind: text('name'),
      default: undefined,
      help: "log in as this workspace group's role (Autoscaling)",
      dotenv: FREE,
      into: 'login',
    }),
    'token-ttl': perTarget({
      kind: duration(5 * 60_000, 60 * 60_000),
      default: undefined,
      help: 'life to ask for a token, 5m to 1h (Autoscaling); else the server decides',
      dotenv: FREE,
    }),
    'databricks-host': perTarget({
      kind: workspaceUrl,
      default: undefined,
      help: "the workspace; else DATABRICKS_HOST or the profile's",
      dotenv: FREE,
    }),
    profile: perTarget({
      kind: text('name'),
      default: undefined,
      help: 'profile of ~/.databrickscfg; else DATABRICKS_CONFIG_PROFILE',
      dotenv: FREE,
    }),
    sslmode: perTarget({
      kind: choice('mode', 'verify-full', 'verify-ca', 'require'),
      default: 'verify-full',
      help: 'verify-full, verify-ca (not the name) or require (nothing: needs unsafe-sslmode-require)',
      dotenv: only('verify-full'),
      into: 'verify',
    }),
    'unsafe-sslmode-require': once({
      kind: switched,
      default: 'false',
      help: 'allow sslmode=require, which anybody on the way can read',
      dotenv: PROTECTION,
      reload: 'at once',
    }),
    sslrootcert: perTarget({
      kind: text('file', true),
      default: undefined,
      help: "CA certificates (PEM); else Node's, NODE_EXTRA_CA_CERTS and the system's",
      dotenv: TRUST,
    }),
    hostaddr: perTarget({
      kind: ipAddress,
      default: undefined,
      help: 'address to dial; the host stays the name that is verified',
      dotenv: DIALS,
    }),
    'upstream-port': perTarget({
      kind: wholeNumber('port', MAX_PORT, 1),
      default: '5432',
      help: 'port to dial',
      dotenv: DEFAULT_PORT_ONLY,
    }),
    resolver: once({
      kind: dnsServers,
      default: undefined,
      help: "DNS servers to ask when the system's lookup fails or takes 1 s; else the system's, directly",
      dotenv: DIALS,
      into: 'resolver',
      reload: 'all targets',
    }),
    'auto-start': perTarget({
      kind: switched,
      default: 'false',
      help: 'start a stopped Provisioned instance when a client connects',
      dotenv: FREE,
    }),
    warm: perTarget({
      kind: wholeNumber('count', 100),
      default: '0',
      help: 'spare logged-in connections held ready for the next clients',
      dotenv: FREE,
    }),
    'warm-ttl': perTarget({
      kind: duration(1000),
      default: '30s',
      help: 'how long after the last use they are held',
      dotenv: FREE,
    }),
  },
  Branches: {
    'branch-from': once({
      kind: branchSource,
      default: undefined,
      help: 'work on a new branch of projects/P[/branches/B], which is deleted at the end',
      dotenv: FREE,
      into: 'newBranch',
      reload: 'restart',
    }),
    'branch-ttl': once({
      kind: duration(5_000, 30 * 24 * 3_600_000),
      default: '2h',
      help: 'its life, extended while the proxy runs: when the proxy is gone, so is the branch',
      dotenv: FREE,
      into: 'newBranch',
      reload: 'restart',
    }),
    'follow-git': perTarget({
      kind: choice('how', 'off', 'existing', 'create'),
      default: 'off',
      help: 'serve the branch that belongs to the git branch of the working folder; create: make it, for 7 days',
      dotenv: FREE,
      into: 'followGit',
    }),
    'keep-branch': once({
      kind: switched,
      default: 'false',
      help: 'keep it for 7 days instead, or for as long as the workspace allows',
      dotenv: FREE,
      into: 'newBranch',
      reload: 'restart',
    }),
  },
  'Limits and time-outs': {
    'run-connection-test': once({
      kind: switched,
      default: 'false',
      help: 'log in to every target before listening; exit with 1 and the reason when one fails',
      dotenv: FREE,
      reload: 'at once',
    }),
    'connect-timeout': once({
      kind: duration(100),
      default: '10s',
      help: "from a client's StartupMessage to its login at the server",
      dotenv: FREE,
      reload: 'all targets',
    }),
    'wake-timeout': once({
      kind: duration(100),
      default: '60s',
      help: 'the same, for a server that is waking or on a branch younger than 5 minutes',
      dotenv: FREE,
      reload: 'all targets',
    }),
    'handshake-timeout': once({
      kind: duration(100),
      default: '10s',
      help: 'from accept until a client has said who it is, local password included',
      dotenv: FREE,
      reload: 'all targets',
    }),
    'start-timeout': perTarget({
      kind: duration(1000),
      default: '10m',
      help: 'with auto-start: how long clients are held while the instance starts',
      dotenv: FREE,
    }),
    'max-connections': perTarget({
      kind: wholeNumber('count', 1_000_000),
      default: '0',
      help: 'clients at a time; above it they get 53300; 0: no limit',
      dotenv: FREE,
    }),
    'max-connections-per-user': perTarget({
      kind: wholeNumber('count', 1_000_000),
      default: '0',
      help: 'the same of one identity, with local-auth=databricks; 0: no limit',
      dotenv: FREE,
    }),
    'unready-when-full': once({
      kind: switched,
      default: 'false',
      help: 'readiness goes red at max-connections',
      dotenv: FREE,
      reload: 'at once',
    }),
    'idle-timeout': perTarget({
      kind: duration(),
      default: '0s',
      help: 'close a session with no bytes either way for so long; 0s: never',
      dotenv: FREE,
    }),
    'drain-timeout': once({
      kind: duration(),
      default: '30s',
      help: 'how long running sessions get on SIGTERM and SIGINT',
      dotenv: FREE,
      reload: 'at once',
    }),
    'drain-delay': once({
      kind: duration(),
      default: '0s',
      help: 'go on serving for so long first, with readiness already red',
      dotenv: FREE,
      reload: 'at once',
    }),
  },
  'The process': PROCESS_SETTINGS,
}

export const SETTINGS = {
  ...SECTIONS['Where clients connect'],
  ...SECTIONS.Lakebase,
  ...SECTIONS.Branches,
  ...SECTIONS['Limits and time-outs'],
  ...SECTIONS['The process'],
}

export type SettingName = keyof typeof SETTINGS

type ValueOf<S extends Setting> =
  S['kind'] extends Kind<infer T, never> ? (S['default'] extends string ? T : T | undefined) : never

/** The parsed value of every setting. */
export type Values = { readonly [Name in SettingName]: ValueOf<(typeof SETTINGS)[Name]> }

export type TargetSettingName = {
  [Name in SettingName]: (typeof SETTINGS)[Name]['perTarget'] extends true ? Name : never
}[SettingName]

export const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[]

export const TARGET_SETTING_NAMES = SETTING_NAMES.filter((name) => SETTINGS[name].perTarget)

export function isSettingName(name: string): name is SettingName {
  return Object.hasOwn(SETTINGS, name)
}

/** `drain-timeout` is `LAKEBASE_PROXY_DRAIN_TIMEOUT`. */
export function variableOf(name: string): string {
  return `LAKEBASE_PROXY_${name.replaceAll('-', '_').toUpperCase()}`
}
