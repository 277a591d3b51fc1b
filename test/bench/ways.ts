/**
 * The ways to the far server that are compared: no proxy at all (the client's own TLS), stunnel,
 * PgBouncer and this proxy, each with what a careful user would set: TLS, the certificate and the
 * name verified.
 */

import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { findProgram, freePort, Process, unprivileged } from './processes.js'

/** `warm` is the proxy with two spare connections, `floor` the least that Node can do (floor.ts). */
export type WayName = 'direct' | 'stunnel' | 'pgbouncer' | 'proxy' | 'warm' | 'floor'

export interface Way {
  readonly name: WayName
  /** How psql and pgbench get there. */
  readonly env: Record<string, string>
  /** Where it listens; of `direct`, where the server does. */
  readonly port: number
  /** Undefined for `direct`. */
  readonly process: Process | undefined
}

/** A server to lead to: its address and what its certificate says. */
export interface Destination {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
  readonly sslrootcert: string
}

export const HOW_TO_INSTALL: Record<string, string> = {
  psql: 'apt-get install postgresql-client',
  pgbench: 'apt-get install postgresql (pgbench comes with the server on Debian)',
  stunnel: 'apt-get install stunnel4',
  pgbouncer: 'apt-get install pgbouncer',
}

/** Errors: its program is not installed. */
export async function startWay(name: WayName, to: Destination, folder: string): Promise<Way> {
  switch (name) {
    case 'direct':
      return { name, env: directEnv(to), port: to.port, process: undefined }
    case 'stunnel':
      return startStunnel([to], folder).then(([way]) => way!)
    case 'pgbouncer':
      return startPgbouncer(to, folder)
    case 'proxy':
      return startProxy([to], folder).then(([way]) => way!)
    case 'warm':
      return startWarmProxy(to, folder)
    case 'floor':
      return startFloor(to, folder)
  }
}

function directEnv({ host, port, sslrootcert }: Destination): Record<string, string> {
  return {
    PGHOST: host,
    PGHOSTADDR: '127.0.0.1',
    PGPORT: String(port),
    PGSSLMODE: 'verify-full',
    PGSSLROOTCERT: sslrootcert,
  }
}

function localEnv(port: number): Record<string, string> {
  return { PGHOST: '127.0.0.1', PGPORT: String(port), PGSSLMODE: 'disable' }
}

/** One process, a port for each destination. */
export async function startStunnel(to: readonly Destination[], folder: string): Promise<Way[]> {
  const ports = await Promise.all(to.map(freePort))
  const config = join(folder, `stunnel-${ports[0]}.conf`)
  const services = to.flatMap((destination, index) => [
    `[postgres-${index}]`,
    'client = yes',
    'protocol = pgsql',
    `accept = 127.0.0.1:${ports[index]}`,
    `connect = 127.0.0.1:${destination.port}`,
    'verifyChain = yes',
    `CAfile = ${destination.sslrootcert}`,
    `checkHost = ${destination.host}`,
    `sni = ${destination.host}`,
  ])
  await writeFile(config, `${['foreground = yes', 'pid =', ...services].join('\n')}\n`)
  const program = (await findProgram('stunnel4', 'stunnel'))!
  const process = new Process([program, config], join(folder, 'stunnel.log'))
  await Promise.all(ports.map((port) => process.listening(port)))
  return ports.map((port) => ({ name: 'stunnel', env: localEnv(port), port, process }))
}

async function startPgbouncer(to: Destination, folder: string): Promise<Way> {
  const program = (await findProgram('pgbouncer'))!
  const port = await freePort()
  const users = join(folder, `pgbouncer-${port}.users`)
  const config = join(folder, `pgbouncer-${port}.ini`)
  // It knows no hostaddr, and the name is in no DNS: so verify-ca here, one check less than the rest.
  const lines = [
    '[databases]',
    `* = host=127.0.0.1 port=${to.port}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'pool_mode = session',
    'auth_type = trust',
    `auth_file = ${users}`,
    'server_tls_sslmode = verify-ca',
    `server_tls_ca_file = ${to.sslrootcert}`,
    'default_pool_size = 100',
    'max_client_conn = 10000',
    'ignore_startup_parameters = extra_float_digits',
  ]
  await writeFile(config, `${lines.join('\n')}\n`)
  await writeFile(users, `"${to.user}" "${to.password}"\n`)
  await chmod(users, 0o644)
  const log = join(folder, 'pgbouncer.log')
  const process = new Process([program, config], log, { ...unprivileged() })
  await process.listening(port)
  return { name: 'pgbouncer', env: localEnv(port), port, process }
}

const FLOOR_PROGRAM = fileURLToPath(new URL('floor.js', import.meta.url))

async function startFloor(to: Destination, folder: string): Promise<Way> {
  const port = await freePort()
  const args = [port, to.port, to.host, to.sslrootcert, to.user, to.password, to.database]
  const command = [process.execPath, FLOOR_PROGRAM, ...args.map(String)]
  const floor = new Process(command, join(folder, 'floor.log'))
  await floor.listening(port)
  return { name: 'floor', env: localEnv(port), port, process: floor }
}

export const PROXY_PROGRAM = fileURLToPath(new URL('../../bundle/main.js', import.meta.url))

/** The command itself, with its defaults: one process, a port for each destination. */
export async function startProxy(to: readonly Destination[], folder: string): Promise<Way[]> {
  const ports = await Promise.all(to.map(freePort))
  const [only, ...others] = to
  const proxy =
    others.length === 0
      ? startProxyProcess(flags(only!, ports[0]!), folder)
      : startProxyProcess(['--config', await configFile(to, ports, folder)], folder)
  await Promise.all(ports.map((port) => proxy.listening(port)))
  return ports.map((port) => ({ name: 'proxy', env: localEnv(port), port, process: proxy }))
}

async function startWarmProxy(to: Destination, folder: string): Promise<Way> {
  const port = await freePort()
  const proxy = startProxyProcess([...flags(to, port), '--warm', '2'], folder)
  await proxy.listening(port)
  return { name: 'warm', env: localEnv(port), port, process: proxy }
}

function flags(to: Destination, port: number): string[] {
  const settings = ['--port', `${port}`, '--hostaddr', '127.0.0.1', '--admin-port', '0']
  return [urlOf(to), ...settings, '--sslrootcert', to.sslrootcert]
}

async function configFile(
  to: readonly Destination[],
  ports: readonly number[],
  folder: string,
): Promise<string> {
  const targets = to.map((destination, index) => ({
    target: urlOf(destination),
    port: ports[index],
    hostaddr: '127.0.0.1',
    sslrootcert: destination.sslrootcert,
  }))
  const path = join(folder, `proxy-${ports[0]}.yaml`)
  // JSON is YAML.
  await writeFile(path, JSON.stringify({ 'admin-port': 0, targets }), { mode: 0o600 })
  return path
}

function urlOf({ host, port, user, password, database }: Destination): string {
  return `postgresql://${user}:${encodeURIComponent(password)}@${host}:${port}/${database}`
}

export function startProxyProcess(
  args: readonly string[],
  folder: string,
  env: Readonly<Record<string, string>> = {},
): Process {
  const command = [process.execPath, PROXY_PROGRAM, 'start', ...args]
  return new Process(command, join(folder, 'proxy.log'), { env: { ...process.env, ...env } })
}
