/**
 * The far server that every way leads to: one real PostgreSQL with TLS, which asks for the password
 * in clear as Lakebase asks for its token. Everything of it is in one temporary folder.
 */

import { chmod, chown, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { createCertificateAuthority } from '../../src/emulator/certificates.js'
import { findPostgresBinaries } from '../../src/emulator/postgres-binaries.js'
import { freePort, Process, run, unprivileged } from './processes.js'

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

export async function startFarServer(folder: string): Promise<FarServer> {
  const runAs = unprivileged()
  const own = async (path: string): Promise<void> => {
    if (runAs !== undefined) await chown(path, runAs.uid, runAs.gid)
  }
  const home = join(folder, 'far-server')
  await mkdir(home)
  await own(home)
  const programs = await findPostgresBinaries({ directory: home, runAs })

  const authority = await createCertificateAuthority('lakebase-proxy benchmark')
  const { cert, key } = await authority.issue([FAR_HOST])
  const files = { root: join(folder, 'root.crt'), cert: join(home, 'crt'), key: join(home, 'key') }
  await writeFile(files.root, authority.certificate)
  await writeFile(files.cert, cert)
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
  await writeFile(hba, 'hostssl all all 127.0.0.1/32 password\n')

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
  const server = new Process([programs.postgres, '-D', data, ...flags], join(folder, 'far.log'), {
    ...runAs,
    cwd: home,
  })
  await server.listening(port)
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
