/**
 * What of the user's shell and settings goes into the service: the arguments as given, the
 * variables that hold no secret, the directory that relative paths start from. A secret is left
 * out by name or refused, and never in silence.
 */

import type { ProxySettings } from '../../config/resolve/settings.js'
import { holdsPassword } from '../../config/schema/targets.js'
import { ProxyError } from '../../core/errors.js'
import type { Surroundings } from '../invocation/command.js'
import type { ServiceSpec } from './unit.js'

export interface InstallOptions {
  /** The TARGETs and flags of `start`, as given. */
  readonly args: readonly string[]
  /** What they come to, already checked. */
  readonly settings: Pick<ProxySettings, 'targets' | 'admin' | 'drainDelayMs' | 'drainTimeoutMs'>
}

/** Where `service install` was run. */
export type InstallingShell = Pick<Surroundings, 'env' | 'machine' | 'command' | 'stderr'>

export function notice({ stderr }: Pick<InstallingShell, 'stderr'>, text: string): void {
  stderr.write(`${text}\n`)
}

export function serviceSpec(
  { args, settings }: InstallOptions,
  shell: InstallingShell,
): ServiceSpec {
  if (shell.command.some((word) => /[\\/]_npx[\\/]/.test(word))) {
    throw new ProxyError(
      'config',
      'npx keeps lakebase-proxy in a cache that may be emptied any day',
      {
        hint: 'Install it to stay: npm install --global lakebase-proxy',
      },
    )
  }
  if (args.some((word) => holdsPassword(word))) {
    throw new ProxyError('config', 'a password would be written into the service', {
      hint: 'Put LAKEBASE_PG_URL into a file that only you can read and give --env-file FILE.',
    })
  }
  const { carried, left } = sortEnvironment(shell.env)
  leaveOutSignIn(carried, settings, shell)
  if (left.length > 0) {
    notice(
      shell,
      `not carried into the service, which is a plain file: ${left.join(', ')}. ` +
        'Use a profile, or put them into a file that only you can read and give --env-file FILE.',
    )
  }
  const { admin } = settings
  // A default admin port that is taken moves to a free one, where `wait` would not find it.
  const isMovable = admin !== undefined && 'port' in admin && admin.portIsDefault
  const fixed = isMovable ? ['--admin-port', String(admin.port)] : []
  return {
    command: shell.command,
    args: [...args, ...fixed],
    waitArgs: waitArgs(admin),
    environment: carried,
    workingDirectory: shell.machine.cwd,
    stopTimeoutMs: settings.drainDelayMs + settings.drainTimeoutMs + 10_000,
  }
}

/** A profile says which workspace it is for; the shell's own sign-in may be for another. */
function leaveOutSignIn(
  carried: Record<string, string>,
  { targets }: InstallOptions['settings'],
  shell: InstallingShell,
): void {
  const asking = targets.filter(({ target }) => target.kind !== 'static')
  if (asking.length === 0 || asking.some(({ profile }) => profile === undefined)) return
  const names = SIGN_IN.filter((name) => carried[name] !== undefined)
  if (names.length === 0) return
  for (const name of names) delete carried[name]
  notice(shell, `not carried into the service, where the profile says it: ${names.join(', ')}`)
}

const SIGN_IN = [
  ...['DATABRICKS_HOST', 'DATABRICKS_ACCOUNT_ID', 'DATABRICKS_CLIENT_ID'],
  ...['DATABRICKS_AUTH_TYPE', 'DATABRICKS_CONFIG_PROFILE'],
]

/** Undefined when only the running proxy knows its admin port, or has no admin interface. */
function waitArgs(admin: InstallOptions['settings']['admin']): string[] | undefined {
  if (admin === undefined) return undefined
  const wait = ['wait', '--timeout', '30s']
  if ('socket' in admin) return [...wait, '--admin-socket', admin.socket]
  if (admin.port === 0) return undefined
  return [...wait, '--admin-address', admin.address, '--admin-port', String(admin.port)]
}

// What the proxy reads from a shell that a service's environment would lack. PATH is among them
// because the Databricks CLI, which may be asked for tokens, is often in /opt/homebrew/bin.
const CARRIED = new Set(
  [
    'PATH NODE_EXTRA_CA_CERTS HTTPS_PROXY HTTP_PROXY NO_PROXY https_proxy http_proxy no_proxy',
    'DATABRICKS_HOST DATABRICKS_ACCOUNT_ID DATABRICKS_CLIENT_ID DATABRICKS_CONFIG_FILE',
    'DATABRICKS_CONFIG_PROFILE DATABRICKS_AUTH_TYPE DATABRICKS_CLI_PATH',
    'LAKEBASE_ENDPOINT LAKEBASE_INSTANCE',
  ].flatMap((names) => names.split(' ')),
)
// What else the proxy would have read: not carried, but not passed over in silence either.
const OURS = /^(DATABRICKS|LAKEBASE|ARM|AZURE)_/

function sortEnvironment(environment: Readonly<Record<string, string | undefined>>): {
  carried: Record<string, string>
  left: string[]
} {
  const carried: Record<string, string> = {}
  const left: string[] = []
  for (const [name, value] of Object.entries(environment).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (value === undefined || value === '') continue
    const setting = name.startsWith('LAKEBASE_PROXY_') && !name.endsWith('_PASSWORD')
    const wanted = setting || CARRIED.has(name)
    if (wanted && !holdsPassword(value) && !holdsProxyUser(name, value)) carried[name] = value
    else if (wanted || OURS.test(name)) left.push(name)
  }
  return { carried, left }
}

/** The address of an HTTP proxy needs no scheme, and what stands before its @ may be a token. */
function holdsProxyUser(name: string, value: string): boolean {
  return /^https?_proxy$/i.test(name) && value.includes('@')
}
