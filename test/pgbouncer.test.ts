/**
 * Debian's PgBouncer in front of the proxy, with the very settings of
 * docker/kubernetes/gateway-pgbouncer.yaml: many clients, few connections to Lakebase.
 */

import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { promisify } from 'node:util'

import pg from 'pg'
import { parseAllDocuments } from 'yaml'
import { issueCertificate, makeAuthority } from '../src/core/certificates.js'
import { type RunningProxy, startProxy } from '../src/daemon/start-proxy.js'
import { type Emulator, startEmulator } from './support/emulator-control.js'
import { freePort } from './support/http.js'

const MANIFEST = 'docker/kubernetes/gateway-pgbouncer.yaml'
// PgBouncer does not run as root.
const UNPRIVILEGED = 65_534
const PASSWORD = 'pooled password'

const { error: missing, stdout: version } = spawnSync('pgbouncer', ['--version'])
const minor = Number(/PgBouncer 1\.(\d+)/.exec(`${version}`)?.[1])
suite('PgBouncer', {
  skip: missing !== undefined && 'pgbouncer is not here: install the package pgbouncer',
}, () => {
  let emulator: Emulator
  let proxy: RunningProxy
  let pgbouncer: ChildProcess
  let folder: string
  let port: number
  let ca: string

  before(async () => {
    emulator = await startEmulator()
    proxy = await startProxy({ targets: ['demo-instance'], port: 0, env: emulator.env })
    port = await freePort()
    folder = mkdtempSync(join(tmpdir(), 'pgbouncer-'))
    const life = { now: Date.now(), days: 1 }
    const authority = await makeAuthority('Test', life)
    const names = { hosts: ['localhost'], addresses: ['127.0.0.1'] }
    const certificate = await issueCertificate(authority, names, life)
    ca = authority.cert
    const files = {
      'pgbouncer.ini': onThisMachine(
        manifestFiles()['pgbouncer.ini']!,
        folder,
        proxy.addresses[0]!.port,
        port,
      ),
      'users/userlist.txt': `"app" "${PASSWORD}"\n`,
      'tls/tls.crt': certificate.cert,
      'tls/tls.key': certificate.key,
      'ca.crt': ca,
    }
    for (const each of ['users', 'tls']) mkdirSync(join(folder, each))
    for (const [name, text] of Object.entries(files)) {
      writeFileSync(join(folder, name), text, { mode: 0o600 })
      if (process.getuid?.() === 0) chownSync(join(folder, name), UNPRIVILEGED, UNPRIVILEGED)
    }
    chmodSync(folder, 0o755)
    pgbouncer = await startPgbouncer(join(folder, 'pgbouncer.ini'))
  })

  after(async () => {
    await stop(pgbouncer)
    await proxy.close()
    await emulator.close()
    rmSync(folder, { recursive: true })
  })

  function client(options: pg.ClientConfig = {}): pg.Client {
    const login = { host: 'localhost', port, user: 'app', password: PASSWORD }
    return new pg.Client({ ...login, database: 'databricks_postgres', ssl: { ca }, ...options })
  }

  const environment = () => ({
    PATH: process.env.PATH,
    PGHOST: 'localhost',
    PGPORT: `${port}`,
    PGUSER: 'app',
    PGPASSWORD: PASSWORD,
    PGDATABASE: 'databricks_postgres',
    PGSSLMODE: 'verify-full',
    PGSSLROOTCERT: join(folder, 'ca.crt'),
  })

  test('forty clients at once share at most twenty connections, and each sees its own rows', async () => {
    const clients = await Promise.all(
      Array.from({ length: 40 }, async () => {
        const each = client()
        await each.connect()
        return each
      }),
    )
    const backends = new Set<number>()
    await Promise.all(
      clients.map(async (each, index) => {
        for (let turn = 0; turn < 5; turn++) {
          await each.query('begin')
          const first = await each.query('select pg_backend_pid() as pid, $1::int as own', [index])
          const second = await each.query('select pg_backend_pid() as pid')
          await each.query('commit')
          assert.equal(first.rows[0].own, index)
          assert.equal(second.rows[0].pid, first.rows[0].pid)
          backends.add(first.rows[0].pid)
        }
      }),
    )
    await Promise.all(clients.map((each) => each.end()))
    assert.ok(backends.size <= 20, `${backends.size} connections`)
  })

  test('the role in Lakebase is the workspace identity, for every client', async () => {
    const each = client()
    await each.connect()
    const { rows } = await each.query('select current_user as role')
    await each.end()
    assert.notEqual(rows[0].role, 'app')
    assert.match(rows[0].role, /@/)
  })

  test('a wrong password, and a client without TLS, get no further than PgBouncer', async () => {
    await assert.rejects(client({ password: 'wrong' }).connect(), /authentication failed/)
    await assert.rejects(client({ ssl: false }).connect(), /SSL required|TLS required/)
  })

  test('what the server says about a database that does not exist reaches the client', async () => {
    await assert.rejects(
      client({ database: 'nowhere' }).connect(),
      /database "nowhere" does not exist/,
    )
  })

  test("psql's Ctrl-C cancels the query behind both", async (context) => {
    const psql = spawn('psql', ['-XAt', '-c', 'select 1', '-c', 'select pg_sleep(60)'], {
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const gone = await Promise.race([once(psql, 'error'), once(psql.stdout, 'data').then(() => [])])
    if (gone.length > 0) {
      context.skip('psql is not here: install the package postgresql-client')
      return
    }
    const watch = client()
    await watch.connect()
    const sleeping =
      "select count(*)::int as count from pg_stat_activity where query like 'select pg_sleep%'"
    while ((await watch.query(sleeping)).rows[0].count === 0);
    await watch.end()
    psql.kill('SIGINT')
    await said(psql, 'canceling statement due to user request')
    await once(psql, 'close')
  })

  test('a cancel request that reaches another PgBouncer is forwarded to the one it is for', {
    skip: minor < 19 && `PgBouncer 1.${minor} has no peering: it came with 1.19`,
  }, async (context) => {
    const upstream = proxy.addresses[0]!.port
    const [first, second] = [await freePort(), await freePort()]
    for (const [ordinal, own] of [first, second].entries()) {
      const pod = join(folder, `pod-${ordinal}`)
      mkdirSync(pod)
      for (const [name, text] of Object.entries(manifestFiles())) {
        const inPod = text
          .replaceAll('/etc/pgbouncer/config', pod)
          .replace('host=lakebase-pgbouncer-0.lakebase-pgbouncer-peers port=6432', onPort(first))
          .replace('host=lakebase-pgbouncer-1.lakebase-pgbouncer-peers port=6432', onPort(second))
        const isMain = name === 'pgbouncer.ini'
        writeFileSync(join(pod, name), isMain ? onThisMachine(inPod, folder, upstream, own) : inPod)
      }
      const started = await startPgbouncer(join(pod, `lakebase-pgbouncer-${ordinal}.ini`))
      context.after(() => stop(started))
    }

    const each = client({ port: first })
    const watch = client({ port: second })
    await Promise.all([each.connect(), watch.connect()])
    const sleeping = assert.rejects(each.query('select pg_sleep(61)'), { code: '57014' })
    const asleep =
      "select count(*)::int as count from pg_stat_activity where query = 'select pg_sleep(61)'"
    while ((await watch.query(asleep)).rows[0].count === 0);
    const { processID, secretKey } = each as unknown as Record<string, number>
    const request = Buffer.alloc(16)
    const CANCEL_REQUEST = 80_877_102
    for (const [index, value] of [16, CANCEL_REQUEST, processID ?? 0, secretKey ?? 0].entries()) {
      request.writeInt32BE(value, index * 4)
    }
    const cancel = connect(second, '127.0.0.1').end(request).resume()
    await once(cancel, 'close')
    await sleeping
    await Promise.all([each.end(), watch.end()])
  })

  test('pgbench runs through it, with no failed transaction', async (context) => {
    const script = join(folder, 'select.sql')
    writeFileSync(script, 'begin;\nselect :client_id + 1;\nend;\n')
    const args = ['-n', '-c', '16', '-j', '2', '-t', '50', '-f', script]
    if (spawnSync('pgbench', ['--version']).error !== undefined) {
      context.skip('pgbench is not here: install the package postgresql')
      return
    }
    const options = { env: environment(), timeout: 60_000 }
    const { stdout } = await promisify(execFile)('pgbench', args, options)
    assert.match(stdout, /actually processed: 800\/800/)
  })
})

/** The files of the manifest's ConfigMap, by name. */
function manifestFiles(): Record<string, string> {
  const config = parseAllDocuments(readFileSync(MANIFEST, 'utf8'))[0]!.toJS() as {
    data: Record<string, string>
  }
  return config.data
}

/** The manifest's settings, with this machine's ports and folder in the place of the pod's. */
function onThisMachine(settings: string, folder: string, upstreamPort: number, port: number) {
  const changes: [string, string][] = [
    ['port=5432', `port=${upstreamPort}`],
    ['listen_addr = *', 'listen_addr = 127.0.0.1'],
    ['listen_port = 6432', `listen_port = ${port}`],
    ['/etc/pgbouncer', folder],
  ]
  for (const [from] of changes) assert.ok(settings.includes(from), `${MANIFEST} lacks ${from}`)
  return changes.reduce((text, [from, to]) => text.replaceAll(from, to), settings)
}

function onPort(port: number): string {
  return `host=127.0.0.1 port=${port}`
}

async function startPgbouncer(settings: string): Promise<ChildProcess> {
  const started = spawn('pgbouncer', [settings], {
    stdio: ['ignore', 'ignore', 'pipe'],
    ...(process.getuid?.() === 0 ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {}),
  })
  await said(started, 'process up')
  return started
}

async function stop(program: ChildProcess): Promise<void> {
  if (program.exitCode !== null) return
  program.kill('SIGKILL')
  await once(program, 'exit')
}

/** Resolves when the program has written `text` to stderr. */
async function said(program: ChildProcess, text: string): Promise<void> {
  let written = ''
  for await (const chunk of program.stderr!.iterator({ destroyOnReturn: false })) {
    written += chunk
    if (written.includes(text)) {
      program.stderr!.resume()
      return
    }
  }
  assert.fail(`it ended without "${text}": ${written}`)
}
