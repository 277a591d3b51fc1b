/** The admin port: what each path says in each state of the proxy, whom it answers, and its bounds. */

import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import net from 'node:net'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import { settingsFromOptions } from '../src/config/resolve/options.js'
import { systemClock } from '../src/core/clock.js'
import { silentLog } from '../src/core/log.js'
import { Daemon } from '../src/daemon/daemon.js'
import { workspaceOpener } from '../src/daemon/workspace-opener.js'
import { within } from './chaos/world.js'
import { emulatorForTests } from './support/emulator.js'
import { FakeClock } from './support/fake-clock.js'
import { ask, freePort, probes } from './support/http.js'
import { connectedClient, proxyBefore, temporaryFolder } from './support/proxy.js'
import { readAll } from './support/sockets.js'

const emulator = await emulatorForTests()
const { control } = emulator

const MINUTE_MS = 60_000
// Which of the two is a matter of how far the clock was moved before the answer came.
const WHY = /not for you|did not answer within/
const REFUSED = { status: 403, errorCode: 'PERMISSION_DENIED', message: 'not for you' }

test('starting: the admin port answers, and says so, until all is set up', async (t) => {
  const adminPort = await freePort()
  const adminUrl = `http://127.0.0.1:${adminPort}`
  const log = silentLog
  const homeDir = await temporaryFolder(t)
  const open = workspaceOpener({
    env: emulator.env,
    programEnv: {},
    homeDir,
    clock: systemClock,
    log,
  })
  const gate = new EventEmitter()
  const asked = once(gate, 'asked')
  const starting = Daemon.start({
    settings: settingsFromOptions({ targets: ['demo-instance'], port: 0, adminPort }, emulator.env),
    openWorkspace: async (target) => {
      const opened = once(gate, 'open')
      gate.emit('asked')
      await opened
      return open(target)
    },
    stateDir: homeDir,
    log,
  })
  await asked
  const answers = (): Promise<boolean> =>
    ask(`${adminUrl}/liveness`).then(
      () => true,
      () => false,
    )
  while (!(await answers()));
  assert.deepEqual(await probes(adminUrl), { startup: 503, readiness: 503, liveness: 200 })
  assert.equal(JSON.parse((await ask(`${adminUrl}/status`)).body).phase, 'starting')

  gate.emit('open')
  const daemon = await starting
  t.after(() => daemon.close())
  assert.equal((await ask(`${adminUrl}/startup`)).status, 200)
})

test('ready: every path answers, with the headers that browsers heed', async (t) => {
  const { daemon, log } = await proxyBefore(t, emulator, { adminPort: 0 })
  const url = daemon.adminUrl!
  await log.seen(({ message }) => message === 'credential refreshed')
  await untilReady(url)
  assert.deepEqual(await probes(url), { startup: 200, readiness: 200, liveness: 200 })
  assert.deepEqual(JSON.parse((await ask(`${url}/readiness`)).body), { ready: true, reasons: [] })

  const types = {
    '/metrics': 'text/plain; version=0.0.4; charset=utf-8',
    '/status': 'application/json; charset=utf-8',
    '/': 'text/html; charset=utf-8',
    '/page.js': 'text/javascript; charset=utf-8',
    '/page.css': 'text/css; charset=utf-8',
    '/uplot.js': 'text/javascript; charset=utf-8',
    '/uplot.css': 'text/css; charset=utf-8',
    '/icon.svg': 'image/svg+xml',
  }
  for (const [path, type] of Object.entries(types)) {
    const { status, headers } = await ask(`${url}${path}`)
    assert.deepEqual({ path, status, type: headers['content-type'] }, { path, status: 200, type })
    assert.equal(headers['cross-origin-resource-policy'], 'same-origin')
    assert.equal(headers['x-content-type-options'], 'nosniff')
    assert.match(
      String(headers['content-security-policy']),
      /default-src 'none'.*frame-ancestors 'none'/,
    )
    assert.doesNotMatch(String(headers['content-security-policy']), /unsafe/)
  }
})

test('the page loads nothing that the port does not serve', async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const { body } = await ask(`${daemon.adminUrl}/`)
  assert.doesNotMatch(body, /https?:\/\/|<style|style=|<script>| on[a-z]+=/)
  const files = [...body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, file]) => file)
  assert.ok(files.length > 5)
  for (const file of files) {
    assert.equal((await ask(`${daemon.adminUrl}/${file}`)).status, 200, file)
  }
})

test('degraded: a token that is not refreshed is told of while it is good, and red when it is over', async (t) => {
  const clock = new FakeClock()
  const { daemon, log } = await proxyBefore(t, emulator, { adminPort: 0, clock })
  const url = daemon.adminUrl!
  await untilReady(url)
  control.failApi('credentials', REFUSED)

  await clock.advance(49 * MINUTE_MS)
  await advanceUntil(clock, url, () =>
    log.lines.some(({ message }) => message.includes('the held one is still good')),
  )
  assert.equal((await ask(`${url}/readiness`)).status, 200)
  const [degraded] = JSON.parse((await ask(`${url}/status`)).body).targets
  assert.equal(degraded.state, 'degraded')
  assert.match(degraded.words, /could not be refreshed, the held one is still good/)
  assert.match(degraded.credential.refreshFailure.message, WHY)

  await clock.advance(11 * MINUTE_MS)
  const red = await ask(`${url}/readiness`)
  assert.equal(red.status, 503)
  assert.match(JSON.parse(red.body).reasons[0], /^target "demo-instance": /)
  assert.match(JSON.parse(red.body).reasons[0], WHY)
  assert.equal(JSON.parse((await ask(`${url}/status`)).body).targets[0].state, 'unavailable')
  assert.deepEqual(await probes(url), { startup: 200, readiness: 503, liveness: 200 })

  control.clearFaults()
  await clock.advance(5_000)
  await untilReady(url)
  assert.equal(JSON.parse((await ask(`${url}/status`)).body).targets[0].state, 'ready')
})

test('a clock that is set back two hours does not make a proxy that is not ready wait for them', async (t) => {
  const clock = new FakeClock()
  control.failApi('credentials', REFUSED)
  const { daemon, log } = await proxyBefore(t, emulator, { adminPort: 0, clock })
  await log.seen(({ message }) => message.startsWith('not ready yet'))
  clock.set(-120 * MINUTE_MS)
  control.clearFaults()
  await clock.advance(5_000)
  await within(5_000, untilReady(daemon.adminUrl!))
})

test('one target that fails does not make the others unready, and a probe can ask for one', async (t) => {
  const { daemon, log } = await proxyBefore(t, emulator, {
    ...{ targets: ['demo-instance', 'no-such-instance'], adminPort: 0 },
  })
  const url = daemon.adminUrl!
  await log.seen(({ message }) => message.startsWith('not ready yet'))
  await untilReady(url)
  const readiness = (target: string) => ask(`${url}/readiness?target=${target}`)
  assert.equal((await readiness('demo-instance')).status, 200)
  const broken = await readiness('no-such-instance')
  assert.equal(broken.status, 503)
  assert.match(JSON.parse(broken.body).reasons[0], /^target "no-such-instance": .* does not exist/)
  const unknown = await readiness('nothing')
  assert.equal(unknown.status, 404)
  assert.deepEqual(JSON.parse(unknown.body).targets, ['demo-instance', 'no-such-instance'])
  const status = JSON.parse((await ask(`${url}/status`)).body)
  assert.deepEqual([status.ready, status.reasons], [true, []])
  const metrics = (await ask(`${url}/metrics`)).body
  assert.match(metrics, /^lakebase_proxy_target_ready\{target="demo-instance"\} 1$/m)
  assert.match(metrics, /^lakebase_proxy_target_ready\{target="no-such-instance"\} 0$/m)
})

test('when no target is usable the process is unready, with the reason of each', async (t) => {
  const { daemon } = await proxyBefore(t, emulator, {
    ...{ targets: ['no-such-instance', 'nor-this-one'], adminPort: 0 },
  })
  const url = `${daemon.adminUrl}/readiness`
  let answer = await ask(url)
  while (answer.status === 200) answer = await ask(url)
  const { reasons } = JSON.parse(answer.body)
  assert.equal(reasons.length, 2)
  assert.match(reasons.join('\n'), /"no-such-instance": .*\n.*"nor-this-one": /)
})

test('a target that is asked for the first time counts as usable', async (t) => {
  control.failApi(undefined, { how: 'hang' })
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const url = daemon.adminUrl!
  assert.equal((await ask(`${url}/readiness`)).status, 200)
  assert.equal(JSON.parse((await ask(`${url}/status`)).body).targets[0].state, 'starting')
})

test('full: told of, and not ready only with unready-when-full', async (t) => {
  const full = { adminPort: 0, maxConnections: 1 }
  const patient = await proxyBefore(t, emulator, full)
  const strict = await proxyBefore(t, emulator, { ...full, unreadyWhenFull: true })
  for (const { daemon, port } of [patient, strict]) {
    await untilReady(daemon.adminUrl!)
    await connectedClient(t, port)
    const status = JSON.parse((await ask(`${daemon.adminUrl}/status`)).body)
    assert.match(status.targets[0].words, /^Full/)
  }
  assert.equal((await ask(`${patient.daemon.adminUrl}/readiness`)).status, 200)
  const { status, body } = await ask(`${strict.daemon.adminUrl}/readiness`)
  assert.equal(status, 503)
  assert.match(JSON.parse(body).reasons[0], /has as many sessions as max-connections allows \(1\)/)
  await strict.daemon.reload(strict.settings({ ...full, unreadyWhenFull: false }))
  assert.equal((await ask(`${strict.daemon.adminUrl}/readiness`)).status, 200)
})

test('draining: red at once, though clients are served for the drain-delay', async (t) => {
  const clock = new FakeClock()
  const { daemon, port } = await proxyBefore(t, emulator, {
    ...{ adminPort: 0, clock, drainDelay: '10s', drainTimeout: '10s' },
  })
  const url = daemon.adminUrl!
  await untilReady(url)
  const drained = daemon.drain()
  assert.deepEqual(await probes(url), { startup: 200, readiness: 503, liveness: 200 })
  const client = await connectedClient(t, port)
  await client.query('begin')
  await clock.advance(10_000)
  await assert.rejects(connectedClient(t, port), { code: '57P03' })
  assert.match((await ask(`${url}/readiness`)).body, /stopping/)
  assert.equal(JSON.parse((await ask(`${url}/status`)).body).phase, 'stopping')
  await clock.advance(10_000)
  assert.equal(await drained, false)
  await assert.rejects(ask(`${url}/liveness`), { code: 'ECONNREFUSED' })
})

test('POST /shutdown drains and ends the proxy', async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, { adminPort: 0 })
  const client = await connectedClient(t, port)
  const { status, body } = await ask(`${daemon.adminUrl}/shutdown`, { method: 'POST' })
  assert.deepEqual([status, JSON.parse(body)], [200, { stopping: true }])
  assert.equal(daemon.phase, 'stopping')
  await client.end()
  assert.equal(await daemon.done, true)
})

test('only names that cannot be rebound, and no foreign origin, are answered', async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0, adminHost: 'Ops.example' })
  const url = daemon.adminUrl!
  const { port } = new URL(url)
  const status = async (headers: Record<string, string>, method = 'GET', path = '/liveness') =>
    (await ask(`${url}${path}`, { method, headers })).status

  for (const host of [
    ...['localhost', `localhost:${port}`, 'LOCALHOST', '127.0.0.1', `127.0.0.1:${port}`],
    ...['10.2.3.4:80', '[::1]', `[::1]:${port}`, 'ops.example', 'OPS.EXAMPLE:9090'],
  ]) {
    assert.equal(await status({ host }), 200, host)
  }
  for (const host of [
    ...['attacker.example', 'localhost.attacker.example', '127.0.0.1.attacker.example'],
    ...['localhost.', 'a.localhost', '0x7f.1', '127.1', '[::1', '[localhost]', 'localhost:x'],
    ...['localhost@attacker.example', 'user@127.0.0.1', 'sub.ops.example'],
  ]) {
    assert.equal(await status({ host }), 403, host)
    assert.equal(await status({ host }, 'POST', '/shutdown'), 403, host)
  }
  const host = `localhost:${port}`
  assert.equal(await status({ host, origin: `http://${host}` }), 200)
  for (const origin of [
    ...['http://attacker.example', 'null', '', `http://localhost:${Number(port) + 1}`],
    ...[`http://127.0.0.1:${port}`, 'http://localhost', 'file://'],
  ]) {
    assert.equal(await status({ host, origin }), 403, origin)
    assert.equal(await status({ host, origin }, 'POST', '/shutdown'), 403, origin)
    assert.equal(await status({ host, origin }, 'OPTIONS', '/shutdown'), 403, origin)
  }
  assert.equal(daemon.phase, 'running')
})

test('requests that a page of another site makes are refused; a link to the page is not', async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const status = async (path: string, site: string, mode: string, dest: string, method = 'GET') => {
    const headers = { 'sec-fetch-site': site, 'sec-fetch-mode': mode, 'sec-fetch-dest': dest }
    return (await ask(`${daemon.adminUrl}${path}`, { method, headers })).status
  }
  for (const site of ['cross-site', 'same-site']) {
    for (const path of ['/', '/status', '/metrics', '/events', '/readiness', '/icon.svg']) {
      assert.equal(await status(path, site, 'no-cors', 'image'), 403, path)
      assert.equal(await status(path, site, 'navigate', 'iframe'), 403, path)
    }
    assert.equal(await status('/shutdown', site, 'navigate', 'document', 'POST'), 403)
    assert.equal(await status('/status', site, 'navigate', 'document'), 403)
    assert.equal(await status('/', site, 'navigate', 'document'), 200)
  }
  for (const site of ['same-origin', 'none']) {
    assert.equal(await status('/status', site, 'navigate', 'document'), 200)
  }
  assert.equal(daemon.phase, 'running')
})

const elsewhere = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address

test('only this machine may stop the proxy, though others may look', {
  skip: elsewhere === undefined && 'this machine has no address but loopback',
}, async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0, adminAddress: '0.0.0.0' })
  const { port } = new URL(daemon.adminUrl!)
  const from = `http://${elsewhere}:${port}`
  assert.equal((await ask(`${from}/status`)).status, 200)
  assert.equal((await ask(`${from}/shutdown`, { method: 'POST' })).status, 403)
  assert.equal(daemon.phase, 'running')
})

test('each path has one method; what is not there is not found', async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const url = daemon.adminUrl!
  for (const path of ['/', '/status', '/metrics', '/readiness', '/events', '/nothing']) {
    for (const method of ['POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH', 'TRACE']) {
      const { status, headers } = await ask(`${url}${path}`, { method })
      assert.deepEqual([path, method, status, headers.allow], [path, method, 405, 'GET'])
    }
  }
  for (const method of ['GET', 'PUT', 'HEAD', 'DELETE']) {
    const { status, headers } = await ask(`${url}/shutdown`, { method })
    assert.deepEqual([method, status, headers.allow], [method, 405, 'POST'])
  }
  for (const path of ['/nothing', '/package.json', '/../package.json', '/%2e%2e/package.json']) {
    assert.equal((await ask(`${url}${path}`)).status, 404, path)
  }
  assert.equal(daemon.phase, 'running')
})

test('bodies, long headers and slow or silent clients are turned away', async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const url = daemon.adminUrl!
  const body = 'x'.repeat(2_000)
  assert.equal((await ask(`${url}/shutdown`, { method: 'POST', body })).status, 413)
  const chunked = { method: 'POST', headers: { 'transfer-encoding': 'chunked' }, body: 'x' }
  assert.equal((await ask(`${url}/shutdown`, chunked)).status, 413)
  assert.equal((await ask(url, { headers: { cookie: 'x'.repeat(20_000) } })).status, 431)
  assert.equal(daemon.phase, 'running')

  const port = Number(new URL(url).port)
  const slow = net.connect(port, '127.0.0.1')
  slow.write('GET /status HTTP/1.1\r\nHost: localhost\r\n')
  assert.match((await readAll(slow)).toString(), /^HTTP\/1\.1 408 /)
})

test('there are never more than 64 connections', async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const port = Number(new URL(daemon.adminUrl!).port)
  const sockets = Array.from({ length: 70 }, () => net.connect(port, '127.0.0.1'))
  t.after(() => {
    for (const socket of sockets) socket.destroy()
  })
  let closed = 0
  await new Promise<void>((resolve) => {
    for (const socket of sockets) {
      socket.on('error', () => {}).on('close', () => ++closed === 6 && resolve())
    }
  })
  assert.equal(closed, 6)
})

test('a port set by hand that is taken is an error that names its holder', async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const adminPort = Number(new URL(daemon.adminUrl!).port)
  await assert.rejects(proxyBefore(t, emulator, { adminPort }), (error: Error) => {
    assert.match(
      error.message,
      new RegExp(`^admin port ${adminPort} is in use by .*pid ${process.pid}`),
    )
    assert.match(
      String((error as { hint?: string }).hint),
      /--admin-port \d+ is free; .*--no-admin/,
    )
    return true
  })
})

test('the default port, when taken, is left for a free one with a notice', async (t) => {
  const { daemon, settings, log } = await proxyBefore(t, emulator, { adminPort: 0 })
  const port = Number(new URL(daemon.adminUrl!).port)
  const other = await Daemon.start({
    settings: {
      ...settings(),
      admin: { address: '127.0.0.1', port, portIsDefault: true, host: undefined },
    },
    openWorkspace: () => Promise.reject(new Error('not asked')),
    stateDir: '',
    log,
  }).catch(() => undefined)
  t.after(() => other?.close())
  const notice = await log.seen(({ message }) => message.startsWith(`port ${port} is in use`))
  assert.match(notice.message, /the admin port is \d+$/)
})

test('without an admin port nothing listens, and the status can still be had', async (t) => {
  const { daemon } = await proxyBefore(t, emulator, {})
  assert.equal(daemon.adminUrl, undefined)
  const { phase, targets } = daemon.status()
  assert.equal(phase, 'running')
  assert.equal(targets[0]?.port, daemon.targets[0]?.listener.port)
})

/** Moves the clock by seconds, and lets real answers come between them. */
async function advanceUntil(clock: FakeClock, url: string, isSo: () => boolean): Promise<void> {
  while (!isSo()) {
    await clock.advance(1_000)
    await ask(`${url}/liveness`)
  }
}

/** Until the workspace has answered, and /readiness is 200. */
async function untilReady(adminUrl: string): Promise<void> {
  for (;;) {
    const { ready, targets } = JSON.parse((await ask(`${adminUrl}/status`)).body)
    if (ready && targets[0].state !== 'starting') return
    await ask(`${adminUrl}/readiness`) // which makes the proxy ask again
  }
}
