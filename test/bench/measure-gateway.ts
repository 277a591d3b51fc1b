/**
 * What one process serves when clients ask for all it has: queries and logins a second, and how
 * many cores it uses for them, beside the PostgreSQL and the pgbench on the same machine.
 */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { demoUser } from '../../src/emulator/inventory.js'
import { startEmulator } from '../support/emulator-control.js'
import type { Bench } from './bench.js'
import { createChain } from './certificates.js'
import { fill, type PgbenchResult, pgbench } from './measure-pgbench.js'
import { freePort } from './processes.js'
import { printAcross } from './samples.js'
import { inTurns } from './turns.js'
import { startProxyProcess } from './ways.js'

const CLIENTS = [16, 64]
const HOST = 'gateway.bench.test'

export async function measureGateway(bench: Bench): Promise<void> {
  await fill(bench)
  const ways = bench.ways.filter((name) => name === 'direct' || name === 'proxy')
  for (const clients of CLIENTS) {
    await inTurns({ ...bench, ways }, `gateway@${clients} clients`, async (way) => ({
      ...shown('queries', await pgbench(bench, way, ['-S', '-c', `${clients}`])),
      ...shown('logins', await pgbench(bench, way, ['-S', ...logins(clients)])),
    }))
  }
  if (!bench.ways.includes('proxy')) return
  await measurePeople(bench)
  printAcross(bench.samples, 'gateway', ['proxy'])
}

/** Each person as themselves, over local TLS: the proxy has asked the workspace about them before. */
async function measurePeople(bench: Bench): Promise<void> {
  const { folder } = bench
  const { root, cert, key } = await localCertificate(folder)
  const emulator = await startEmulator()
  const port = await freePort()
  const local = ['--local-tls-cert', cert, '--local-tls-key', key]
  const people = ['--local-auth', 'databricks', ...local]
  const args = ['projects/demo', '--port', `${port}`, '--no-admin', ...people]
  const proxy = startProxyProcess(args, folder, emulator.env)
  try {
    await proxy.listening(port)
    const script = join(folder, 'select-1.sql')
    await writeFile(script, 'select 1;\n')
    const env = {
      ...{
        PGUSER: demoUser.userName,
        PGPASSWORD: demoUser.pat!,
        PGDATABASE: 'databricks_postgres',
      },
      ...{ PGHOST: HOST, PGHOSTADDR: '127.0.0.1', PGPORT: `${port}` },
      ...{ PGSSLMODE: 'verify-full', PGSSLROOTCERT: root },
    }
    for (let round = 0; round < bench.rounds; round++) {
      for (const clients of CLIENTS) {
        const result = await pgbench(bench, { env, process: proxy }, [
          ...['-f', script, ...logins(clients)],
        ])
        bench.samples.add(
          `gateway@${clients} clients, local-auth=databricks`,
          'proxy',
          shown('logins', result),
        )
      }
    }
  } finally {
    await proxy.stop('SIGKILL')
    await emulator.close()
  }
}

/** Of the kind that a public authority gives. */
async function localCertificate(
  folder: string,
): Promise<{ readonly root: string; readonly cert: string; readonly key: string }> {
  const { root, chain, key } = await createChain('rsa', HOST)
  const paths = {
    root: join(folder, 'ca.crt'),
    cert: join(folder, 'crt'),
    key: join(folder, 'key'),
  }
  await writeFile(paths.root, root)
  await writeFile(paths.cert, chain)
  await writeFile(paths.key, key, { mode: 0o600 })
  return paths
}

/** A thread each: pgbench waits for one login at a time in a thread. */
function logins(clients: number): string[] {
  return ['-C', '-c', `${clients}`, '-j', `${clients}`]
}

function shown(
  what: 'queries' | 'logins',
  { transactions, perSecond, cpuMs }: PgbenchResult,
): Record<string, number> {
  const seconds = transactions / perSecond
  return {
    [`${what}/s`]: perSecond,
    ...(cpuMs !== undefined && { [`cores for ${what}`]: cpuMs / 1000 / seconds }),
  }
}
