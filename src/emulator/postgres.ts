/**
 * A real PostgreSQL in a folder of its own under the system's temporary one: made at start, gone at
 * close. It is reached only through a Unix socket in that folder (0700), where identities are
 * trusted, since the front door before it has checked their token; on Windows through a loopback
 * port, with a random password. A watchdog ends it when this process dies without closing it.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chown, readFile, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { platform, userInfo } from 'node:os'
import { join } from 'node:path'

import { ProxyError } from '../core/errors.js'
import { findPostgresBinaries, type RunAs } from './postgres-binaries.js'
import { simpleQuery } from './simple-query.js'

/** A role that logs in with a Postgres password rather than a token. */
export interface NativeRole {
  readonly name: string
  readonly password: string
  /** How PostgreSQL asks for it. */
  readonly method: 'scram-sha-256' | 'password'
}

export interface PostgresOptions {
  /** An existing folder, ours alone; handed to the unprivileged user when we are root. */
  directory: string
  /** Roles of identities. */
  roles: readonly string[]
  nativeRoles: readonly NativeRole[]
  databases: readonly string[]
  maxConnections: number
  /** Default: a Unix socket, except on Windows. */
  transport?: 'unix' | 'tcp'
}

export interface Postgres {
  /** Connects; nothing has been said yet. */
  connect(): Socket
  /** What `connect` speaks to asks identities for this password; undefined where it trusts them. */
  readonly identityPassword: string | undefined
  /** Asks as the superuser, in `databricks_postgres` unless told otherwise. */
  query(sql: string, database?: string): Promise<(string | null)[][]>
  /** Of the postmaster. */
  readonly pid: number
  close(): Promise<void>
}

/** The superuser, as Neon's computes call theirs; nobody can log in as it through the front door. */
const SUPERUSER = 'cloud_admin'
const SOCKET_PORT = 5432

/** Errors: `config` when PostgreSQL is not installed or cannot run here. */
export async function startPostgres(options: PostgresOptions): Promise<Postgres> {
  const { directory } = options
  const runAs = await unprivilegedUser()
  if (runAs !== undefined) await chown(directory, runAs.uid, runAs.gid)
  const programs = await findPostgresBinaries({ directory, runAs })
  const posix = platform() !== 'win32'
  const unix = options.transport === undefined ? posix : options.transport === 'unix'
  const where = unix
    ? { path: join(directory, `.s.PGSQL.${SOCKET_PORT}`) }
    : { host: '127.0.0.1', port: await freePort() }
  const password = randomBytes(24).toString('base64url')
  const child = { cwd: directory, ...runAs, ...(posix && { env: { LC_ALL: 'C', TZ: 'UTC' } }) }

  const data = join(directory, 'data')
  const passwordFile = join(directory, 'superuser-password')
  await writeFile(passwordFile, password, { mode: 0o600 })
  if (runAs !== undefined) await chown(passwordFile, runAs.uid, runAs.gid)
  await initialise(
    spawn(
      programs.initdb,
      [
        ...['--pgdata', data, '--username', SUPERUSER, '--pwfile', passwordFile],
        ...['--auth', 'trust', '--encoding', 'UTF8', '--locale', 'C'],
        ...['--no-sync', '--no-instructions'],
      ],
      { ...child, stdio: ['ignore', 'ignore', 'pipe'] },
    ),
  )
  await rm(passwordFile)
  const hbaFile = join(directory, 'pg_hba.conf')
  await writeFile(hbaFile, hostBasedAuthentication(options.nativeRoles, unix), { mode: 0o644 })

  const settings = {
    hba_file: hbaFile,
    listen_addresses: unix ? '' : '127.0.0.1',
    port: unix ? SOCKET_PORT : where.port!,
    unix_socket_directories: unix ? directory : '',
    max_connections: options.maxConnections,
    shared_buffers: '32MB',
    wal_level: 'logical',
    // Nothing here outlives the process.
    fsync: 'off',
    full_page_writes: 'off',
    synchronous_commit: 'off',
  }
  const server = spawn(
    programs.postgres,
    [
      '-D',
      data,
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    // A session of its own: Ctrl-C in a terminal is for us, who then close it in order.
    { ...child, stdio: ['ignore', 'ignore', 'pipe'], detached: posix },
  )
  const watchdog = posix && server.pid !== undefined ? watch(server.pid, directory) : undefined
  server.once('exit', () => watchdog?.kill('SIGKILL'))
  const connectNow = (): Socket =>
    connect({ ...where, noDelay: true, allowHalfOpen: true } as never)
  const query = (sql: string, database = 'databricks_postgres') =>
    simpleQuery({ socket: connectNow(), user: SUPERUSER, password, database, sql })
  const close = () => stop(server)
  try {
    await ready(server)
    await createRoles(query, options, unix ? undefined : password)
  } catch (error) {
    await close()
    throw error
  }
  return {
    connect: connectNow,
    identityPassword: unix ? undefined : password,
    query,
    pid: server.pid!,
    close,
  }
}

/** PostgreSQL refuses to run as root, and initdb wants a user with an entry in /etc/passwd. */
async function unprivilegedUser(): Promise<RunAs | undefined> {
  if (platform() === 'win32' || userInfo().uid !== 0) return undefined
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '')
  const entry = /^nobody:[^:]*:(-?\d+):(-?\d+):/m.exec(passwd)
  return { uid: Number(entry?.[1] ?? 65534), gid: Number(entry?.[2] ?? 65534) }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function initialise(initdb: ChildProcess): Promise<void> {
  let complaint = ''
  initdb.stderr!.setEncoding('utf8').on('data', (text: string) => (complaint += text))
  const [code] = await once(initdb, 'close').catch((error: Error) => [error.message])
  if (code === 0) return
  throw new ProxyError('config', `could not create the emulator's database: ${complaint || code}`, {
    hint: complaint.includes('effective user ID')
      ? 'Run as a user that has an entry in /etc/passwd.'
      : 'Check that the temporary folder can be written and has 200 MB free.',
  })
}

function hostBasedAuthentication(nativeRoles: readonly NativeRole[], unix: boolean): string {
  const line = (database: string, role: string, method: string) =>
    unix
      ? `local ${database} ${role} ${method}\n`
      : `host ${database} ${role} 127.0.0.1/32 ${method}\n`
  const identities = unix ? 'trust' : 'password'
  return [
    ...nativeRoles.map((role) => line('all', `"${role.name}"`, role.method)),
    line('all', 'all', identities),
    line('replication', 'all', identities),
  ].join('')
}

/** Waits for our end of its stdin to close, which happens however this process ends. */
function watch(pid: number, directory: string): ChildProcess {
  const script =
    'read -r _; kill -QUIT "$1" 2>/dev/null; while kill -0 "$1" 2>/dev/null; do sleep 0.1; done; rm -rf "$2"'
  const watchdog = spawn('/bin/sh', ['-c', script, 'lakebase-emulator', `${pid}`, directory], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/',
  })
  watchdog.on('error', () => {})
  watchdog.stdin!.on('error', () => {})
  watchdog.unref()
  return watchdog
}

/** Until it says so; its log is drained for as long as it lives, or it would block on a full pipe. */
async function ready(server: ChildProcess): Promise<void> {
  let log = ''
  await new Promise<void>((resolve, reject) => {
    server.stderr!.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-2000)
      if (log.includes('ready to accept connections')) resolve()
    })
    server.once('error', reject)
    server.once('exit', (code, signal) => {
      reject(
        new ProxyError('config', `the emulator's PostgreSQL ended (${code ?? signal}): ${log}`, {
          hint: 'Check that this machine has memory and shared memory left.',
        }),
      )
    })
  })
}

async function createRoles(
  query: Postgres['query'],
  options: PostgresOptions,
  identityPassword: string | undefined,
): Promise<void> {
  const rights = 'createdb createrole replication bypassrls in role databricks_superuser'
  const secret = identityPassword === undefined ? '' : ` password ${literal(identityPassword)}`
  const native = new Set(options.nativeRoles.map((role) => role.name))
  const statements = [
    `create role databricks_superuser in role pg_read_all_data, pg_write_all_data, pg_monitor, pg_signal_backend`,
    ...options.roles
      .filter((role) => !native.has(role))
      .map((role) => `create role ${identifier(role)} login ${rights}${secret}`),
    ...options.nativeRoles.map(
      (role) =>
        `create role ${identifier(role.name)} login password ${literal(role.password)} ${rights}`,
    ),
  ]
  await query(statements.join(';'), 'postgres')
  for (const database of options.databases) {
    // Cannot run in a transaction with others. The owner may create tables in its schema "public".
    await query(`create database ${identifier(database)} owner databricks_superuser`, 'postgres')
  }
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

async function stop(server: ChildProcess): Promise<void> {
  if (server.pid === undefined || server.exitCode !== null || server.signalCode !== null) return
  const gone = once(server, 'exit')
  // Immediate shutdown: its files are deleted next. On Windows a kill, which its children notice.
  server.kill('SIGQUIT')
  await gone
}
