/** `status`, `wait` and `shutdown`: asking a proxy that runs, is not ready, or is not there. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'

import { cliHere, startCli } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { freePort } from './support/http.js'
import { connectedClient, proxyBefore, type TestProxy } from './support/proxy.js'

const emulator = await emulatorForTests()
const { control } = emulator

test('status tells each target, where to connect, as whom, and the latest error', async (t) => {
  const { daemon, port, log } = await proxyBefore(t, emulator, { adminPort: 0, maxConnections: 5 })
  await connectedClient(t, port)
  await assert.rejects(connectedClient(t, port, { database: 'nowhere' }))
  await log.seen(({ facts }) => facts.outcome === 'failed')

  const { code, stdout, stderr } = await cliHere(['status', ...at(daemon)])
  assert.deepEqual([code, stderr], [0, ''])
  assert.match(
    stdout,
    /^lakebase-proxy \S+, ready, up for \d+s\nstatus page http:\/\/127\.0\.0\.1:/,
  )
  assert.match(stdout, /\ndemo-instance: ready\n/)
  assert.match(stdout, new RegExp(`\n {2}at {8}127\\.0\\.0\\.1:${port}, \\[::1\\]:${port}\n`))
  assert.match(stdout, /\n {2}as {8}ada@example\.com\n/)
  assert.match(stdout, /\n {2}token {5}good for (1h|59m \d+s), refreshed \d+s ago\n/)
  assert.match(stdout, /\n {2}sessions {2}1 of 5 open, 1 so far, 1 failed\n/)
  assert.match(stdout, /\nlatest error, \d+s ago: database "nowhere" does not exist\nhint: /)
})

test('status --json is what GET /status answers', async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const { stdout } = await cliHere(['status', '--json', ...at(daemon)])
  const status = JSON.parse(stdout)
  assert.equal(status.phase, 'running')
  assert.equal(status.targets[0].name, 'demo-instance')
  assert.ok(Array.isArray(status.history))
})

test('the admin port is found where the settings say it is', async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const { port } = new URL(daemon.adminUrl!)
  const env = { LAKEBASE_PROXY_ADMIN_PORT: port }
  assert.equal((await cliHere(['status'], { env })).code, 0)
})

test('where nothing answers, each says so and what to do', async () => {
  const port = await freePort()
  for (const [command, ...args] of [['status'], ['wait', '--timeout', '1ms'], ['shutdown']]) {
    const { code, stdout, stderr } = await cliHere([command!, ...args, '--admin-port', `${port}`])
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(
      stderr,
      new RegExp(`^lakebase-proxy: no lakebase-proxy answers at .*:${port}\nHint: `),
    )
  }
})

test('what else may answer there is not taken for a proxy', async (t) => {
  for (const body of ['Not Found', '{"status":"up"}', '[]', 'null']) {
    const port = await serverThatSays(t, body)
    const { code, stderr } = await cliHere(['status', '--admin-port', `${port}`])
    assert.equal(code, 1, body)
    assert.match(stderr, /is not a lakebase-proxy\nHint: .*--admin-port/)
  }
})

test('a program of another user there, which sends a byte now and then for ever, holds nothing up', async (t) => {
  const dripping = http.createServer((_, response) => {
    response.writeHead(200)
    const drip = setInterval(() => response.write(' '), 50)
    response.on('close', () => clearInterval(drip))
  })
  dripping.listen(0, '127.0.0.1')
  await once(dripping, 'listening')
  t.after(() => {
    dripping.close()
    dripping.closeAllConnections()
  })
  const { port } = dripping.address() as AddressInfo
  const args = ['wait', '--timeout', '1ms', '--admin-port', `${port}`]
  const { code, stderr } = await cliHere(args)
  assert.equal(code, 1)
  assert.match(stderr, /^lakebase-proxy: no lakebase-proxy answers at /)
})

test('an admin port that the settings cannot tell is wrong usage', async () => {
  for (const [args, message] of [
    [['--admin-port', '0'], /admin-port 0 is a free port, which only the proxy knows/],
    [['--admin-port', 'x'], /admin-port must be/],
  ] as const) {
    const { code, stderr } = await cliHere(['status', ...args])
    assert.equal(code, 2)
    assert.match(stderr, message)
  }
  const { code, stderr } = await cliHere(['status'], { env: { LAKEBASE_PROXY_NO_ADMIN: 'true' } })
  assert.equal(code, 2)
  assert.match(stderr, /the admin port is switched off/)
})

test('wait returns when the proxy is ready, also one that is yet to be started', async (t) => {
  const port = await freePort()
  const env = { ...emulator.env, LAKEBASE_PROXY_ADMIN_PORT: `${port}` }
  const waiting = cliHere(['wait'], { env })
  const proxy = startCli(t, ['demo-instance', '--port', '0'], { env })
  const { code, stderr } = await waiting
  assert.deepEqual([code, stderr], [0, ''])
  proxy.kill('SIGTERM')
  assert.equal((await proxy.done).code, 0)
})

test('wait does not return while the workspace has not answered, though the proxy listens', async (t) => {
  control.failApi(undefined, { how: 'hang' })
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const args = ['wait', 'demo-instance', ...at(daemon)]
  const early = await cliHere([...args, '--timeout', '1ms'])
  assert.equal(early.code, 1)
  assert.match(early.stderr, /target "demo-instance": the workspace has not answered yet/)
})

test('wait does not return while an instance is stopped, and does once it is started', async (t) => {
  t.after(() => control.stopInstance('stopped-instance'))
  const { daemon, port, log } = await proxyBefore(t, emulator, {
    ...{ adminPort: 0, targets: ['stopped-instance'] },
  })
  await log.seen(({ message }) => message.startsWith('not ready yet'))
  const args = ['wait', ...at(daemon)]
  const early = await cliHere([...args, '--timeout', '1ms'])
  assert.equal(early.code, 1)
  assert.match(early.stderr, /target "stopped-instance": .* is stopped/)
  const waiting = cliHere(args)
  control.setInstanceState('stopped-instance', 'AVAILABLE')
  assert.equal((await waiting).code, 0)
  await connectedClient(t, port)
})

test('wait returns for an instance that starts when a client connects', async (t) => {
  const { daemon } = await proxyBefore(t, emulator, {
    ...{ adminPort: 0, targets: ['stopped-instance'], autoStart: true },
  })
  assert.equal((await cliHere(['wait', ...at(daemon)])).code, 0)
})

test('wait ends at its time-out with the reasons', async (t) => {
  control.failApi('credentials', { status: 403, errorCode: 'PERMISSION_DENIED', message: 'no' })
  const { daemon, log } = await proxyBefore(t, emulator, { adminPort: 0 })
  await log.seen(({ message }) => message.startsWith('not ready yet'))
  const { code, stderr } = await cliHere(['wait', '--timeout', '1ms', ...at(daemon)])
  assert.equal(code, 1)
  assert.match(
    stderr,
    /^lakebase-proxy: lakebase-proxy is not ready after .*target "demo-instance": /,
  )
  assert.match(stderr, /\nHint: .*doctor/)
})

test('shutdown lets the sessions go, and returns once the proxy has stopped', async (t) => {
  const port = await freePort()
  const env = { ...emulator.env, LAKEBASE_PROXY_ADMIN_PORT: `${port}` }
  const proxy = startCli(t, ['demo-instance', '--port', '0'], { env })
  assert.equal((await cliHere(['wait'], { env })).code, 0)
  const { code, stderr } = await cliHere(['shutdown'], { env })
  assert.equal(code, 0)
  assert.match(stderr, /lakebase-proxy has stopped\.\n$/)
  assert.equal((await proxy.done).code, 0)
})

test('shutdown says so when the sessions take longer than its time-out', async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, { adminPort: 0 })
  const client = await connectedClient(t, port)
  await client.query('begin')
  const { code, stderr } = await cliHere(['shutdown', '--timeout', '1ms', ...at(daemon)])
  assert.equal(code, 1)
  assert.match(stderr, /still draining after .*\nHint: It goes on/)
  await client.end()
  assert.equal(await daemon.done, true)
})

function at(daemon: TestProxy['daemon']): string[] {
  return ['--admin-port', new URL(daemon.adminUrl!).port]
}

async function serverThatSays(t: TestContext, body: string): Promise<number> {
  const server = http.createServer((_request, response) => response.end(body))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}
