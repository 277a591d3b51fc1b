/** A proxy that runs out of files, and one whose peers are slow: measured in a process of its own. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { type ChildState, ProxyProcess, type ProxyProcessOptions } from './chaos/proxy-process.js'
import { message, RawClient } from './chaos/raw-client.js'
import { Relay } from './chaos/relay.js'
import { within } from './chaos/world.js'
import { emulatorForTests } from './support/emulator.js'

// Its no-break space is one that SASLprep makes a plain one, by tables that are loaded when needed.
const PASSWORD = 'open\u00a0sesame'
const emulator = await emulatorForTests({
  nativeRoles: [{ name: 'app', password: PASSWORD, method: 'scram-sha-256' }],
})
const startup = { user: 'anyone', database: 'databricks_postgres' }
const MEGABYTE = 1024 * 1024

async function proxyProcess(
  t: TestContext,
  options: Partial<ProxyProcessOptions> = {},
): Promise<ProxyProcess> {
  const { env } = emulator
  const proxy = await ProxyProcess.start({ targets: ['demo-instance'], port: 0, env, ...options })
  t.after(() => proxy.kill())
  return proxy
}

/** The first state that `isIt`; fails after 5 s. */
async function settled(
  proxy: ProxyProcess,
  isIt: (state: ChildState) => boolean,
): Promise<ChildState> {
  const until = performance.now() + 5_000
  for (;;) {
    const state = await proxy.state()
    if (isIt(state)) return state
    assert.ok(performance.now() < until, `after 5 s: ${state.sessions} and ${state.files}`)
  }
}

const { readWriteHost } = emulator.control.instance('demo-instance')
const logins = {
  'by token': 'demo-instance',
  'by SCRAM': `postgresql://app:${encodeURIComponent(PASSWORD)}@${readWriteHost}/databricks_postgres`,
}

for (const [how, target] of Object.entries(logins))
  test(`out of files, it goes on accepting once there are some again, and says what to raise (${how})`, async (t) => {
    const proxy = await proxyProcess(t, { targets: [target], maxFiles: 256, connectTimeout: '4s' })
    const port = proxy.ports[0]!
    const { files } = await proxy.state()
    if (files === undefined) return t.skip('no /proc here')
    // They are let in, and take all but a few of the files: one each, and two once they are served.
    const clients = await Promise.all(Array.from({ length: 190 }, () => RawClient.connect(port)))
    await settled(proxy, ({ sessions }) => sessions === 190)
    const answers = await within(20_000, Promise.all(clients.map((each) => each.login(startup))))
    const told = answers.filter((answer) => typeof answer === 'object')
    for (const { code, message, hint } of told) {
      assert.equal(code, '57P03')
      assert.match(message, /Too many open files|timeout expired/)
      assert.match(hint ?? '', /ulimit -n|doctor/)
    }
    assert.ok(told.some(({ message }) => /Too many open files$/.test(message)))
    const late = await Promise.all(Array.from({ length: 100 }, () => RawClient.connect(port)))
    assert.ok((await Promise.all(late.map((each) => each.login(startup)))).includes(undefined))
    clients.push(...late)
    for (const client of clients) client.socket.destroy()

    const state = await settled(proxy, (now) => now.sessions === 0 && now.files! <= files + 1)
    for (let i = 0; i < 5; i++) {
      const client = await RawClient.connect(port)
      assert.equal(await client.login(startup), 'ready')
      client.socket.destroy()
    }
    assert.deepEqual(state.bugs, [])
    assert.equal((await proxy.close()).exit, 0)
  })

test('clients that do not read, and a server that does not: what the proxy holds of it stays small', async (t) => {
  const relay = await Relay.start({ to: { port: emulator.frontPort } })
  t.after(() => relay.close())
  const proxy = await proxyProcess(t, { upstreamPort: relay.port })
  const clients = await Promise.all(
    Array.from({ length: 40 }, () => RawClient.connect(proxy.ports[0]!)),
  )
  const logins = await Promise.all(clients.map((each) => each.login(startup)))
  assert.deepEqual(new Set(logins), new Set(['ready']))
  const before = await proxy.state()

  const [readers, writers] = [clients.slice(0, 20), clients.slice(20)]
  for (const client of readers) {
    client.socket.pause()
    client.query("select repeat('x', 1000) from generate_series(1, 50000)")
  }
  for (const connection of relay.connections.slice(20)) connection.hold('up')
  for (const client of writers) client.socket.write(message('Q', Buffer.alloc(20 * MEGABYTE, ' ')))
  // Until nothing moves any more: all that can be held back is.
  let moved = -1
  const total = (): number =>
    relay.connections.reduce((sum, { passed }) => sum + passed.up + passed.down, 0)
  while (moved !== total()) {
    moved = total()
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
  const during = await proxy.state()
  const heldMegabytes = (during.rssBytes - before.rssBytes) / MEGABYTE
  t.diagnostic(`40 stalled sessions, 1.4 GB on their way: ${heldMegabytes.toFixed(1)} MB held`)
  assert.ok(heldMegabytes < 60, `${heldMegabytes} MB are held`)
  for (const client of clients) client.socket.destroy()
  assert.deepEqual(during.bugs, [])
})
