/** What settings demand of one another, and of this machine. */

import { join } from 'node:path'
import { isThisMachine } from '../../core/loopback.js'
import { ValueError } from '../schema/values.js'
import { VARIABLES } from '../schema/variables.js'
import { readWorkspaceUrl } from '../schema/workspace-url.js'
import type { EnvFile } from '../sources/env-file.js'
import type { Written } from '../sources/sources.js'
import { checkCertificates } from './local-access.js'
import type { SettingLookup, TargetLookup } from './setting-lookup.js'
import type { ProxySettings, TargetSettings } from './settings.js'

// The shortest limit of the systems we run on: macOS's sun_path, less its zero byte.
const LONGEST_SOCKET_PATH = 103

/** The socket of the admin interface takes the place of its port: only one of them can be meant. */
export function checkAdminSocket(path: string, lookup: SettingLookup): void {
  checkSocketPath(path, lookup.whereOf('admin-socket'), lookup)
  for (const name of ['admin-port', 'admin-address', 'admin-host', 'no-admin'] as const) {
    const other = lookup.find(name)
    if (other === undefined) continue
    lookup.refuse(
      'admin-socket',
      `admin-socket cannot be combined with ${name} (${other.where})`,
      'The admin interface is at one place: leave one of them out.',
    )
  }
}

function checkSocketPath(path: string, where: string, { machine, problems }: SettingLookup): void {
  if (machine.platform === 'win32') {
    problems.add(where, 'Unix sockets are not offered on Windows')
  } else if (Buffer.byteLength(path) > LONGEST_SOCKET_PATH) {
    problems.add(
      where,
      `the path of the socket would be longer than the ${LONGEST_SOCKET_PATH} bytes it may have`,
      'Choose a folder with a shorter path.',
    )
  }
}

export function checkTarget(
  target: TargetSettings,
  settings: ProxySettings,
  lookup: TargetLookup,
): void {
  if (target.verify === 'none' && !settings.unsafeSslmodeRequire) {
    lookup.refuse(
      'sslmode',
      'sslmode=require does not verify the server, which then may read the token',
      'Leave sslmode out, or say --unsafe-sslmode-require too.',
    )
  }
  if (target.sslrootcert !== undefined) {
    checkCertificates('sslrootcert', target.sslrootcert, lookup)
  }
  const { unixSocket, port } = target.listen
  if (unixSocket !== undefined) {
    const path = join(unixSocket, `.s.PGSQL.${port || 65_535}`)
    checkSocketPath(path, lookup.whereOf('unix-socket'), lookup)
  }
  const { target: upstream } = target
  if (upstream.kind === 'static' && isThisMachine(upstream.host, lookup.machine.hostname)) {
    const itself = settings.targets.some(({ listen }) => listen.port === target.upstreamPort)
    if (itself) {
      lookup.refuse(
        'upstream-port',
        `target "${target.name}" is this proxy's own port ${target.upstreamPort}`,
        'Name the database, not the proxy, or listen at another port with --port.',
      )
    }
  }
}

type Environment = Readonly<Record<string, string | undefined>>

/**
 * DATABRICKS_HOST is read as `databricks-host` is, and a secret of the environment must not be sent
 * to a host that only an implicit `.env` names.
 */
export function checkHosts(
  lookups: readonly SettingLookup[],
  file: EnvFile | undefined,
  environment: Environment,
): void {
  const credential = [...VARIABLES].find(
    ([name, { isCredential }]) => isCredential && (environment[name] ?? '') !== '',
  )
  for (const lookup of lookups) {
    if (lookup.known?.target.kind === 'static') continue
    const set = lookup.find('databricks-host')
    const host = set ?? hostVariable(file, environment)
    if (host === undefined) continue
    try {
      readWorkspaceUrl(host.text)
    } catch (error) {
      if (!(error instanceof ValueError)) throw error
      const name = set === undefined ? 'DATABRICKS_HOST' : 'databricks-host'
      lookup.problems.add(host.where, `${name} ${error.message}`, error.hint)
    }
    if (host.isImplicit && credential !== undefined) {
      lookup.problems.add(
        host.where,
        `${credential[0]} of the environment would be sent to a host that only .env names`,
        'Set DATABRICKS_HOST in the environment too, or name the file: --env-file .env',
      )
    }
  }
}

function hostVariable(
  file: EnvFile | undefined,
  environment: Environment,
): Pick<Written, 'text' | 'where' | 'isImplicit'> | undefined {
  const name = 'DATABRICKS_HOST'
  if (environment[name]) return { text: environment[name], where: name }
  const text = file?.values[name]
  if (file === undefined || !text) return undefined
  return { text, where: file.where(name), isImplicit: file.isImplicit ?? false }
}
