/**
 * One running PostgreSQL: a data directory, the process on it, and the ways in. It is reached only
 * through a Unix socket in a folder of ours (0700), where identities are trusted, since the front
 * door has checked their token; on Windows through a loopback port, with a random password. A
 * watchdog ends it when this process dies without closing it.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { platform } from 'node:os'
import { join } from 'node:path'

import { ProxyError } from '../core/errors.js'
import type { PostgresBinaries, RunAs } from './postgres-binaries.js'
import { openSession, type QuerySession, simpleQuery } from './simple-query.js'

/** What all the emulator's servers have in common. */
export interface ServerHome {
  /** Holds data directories and sockets. */
  readonly directory: string
  readonly runAs: RunAs | undefined
  readonly programs: PostgresBinaries
  /** True: a Unix socket; false: a loopback port. */
  readonly unix: boolean
  /** The superuser's password, and over a loopback port that of the identities too. */
  readonly password: string
  readonly hbaFile: string
  readonly maxConnections: number
}

export interface Postgres {
  /** A new connection, on which nothing has been sent. */
  connect(): Socket
  /**
   * The password that the server asks identities for on such a connection; undefined where it trusts
   * them.
   */
  readonly identityPassword: string | undefined
  /** Asks as the superuser, in `databricks_postgres` unless told otherwise. */
  query(sql: string, database?: string): Promise<(string | null)[][]>
  /** A session of the superuser in the database `postgres`. */
  session(): Promise<QuerySession>
  /** The postmaster's process id. */
  readonly pid: number
  readonly dataDirectory: string
  /** Settles when the process has ended, for any reason. */
  readonly ended: Promise<void>
  /** Ends sessions with 57P01 and keeps the data consistent. */
  shutDown(): Promise<void>
  /** Ends at once. */
  close(): Promise<void>
}

/** The superuser, as Neon's computes call theirs. The front door lets no client log in as it. */
export const SUPERUSER = 'cloud_admin'

/** `number` tells servers of one home apart. Errors: `config` when it cannot run here. */
export async function runServer(
  home: ServerHome,
  dataDirectory: string,
  number: number,
): Promise<Postgres> {
  const { directory, unix, password } = home
  const posix = platform() !== 'win32'
  const port = unix ? 5432 + number : await freePort()
  const where = unix ? { path: join(directory, `.s.PGSQL.${port}`) } : { host: '127.0.0.1', port }
  const settings = {
    hba_file: home.hbaFile,
    listen_addresses: unix ? '' : '127.0.0.1',
    port,
    unix_socket_directories: unix ? directory : '',
    max_connections: home.maxConnections,
    shared_buffers: '32MB',
    max_wal_size: '1GB',
    wal_level: 'logical',
    // No data outlives the process.
    fsync: 'off',
    full_page_writes: 'off',
    synchronous_commit: 'off',
  }
  const server = spawn(
    home.programs.postgres,
    [
      ...['-D', dataDirectory],
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    {
      ...{ cwd: directory, ...home.runAs, stdio: ['ignore', 'ignore', 'pipe'] },
      ...(posix && { env: { LC_ALL: 'C', TZ: 'UTC' } }),
      // A session of its own: Ctrl-C in a terminal is for us, and we then close it in order.
      detached: posix,
    },
  )
  const watchdog = posix && server.pid !== undefined ? watch(server.pid, directory) : undefined
  const ended = new Promise<void>((resolve) => server.once('exit', () => resolve()))
  void ended.then(() => watchdog?.kill('SIGKILL'))
  const connectNow = (): Socket =>
    connect({ ...where, noDelay: true, allowHalfOpen: true } as never)
  const login = (database: string) => ({
    ...{ socket: connectNow(), user: SUPERUSER, password, database },
  })
  try {
    await ready(server)
  } catch (error) {
    await stop(server, 'SIGQUIT')
    throw error
  }
  return {
    connect: connectNow,
    identityPassword: unix ? undefined : password,
    query: (sql, database = 'databricks_postgres') => simpleQuery({ ...login(database), sql }),
    session: () => openSession(login('postgres')),
    pid: server.pid!,
    dataDirectory,
    ended,
    shutDown: () => stop(server, 'SIGINT'),
    close: () => stop(server, 'SIGQUIT'),
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
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

/**
 * Waits until the server accepts connections. Its log is drained for as long as it lives, or it would
 * block on a full pipe.
 */
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

async function stop(server: ChildProcess, signal: 'SIGINT' | 'SIGQUIT'): Promise<void> {
  if (server.pid === undefined || server.exitCode !== null || server.signalCode !== null) return
  const gone = once(server, 'exit')
  // On Windows any signal is a kill, which its children notice.
  server.kill(signal)
  await gone
}
