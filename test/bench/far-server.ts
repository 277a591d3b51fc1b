/**
 * The far servers that every way leads to: a real PostgreSQL with TLS, which asks for the password
 * in clear as Lakebase asks for its token, and a TLS front that gives session tickets, as Lakebase's
 * front door does and PostgreSQL does not. Everything of them is in one temporary folder.
 */

import { chmod, chown, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { findPostgresBinaries } from '../../src/emulator/postgres-binaries.js'
import { type ChainKind, createChain } from './certificates.js'
import { findProgram, freePort, Process, run, unprivileged } from './processes.js'

export interface FarServer {
  /** In its certificate. */
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
  /** PEM files. */
  readonly sslrootcert: string
  readonly sslcert: string
  readonly sslkey: string
  /** Of the connections' settings, for psql and pgbench. */
  readonly env: Record<string, string>
  stop(): Promise<void>
}

export const FAR_HOST = 'far.bench.test'
const MAX_CONNECTIONS = 200

export async function startFarServer(
  folder: string,
  chainKind: ChainKind = 'rsa',
): Promise<FarServer> {
  const runAs = unprivileged()
  const own = async (path: string): Promise<void> => {
    if (runAs !== undefined) await chown(path, runAs.uid, runAs.gid)
  }
  const home = join(folder, `far-server-${chainKind}`)
  await mkdir(home)
  await own(home)
  const programs = await findPostgresBinaries({ directory: home, runAs })

  const { root, chain, key } = await createChain(chainKind, FAR_HOST)
  const files = { root: join(home, 'root.crt'), cert: join(home, 'crt'), key: join(home, 'key') }
  await writeFile(files.root, root)
  await writeFile(files.cert, chain)
  await writeFile(files.key, key)
  await chmod(files.key, 0o600)
  await own(files.key)

  const password = 'a password of the benchmark'
  const passwordFile = join(home, 'password')
  await writeFile(passwordFile, password)
  await own(passwordFile)
  const data = join(home, 'data')
  const initdb = ['--auth', 'trust', '--encoding', 'UTF8', '--locale', 'C', '--no-sync']
  await run(
    [programs.initdb, '-D', data, '-U', 'bench', '--pwfile', passwordFile, ...initdb],
    {},
    { ...runAs, cwd: home },
  )
  const hba = join(home, 'hba.conf')
  await writeFile(hba, 'host all all 127.0.0.1/32 password\n')

  const port = await freePort()
  const settings = {
    port,
    hba_file: hba,
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: MAX_CONNECTIONS,
    shared_buffers: '256MB',
    ssl: 'on',
    ssl_cert_file: files.cert,
    ssl_key_file: files.key,
    fsync: 'off',
    autovacuum: 'off',
  }
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const server = new Process(
    [programs.postgres, '-D', data, ...flags],
    join(folder, `far-${chainKind}.log`),
    {
      ...runAs,
      cwd: home,
    },
  )
  await server.listening(port)
  await ready(server)
  return {
    host: FAR_HOST,
    port,
    user: 'bench',
    password,
    database: 'postgres',
    sslrootcert: files.root,
    sslcert: files.cert,
    sslkey: files.key,
    env: { PGUSER: 'bench', PGPASSWORD: password, PGDATABASE: 'postgres', PGGSSENCMODE: 'disable' },
    stop: () => server.stop('SIGQUIT'),
  }
}

const READY_PATIENCE_MS = 20_000

/** It listens before it takes connections: its log says when it does. */
async function ready(server: Process): Promise<void> {
  const deadline = performance.now() + READY_PATIENCE_MS
  while (!server.log.includes('ready to accept connections')) {
    if (performance.now() > deadline) throw new Error(`PostgreSQL is not ready: ${server.log}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/**
 * The same server behind a TLS front that gives session tickets: stunnel as a server. Undefined:
 * stunnel is not installed.
 */
export async function startTicketFront(
  far: FarServer,
  folder: string,
): Promise<FarServer | undefined> {
  const program = await findProgram('stunnel4', 'stunnel')
  if (program === undefined) return undefined
  const port = await freePort()
  const config = join(folder, `front-${port}.conf`)
  const lines = [
    ...['foreground = yes', 'pid =', '[front]', 'protocol = pgsql'],
    ...[`accept = 127.0.0.1:${port}`, `connect = 127.0.0.1:${far.port}`],
    ...[`cert = ${far.sslcert}`, `key = ${far.sslkey}`],
  ]
  await writeFile(config, `${lines.join('\n')}\n`)
  const front = new Process([program, config], join(folder, 'front.log'))
  await front.listening(port)
  return { ...far, port, stop: () => front.stop() }
}
