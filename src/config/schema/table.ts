/**
 * The one table of settings. Flags, variables, file keys, the options of a TARGET's query, the
 * library's options, their types, the help text and the README's table all come from it.
 */

import {
  choice,
  dnsServers,
  duration,
  ipAddress,
  ipAddresses,
  type Kind,
  switched,
  targetTexts,
  text,
  wholeNumber,
  workspaceUrl,
} from './values.js'

export interface Setting<
  T,
  Option,
  Default extends string | undefined = string | undefined,
  PerTarget extends boolean = boolean,
> {
  readonly kind: Kind<T, Option>
  /** As a user would write it. */
  readonly default: Default
  /** May stand in a TARGET's query, and in a map of the file's `targets`. */
  readonly perTarget: PerTarget
  readonly help: string
}

const MAX_PORT = 65_535

/** By section, as the help text shows them. */
export const SECTIONS = {
  'Where clients connect': {
    address: perTarget(
      ipAddresses,
      'localhost',
      'addresses to listen at; localhost is 127.0.0.1 and ::1',
    ),
    port: perTarget(
      wholeNumber('port', MAX_PORT),
      '5432',
      'port to listen at, +1 for each further target; 0 picks a free one and prints it',
    ),
    'unix-socket': perTarget(
      text('folder', true),
      undefined,
      'a folder: also listen at .s.PGSQL.<port> in it, for this user only',
    ),
    'local-auth': perTarget(
      choice('how', 'trust', 'password'),
      'trust',
      'trust: clients show nothing; password: they show one (SCRAM-SHA-256)',
    ),
    'local-password-file': once(
      text('file', true),
      undefined,
      'file with that password; else LAKEBASE_PROXY_LOCAL_PASSWORD',
    ),
    'local-tls': once(
      choice('how', 'off', 'auto'),
      'off',
      'off, or auto: offer clients TLS with a certificate of our own, whose CA is printed',
    ),
    'local-tls-cert': once(
      text('file', true),
      undefined,
      'offer clients TLS with this certificate (PEM)',
    ),
    'local-tls-key': once(text('file', true), undefined, 'key of that certificate (PEM)'),
    'unsafe-listen': once(
      switched,
      'false',
      'listen beyond this machine without local-auth=password and local-tls',
    ),
  },
  Lakebase: {
    database: perTarget(
      text('name'),
      'databricks_postgres',
      "the database when the client names none, or one that is its user's name and does not exist",
    ),
    user: perTarget(
      text('role'),
      'identity',
      'role to log in as: identity (of the workspace), client (what the client typed), or a name',
    ),
    'read-only': perTarget(switched, 'false', 'use the read-only host'),
    group: perTarget(
      text('name'),
      undefined,
      "log in as this workspace group's role (Autoscaling)",
    ),
    'token-ttl': perTarget(
      duration(5 * 60_000, 60 * 60_000),
      undefined,
      'life to ask for a token, 5m to 1h (Autoscaling); else the server decides',
    ),
    'databricks-host': perTarget(
      workspaceUrl,
      undefined,
      "the workspace; else DATABRICKS_HOST or the profile's",
    ),
    profile: perTarget(
      text('name'),
      undefined,
      'profile of ~/.databrickscfg; else DATABRICKS_CONFIG_PROFILE',
    ),
    sslmode: perTarget(
      choice('mode', 'verify-full', 'verify-ca', 'require'),
      'verify-full',
      'verify-full, verify-ca (not the name) or require (nothing: needs unsafe-sslmode-require)',
    ),
    'unsafe-sslmode-require': once(
      switched,
      'false',
      'allow sslmode=require, which anybody on the way can read',
    ),
    sslrootcert: perTarget(
      text('file', true),
      undefined,
      "CA certificates (PEM); else Node's, NODE_EXTRA_CA_CERTS and the system's",
    ),
    hostaddr: perTarget(
      ipAddress,
      undefined,
      'address to dial; the host stays the name that is verified',
    ),
    'upstream-port': perTarget(wholeNumber('port', MAX_PORT, 1), '5432', 'port to dial'),
    resolver: once(
      dnsServers,
      undefined,
      "DNS servers to ask when the system's lookup fails or takes 1 s; else the system's, directly",
    ),
    'auto-start': perTarget(
      switched,
      'false',
      'start a stopped Provisioned instance when a client connects',
    ),
    warm: perTarget(
      wholeNumber('count', 100),
      '0',
      'spare logged-in connections held ready for the next clients',
    ),
    'warm-ttl': perTarget(duration(1000), '30s', 'how long after the last use they are held'),
  },
  'Limits and time-outs': {
    'connect-timeout': once(
      duration(100),
      '10s',
      "from a client's StartupMessage to its login at the server",
    ),
    'handshake-timeout': once(
      duration(100),
      '10s',
      'from accept until a client has said who it is, local password included',
    ),
    'start-timeout': perTarget(
      duration(1000),
      '10m',
      'with auto-start: how long clients are held while the instance starts',
    ),
    'max-connections': perTarget(
      wholeNumber('count', 1_000_000),
      '0',
      'clients at a time; above it they get 53300; 0: no limit',
    ),
    'idle-timeout': perTarget(
      duration(),
      '0s',
      'close a session with no bytes either way for so long; 0s: never',
    ),
    'drain-timeout': once(duration(), '30s', 'how long running sessions get on SIGTERM and SIGINT'),
    'drain-delay': once(
      duration(),
      '0s',
      'go on serving for so long first, with readiness already red',
    ),
  },
  'The process': {
    config: once(text('file', true), undefined, 'YAML file of settings'),
    'env-file': once(
      text('file', true),
      undefined,
      'file of variables; else .env of the working folder',
    ),
    'admin-address': once(ipAddress, '127.0.0.1', 'address of the status page and metrics'),
    'admin-port': once(
      wholeNumber('port', MAX_PORT),
      '9090',
      'their port; 0 picks a free one; the default moves to a free one when taken',
    ),
    'admin-host': once(text('name'), undefined, 'a further Host name to accept there'),
    'no-admin': once(switched, 'false', 'no admin port'),
    'log-level': once(
      choice('level', 'trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
      'info',
      'trace, debug, info, warn, error, fatal or silent; the log goes to stderr',
    ),
    'log-format': once(
      choice('form', 'pretty', 'json'),
      undefined,
      'pretty or json; else pretty on a terminal and json elsewhere',
    ),
    quiet: once(switched, 'false', 'no banner, and no line for each session'),
    targets: once(targetTexts, undefined, 'the targets, where the command line names none'),
  },
}

export const SETTINGS = {
  ...SECTIONS['Where clients connect'],
  ...SECTIONS.Lakebase,
  ...SECTIONS['Limits and time-outs'],
  ...SECTIONS['The process'],
}

export type SettingName = keyof typeof SETTINGS

type ValueOf<S> =
  S extends Setting<infer T, never, infer D, boolean>
    ? D extends string
      ? T
      : T | undefined
    : never

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

function perTarget<T, Option, const Default extends string | undefined>(
  kind: Kind<T, Option>,
  byDefault: Default,
  help: string,
): Setting<T, Option, Default, true> {
  return { kind, default: byDefault, perTarget: true, help }
}

/** A setting of the whole process. */
function once<T, Option, const Default extends string | undefined>(
  kind: Kind<T, Option>,
  byDefault: Default,
  help: string,
): Setting<T, Option, Default, false> {
  return { kind, default: byDefault, perTarget: false, help }
}
