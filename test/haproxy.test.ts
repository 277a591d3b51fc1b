/**
 * Debian's haproxy with docker/haproxy.cfg in front of three proxies: it asks /readiness, hands the
 * client's address on, and a proxy can be restarted under load without a lost query.
 */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { after, before, suite, type TestContext, test } from 'node:test'
import { setImmediate as settle } from 'node:timers/promises'

import pg from 'pg'

import { startCli } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { ask } from './support/http.js'
import { cancel, connectedClient } from './support/proxy.js'

const CONFIG = 'docker/haproxy.cfg'
const missing = spawnSync('haproxy', ['-v']).error !== undefined

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
  async function startProxy(t: TestContext, at: number) {
    const { port, admin } = places[at]!
    const settings = {
      ...{ port, 'admin-port': admin, 'proxy-protocol': 'on', 'log-format': 'json' },
      ...{ 'drain-delay': '2s', 'drain-timeout': '20s' },
    }
    const flags = Object.entries(settings).map(([name, value]) => `--${name}=${value}`)
    const from = said.length
    const proxy = startCli(t, ['demo-instance', ...flags], { env: emulator.env })
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

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}
