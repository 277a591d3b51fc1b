/**
 * One port for many targets: new settings for a proxy that runs, cancels, and what may not be set
 * together.
 */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import type pg from 'pg'

import type { ProxyOptions } from '../src/config/resolve/options.js'
import { emulatorForTests } from './support/emulator.js'
import { settle } from './support/fake-clock.js'
import { cancel, connectedClient, proxyBefore, type TestProxy } from './support/proxy.js'

const emulator = await emulatorForTests()
const { control } = emulator
const ORDERS = { target: 'demo-instance', name: 'orders' } as const
const SECOND = { target: 'second-instance', name: 'stock' } as const
const ON = { targets: [ORDERS, SECOND], route: 'on' } as const

/** Whether a client of this user name is led to `second-instance`. */
async function isSecond(t: TestContext, port: number, user: string): Promise<boolean> {
  const client = await connectedClient(t, port, { user })
  await client.end()
  return control.logins.at(-1)!.host === control.instance('second-instance').readWriteHost
}

async function reload(proxy: TestProxy, options: Partial<ProxyOptions>): Promise<void> {
  await proxy.daemon.reload(proxy.settings(options))
}

const one = async (client: pg.Client): Promise<number> =>
  (await client.query('select 1 as one')).rows[0].one

test('a target is added, renamed and taken away at the same port, and open sessions stay', async (t) => {
  const proxy = await proxyBefore(t, emulator, { ...ON, targets: [ORDERS] })
  const { port } = proxy
  await assert.rejects(connectedClient(t, port, { user: 'a~stock' }), { code: '3D000' })
  await reload(proxy, ON)
  assert.equal(await isSecond(t, port, 'stock'), true)
  const open = await connectedClient(t, port, { user: 'stock' })
  await reload(proxy, { targets: [ORDERS, { ...SECOND, name: 'store' }] })
  assert.equal(await isSecond(t, port, 'store'), true)
  assert.equal(await isSecond(t, port, 'stock'), false, 'it is a user name like any other now')
  await assert.rejects(connectedClient(t, port, { user: 'a~stock' }), { code: '3D000' })
  assert.equal(await one(open), 1)
  await reload(proxy, { targets: [ORDERS] })
  await assert.rejects(connectedClient(t, port, { user: 'a~store' }), { code: '3D000' })
  const cancelled = assert.rejects(open.query('select pg_sleep(60)'), { code: '57014' })
  await cancel(port, open)
  await cancelled
  assert.equal(await one(open), 1)
})

test('a target that stayed the same is not touched when the others change', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  const stock = proxy.daemon.targets[1]
  for (const target of proxy.daemon.targets) await target.prime()
  const minted = control.mintedCount
  await reload(proxy, { targets: [{ ...ORDERS, maxConnections: 3 }, SECOND] })
  assert.equal(proxy.daemon.targets[1], stock)
  assert.equal(await isSecond(t, proxy.port, 'stock'), true)
  assert.ok(control.mintedCount <= minted + 1)
})

test('another target comes first: it is the one for clients that name none, at the same port', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  const { port } = proxy
  const open = await connectedClient(t, port)
  assert.equal(await isSecond(t, port, 'anyone'), false)
  await reload(proxy, { targets: [SECOND, ORDERS] })
  assert.equal(await isSecond(t, port, 'anyone'), true)
  assert.equal(await isSecond(t, port, 'orders'), false)
  assert.deepEqual(
    proxy.daemon.targets.map(({ settings }) => settings.name),
    ['stock', 'orders'],
  )
  assert.equal(await one(open), 1)
})

test('route comes and goes with a reload, and the first target keeps the free port that it got', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  const { port } = proxy
  await reload(proxy, { route: 'required' })
  await assert.rejects(connectedClient(t, port), { code: '3D000' })
  const open = await connectedClient(t, port, { user: 'stock' })
  await reload(proxy, { route: 'off' })
  assert.equal(await isSecond(t, port, 'stock'), false)
  const [, second] = proxy.daemon.targets
  assert.notEqual(second!.listener.port, port)
  assert.equal(await isSecond(t, second!.listener.port, 'anyone'), true)
  await reload(proxy, { targets: [SECOND, ORDERS], route: 'on' })
  assert.equal(proxy.daemon.targets[0]!.listener.port, second!.listener.port)
  await reload(proxy, { targets: [ORDERS, SECOND], route: 'on' })
  await reload(proxy, { targets: [ORDERS, SECOND], route: 'off' })
  assert.equal(proxy.daemon.targets[0]!.listener.port, second!.listener.port)
  assert.equal(await one(open), 1)
})

test('clients that come and go through a reload find their targets', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  let isOver = false
  let count = 0
  const coming = ['stock', 'orders', 'anyone'].map(async (user) => {
    while (!isOver) {
      const client = await connectedClient(t, proxy.port, { user })
      await client.end()
      count++
    }
  })
  for (let round = 1; round <= 8; round++) {
    const some = { ...SECOND, maxConnections: 100 + round }
    await reload(proxy, { targets: round % 2 === 0 ? [ORDERS, some] : [some, ORDERS] })
    const before = count
    while (count < before + 3) await Promise.race([settle(), ...coming])
  }
  isOver = true
  await Promise.all(coming)
})

test('a key that this replica does not know goes to every target', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  const other = await proxyBefore(t, emulator, ON)
  for (const user of ['orders', 'stock']) {
    const client = await connectedClient(t, other.port, { user })
    const cancelled = assert.rejects(client.query('select pg_sleep(60)'), { code: '57014' })
    const before = control.cancelCount
    await cancel(proxy.port, client)
    await cancelled
    assert.equal(control.cancelCount, before + 2)
  }
})

test('a cancel whose target cannot be reached is delivered to the others', async (t) => {
  const nowhere = { target: 'second-instance', name: 'gone', upstreamPort: 1 } as const
  const proxy = await proxyBefore(t, emulator, { ...ON, targets: [nowhere, ORDERS] })
  const other = await proxyBefore(t, emulator, ON)
  const client = await connectedClient(t, other.port, { user: 'orders' })
  const cancelled = assert.rejects(client.query('select pg_sleep(60)'), { code: '57014' })
  await cancel(proxy.port, client)
  await cancelled
})

test('what routed targets may not have is said with its reason', async (t) => {
  const { settings } = await proxyBefore(t, emulator, ON)
  const password = { localPassword: 'x' } as const
  for (const [options, reason] of [
    [
      { ...password, targets: [ORDERS, { ...SECOND, localAuth: 'password' }] },
      /local-auth of target "stock" is password, and trust at the port that serves it too/,
    ],
    [
      {
        ...password,
        targets: [
          { ...ORDERS, localAuth: 'password' },
          { ...SECOND, port: 6000 },
        ],
      },
      /local-auth of target "stock" is trust, and password at the port that serves it too/,
    ],
    [
      { targets: [ORDERS, { ...SECOND, name: 'orders' }] },
      /name "orders" is also the name of another target/,
    ],
    [{ targets: ['stock', SECOND] }, /the name "stock" is also the name of another target/],
    [{ targets: [ORDERS, SECOND], name: 'x' }, undefined],
    [
      { targets: ['demo-instance', 'second-instance'], name: 'x' },
      /the name "x" is also the name of another/,
    ],
    [{ targets: [{ ...ORDERS, name: 'Orders!' }] }, /name must be 1 to 63 lower-case letters/],
    [
      { targets: [ORDERS, { ...SECOND, address: ['127.0.0.2'] }] },
      /address of target "stock" has no effect: it is reached at the port of the first target/,
    ],
  ] as const) {
    if (reason === undefined) settings(options)
    else assert.throws(() => settings(options), reason)
  }
})

test('with local-auth=password no target and no name is told before the password is shown', async (t) => {
  const { port } = await proxyBefore(t, emulator, {
    ...ON,
    ...{ localAuth: 'password', localPassword: 'open sesame', route: 'required' },
  })
  for (const user of ['stock', 'a~nowhere', 'anyone']) {
    await assert.rejects(connectedClient(t, port, { user, password: 'wrong' }), { code: '28P01' })
  }
  assert.equal(await isSecondWith(t, port, 'open sesame'), true)
  await assert.rejects(connectedClient(t, port, { user: 'a~nowhere', password: 'open sesame' }), {
    code: '3D000',
  })
})

async function isSecondWith(t: TestContext, port: number, password: string): Promise<boolean> {
  const client = await connectedClient(t, port, { user: 'stock', password })
  await client.end()
  return control.logins.at(-1)!.host === control.instance('second-instance').readWriteHost
}
