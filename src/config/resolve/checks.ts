/** What one setting of a target demands of another, or of this machine. */

import { join } from 'node:path'
import { isThisMachine } from '../../core/loopback.js'
import type { Values } from '../schema/table.js'
import type { Problems } from '../sources/problems.js'
import type { KnownTarget } from './known-target.js'
import { checkCertificates } from './local-access.js'
import type { SettingLookup } from './setting-lookup.js'
import type { Machine, ProxySettings, TargetSettings } from './settings.js'

// The shortest limit of the systems we run on: macOS's sun_path, less its zero byte.
const LONGEST_SOCKET_PATH = 103

/** The socket of the admin interface takes the place of its port: only one of them can be meant. */
export function checkAdminSocket(
  path: string,
  { machine, lookup, problems }: { machine: Machine; lookup: SettingLookup; problems: Problems },
): void {
  const where = lookup.find('admin-socket')?.where ?? 'admin-socket'
  checkSocketPath(path, where, machine, problems)
  for (const name of ['admin-port', 'admin-address', 'admin-host', 'no-admin'] as const) {
    const other = lookup.find(name)
    if (other === undefined) continue
    problems.add(
      where,
      `admin-socket cannot be combined with ${name} (${other.where})`,
      'The admin interface is at one place: leave one of them out.',
    )
  }
}

function checkSocketPath(path: string, where: string, machine: Machine, problems: Problems): void {
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
  known: KnownTarget,
  values: Values,
  given: { settings: ProxySettings; machine: Machine; lookup: SettingLookup; problems: Problems },
): void {
  const { machine, lookup, problems } = given

  if (target.verify === 'none' && !values['unsafe-sslmode-require']) {
    problems.add(
      lookup.whereOf('sslmode', known),
      'sslmode=require does not verify the server, which then may read the token',
      'Leave sslmode out, or say --unsafe-sslmode-require too.',
    )
  }
  if (target.sslrootcert !== undefined) {
    checkCertificates('sslrootcert', target.sslrootcert, lookup, problems, known)
  }
  const { unixSocket, port } = target.listen
  if (unixSocket !== undefined) {
    const path = join(unixSocket, `.s.PGSQL.${port || 65_535}`)
    checkSocketPath(path, lookup.whereOf('unix-socket', known), machine, problems)
  }
  const { target: upstream } = target
  if (upstream.kind === 'static' && isThisMachine(upstream.host, machine.hostname)) {
    const itself = given.settings.targets.some(({ listen }) => listen.port === target.upstreamPort)
    if (itself) {
      problems.add(
        lookup.whereOf('upstream-port', known),
        `target "${target.name}" is this proxy's own port ${target.upstreamPort}`,
        'Name the database, not the proxy, or listen at another port with --port.',
      )
    }
  }
}
