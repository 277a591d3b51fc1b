/**
 * A real PostgreSQL in a folder of its own under the system's temporary one: made at start with the
 * roles and databases of the workspace, gone at close.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chown, readFile, rm, writeFile } from 'node:fs/promises'
import { platform, userInfo } from 'node:os'
import { join } from 'node:path'

import { ProxyError } from '../core/errors.js'
import { findPostgresBinaries, type RunAs } from './postgres-binaries.js'
import { type Postgres, runServer, type ServerHome, SUPERUSER } from './postgres-server.js'

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
  maxConnections: number
  /** Default: a Unix socket, except on Windows. */
  transport?: 'unix' | 'tcp'
}

/** Errors: `config` when PostgreSQL is not installed or cannot run here. */
export async function startPostgres(
  options: PostgresOptions,
): Promise<{ postgres: Postgres; home: ServerHome }> {
  const { directory } = options
  const runAs = await unprivilegedUser()
  if (runAs !== undefined) await chown(directory, runAs.uid, runAs.gid)
  const programs = await findPostgresBinaries({ directory, runAs })
  const posix = platform() !== 'win32'
  const unix = options.transport === undefined ? posix : options.transport === 'unix'
  const password = randomBytes(24).toString('base64url')

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
        // Small log segments: a copy of the data directory, which a branch is, takes them along.
        ...['--no-sync', '--no-instructions', '--wal-segsize', '1'],
      ],
      {
        ...{ cwd: directory, ...runAs, stdio: ['ignore', 'ignore', 'pipe'] },
        ...(posix && { env: { LC_ALL: 'C', TZ: 'UTC' } }),
      },
    ),
  )
  await rm(passwordFile)
  const hbaFile = join(directory, 'pg_hba.conf')
  await writeFile(hbaFile, hostBasedAuthentication(options.nativeRoles, unix), { mode: 0o644 })
  const { maxConnections } = options
  const home = { directory, runAs, programs, unix, password, hbaFile, maxConnections }
  const postgres = await runServer(home, data, 0)
  try {
    await createRoles(postgres.query, options, postgres.identityPassword)
  } catch (error) {
    await postgres.close()
    throw error
  }
  return { postgres, home }
}

/** PostgreSQL refuses to run as root, and initdb wants a user with an entry in /etc/passwd. */
async function unprivilegedUser(): Promise<RunAs | undefined> {
  if (platform() === 'win32' || userInfo().uid !== 0) return undefined
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '')
  const entry = /^nobody:[^:]*:(-?\d+):(-?\d+):/m.exec(passwd)
  return { uid: Number(entry?.[1] ?? 65534), gid: Number(entry?.[2] ?? 65534) }
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

async function createRoles(
  query: Postgres['query'],
  options: PostgresOptions,
  identityPassword: string | undefined,
): Promise<void> {
  const native = new Set(options.nativeRoles.map((role) => role.name))
  const statements = [
    `create role databricks_superuser in role pg_read_all_data, pg_write_all_data, pg_monitor, pg_signal_backend`,
    ...options.roles
      .filter((role) => !native.has(role))
      .map((role) => newIdentityRole(role, identityPassword)),
    ...options.nativeRoles.map(
      (role) =>
        `create role ${identifier(role.name)} login password ${literal(role.password)} ${RIGHTS}`,
    ),
  ]
  await query(statements.join(';'), 'postgres')
  // Cannot run in a transaction with others. The owner may create tables in its schema "public".
  await query('create database databricks_postgres owner databricks_superuser', 'postgres')
}

const RIGHTS = 'createdb createrole replication bypassrls in role databricks_superuser'

/** The statement that makes the role of an identity. */
export function newIdentityRole(name: string, password: string | undefined): string {
  const secret = password === undefined ? '' : ` password ${literal(password)}`
  return `create role ${identifier(name)} login ${RIGHTS}${secret}`
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
