/**
 * Debian's haproxy with docker/haproxy.cfg in front of three proxies: it asks /readiness, hands the
 * client's address on, and a proxy can be restarted under load without a lost query.
 */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, suite, type TestContext, test } from 'node:test'
import { setImmediate as settle } from 'node:timers/promises'

import pg from 'pg'

import { demoUser } from '../src/emulator/inventory.js'
import { startCli } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { ask } from './support/http.js'
import { cancel, connectedClient, temporaryFolder } from './support/proxy.js'

const CONFIG = 'docker/haproxy.cfg'
const missing = spawnSync('haproxy', ['-v']).error !== undefined

interface ProxyOptions {
  readonly target?: string
  readonly settings?: Readonly<Record<string, string>>
  readonly env?: Record<string, string>
}

suite('haproxy', {
  skip: missing && 'haproxy is not here: install the package haproxy',
}, async () => {
  const emulator = await emulatorForTests()
  const ports = await freePorts(7)
  const [listen, ...others] = ports
  const places = [0, 1, 2].map((at) => ({ port: others[2 * at]!, admin: others[2 * at + 1]! }))
  let haproxy: ChildProcess
  /** What haproxy said, from its first line on. */
  let said = ''

  before(async () => {
    const env: Record<string, string> = {
      HAPROXY_LISTEN: `127.0.0.1:${listen}`,
      HAPROXY_CHECK_INTERVAL: '100ms',
    }
    for (const [at, { port, admin }] of places.entries()) {
      env[`PROXY_${at + 1}`] = `127.0.0.1:${port}`
      env[`PROXY_${at + 1}_ADMIN_PORT`] = `${admin}`
    }
    haproxy = spawn('haproxy', ['-db', '-f', CONFIG], {
      env: { PATH: process.env.PATH, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [haproxy.stdout, haproxy.stderr]) {
      stream?.on('data', (bytes) => {
        said += String(bytes)
      })
    }
  })

  after(async () => {
    if (haproxy.exitCode !== null) return
    haproxy.kill('SIGKILL')
    await once(haproxy, 'exit')
  })

  async function untilSaid(pattern: RegExp, from = 0): Promise<void> {
    while (!pattern.test(said.slice(from))) {
      assert.equal(haproxy.exitCode, null, said)
      await settle()
    }
  }

  /** A proxy at the n-th place, when haproxy has seen that it is ready. */
  async function startProxy(
    t: TestContext,
    at: number,
    { target = 'demo-instance', settings: more = {}, env = emulator.env }: ProxyOptions = {},
  ) {
    const { port, admin } = places[at]!
    const settings = {
      ...more,
      ...{ port, 'admin-port': admin, 'proxy-protocol': 'on', 'log-format': 'json' },
      ...{ 'drain-delay': '2s', 'drain-timeout': '20s' },
    }
    const flags = Object.entries(settings).map(([name, value]) => `--${name}=${value}`)
    const from = said.length
    const proxy = startCli(t, [target, ...flags], { env })
    await proxy.saw(/"listening/)
    await untilSaid(new RegExp(`Server lakebase/proxy-${at + 1} is UP`), from)
    return proxy
  }

  const client = (t: TestContext) => connectedClient(t, listen!)

  test('three proxies restarted one by one under load: no connect fails, no statement is lost or done twice', async (t) => {
    const proxies = await Promise.all(places.map((_, at) => startProxy(t, at)))
    await emulator.control.query('create table rolled (id text primary key)')
    let isOver = false
    const acknowledged: string[] = []
    const work = async (number: number): Promise<void> => {
      let connection = await client(t)
      let told = new Promise((resolve) => connection.once('error', resolve))
      for (let i = 0; !isOver; ) {
        const id = `${number}/${i}`
        try {
          await connection.query('insert into rolled values ($1)', [id])
          acknowledged.push(id)
          i++
        } catch (error) {
          const cause = (error as { code?: string }).code === undefined ? await told : error
          assert.equal((cause as { code?: string }).code, '57P01', String(cause))
          connection = await client(t)
          told = new Promise((resolve) => connection.once('error', resolve))
        }
      }
    }
    const restarts = async (): Promise<void> => {
      for (const [at, proxy] of proxies.entries()) {
        const enough = acknowledged.length + 100
        while (acknowledged.length < enough) await settle()
        proxy.kill('SIGTERM')
        assert.equal((await proxy.done).code, 0, 'it drained in time')
        await startProxy(t, at)
      }
      isOver = true
    }
    await Promise.all([restarts(), ...Array.from({ length: 8 }, (_, number) => work(number))])
    const committed = (await emulator.control.query('select id from rolled')).flat()
    assert.deepEqual(committed.sort(), acknowledged.sort())
  })

  test("the log of haproxy and that of the proxy have the same client, the server's view the same session", async (t) => {
    const proxies = await Promise.all(places.map((_, at) => startProxy(t, at)))
    const connection = new pg.Client({ host: '127.0.0.1', port: listen!, user: 'any' })
    await connection.connect()
    const { rows } = await connection.query('select pg_backend_pid() as pid')
    await connection.end()
    const line = new RegExp(`"client":"(127.0.0.1:\\d+)".*"backend_pid":${rows[0].pid}\\b`)
    const match = await Promise.any(proxies.map((proxy) => proxy.saw(line)))
    await untilSaid(new RegExp(`^${match[1]} \\[`, 'm'))
  })

  test('the three logs of docs/gateway.md are those of a real session, joined by what is in them', async (t) => {
    const state = await temporaryFolder(t)
    const gateway = { 'local-auth': 'databricks', 'local-tls': 'auto' }
    const env = { ...emulator.env, XDG_STATE_HOME: state }
    const proxy = await startProxy(t, 0, { target: 'projects/demo', settings: gateway, env })
    const from = said.length
    const connection = new pg.Client({
      ...{ host: 'localhost', port: listen!, user: 'token', password: demoUser.pat! },
      database: 'databricks_postgres',
      ssl: { ca: readFileSync(join(state, 'lakebase-proxy', 'local-ca.pem'), 'utf8') },
    })
    await connection.connect()
    const pid = (await connection.query('select pg_backend_pid() as pid')).rows[0].pid
    const asked = `select pid, usename, backend_start from pg_stat_activity where pid = ${pid}`
    const [activity] = await emulator.control.query(asked)
    await connection.end()
    const login = (await proxy.saw(/^.*"event":"login".*$/m))[0]
    const connected = (await proxy.saw(/^.*"session connected".*$/m))[0]
    await untilSaid(BY_HAPROXY, from)
    const seen = {
      haproxy: BY_HAPROXY.exec(said.slice(from))![0],
      proxy: [connected, login],
      PostgreSQL: [`${asked};`, activity!.join(' | ')],
    }
    const written = documented()
    assert.deepEqual(shapes(written), shapes(seen))
    for (const logs of [written, seen]) checkJoined(logs)
  })

  test('a cancel arrives, whichever proxy haproxy gives it to', async (t) => {
    await Promise.all(places.map((_, at) => startProxy(t, at)))
    const sleeping = await client(t)
    for (let turn = 0; turn < 4; turn++) {
      const answer = assert.rejects(sleeping.query('select pg_sleep(60)'), { code: '57014' })
      const running =
        "select 1 from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'"
      while ((await emulator.control.query(running)).length === 0) await settle()
      await cancel(listen!, sleeping)
      await answer
    }
  })

  test('a proxy that is not ready gets no new session, and keeps those it has', async (t) => {
    const proxies = await Promise.all(places.map((_, at) => startProxy(t, at)))
    const held = await client(t)
    await held.query('begin')
    const drained = proxies.map((proxy) => proxy.done)
    for (const proxy of proxies) proxy.kill('SIGTERM')
    await untilSaid(/has no server available/)
    assert.equal((await held.query('select 1 as one')).rows[0].one, 1)
    await held.query('commit')
    for (const { code } of await Promise.all(drained)) assert.equal(code, 0)
    await assert.rejects(ask(`http://127.0.0.1:${places[0]!.admin}/readiness`))
  })
})

const BY_HAPROXY = /^.* postgres lakebase\/proxy-1 .*$/m

interface ThreeLogs {
  readonly haproxy: string
  readonly proxy: readonly string[]
  /** What is asked, and the row that comes. */
  readonly PostgreSQL: readonly string[]
}

/** The block of docs/gateway.md, of which each line begins with whose it is. */
function documented(): ThreeLogs {
  const page = readFileSync('docs/gateway.md', 'utf8')
  const [, section = ''] = page.split('## One session in three logs')
  const [block = ''] = (section.split('```text\n')[1] ?? '').split('```')
  const lines = block.trimEnd().split('\n')
  const of = (name: string): string[] =>
    lines.filter((line) => line.startsWith(`${name} `)).map((line) => line.slice(13))
  const [haproxy = ''] = of('haproxy')
  return { haproxy, proxy: of('proxy'), PostgreSQL: of('PostgreSQL') }
}

/** Without the numbers, times and names of one run. */
function shapes({ haproxy, proxy, PostgreSQL }: ThreeLogs): object {
  const shape = (line: string): string =>
    line
      .replace(/"session":"[0-9a-f]{8}"/, '"session":"id"')
      .replace(/\/[A-Z][a-z]{2}\//, '/Mon/')
      .replace(/\d+/g, '0')
  return {
    haproxy: shape(haproxy),
    proxy: proxy.map(shape),
    PostgreSQL: PostgreSQL.map(shape),
  }
}

/** As docs/gateway.md says: by client, by session, and by backend_pid. */
function checkJoined({ haproxy, proxy, PostgreSQL }: ThreeLogs): void {
  const [connected, login] = proxy.map((line) => JSON.parse(line) as Record<string, unknown>)
  const [, row = ''] = PostgreSQL
  const [pid, role] = row.split(' | ')
  for (const { client, backend_pid, role: own } of [connected!, login!]) {
    assert.deepEqual([client, `${backend_pid}`, own], [haproxy.split(' ')[0], pid, role])
  }
  assert.equal(login!.session, connected!.session)
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}
