/** What a token may do, where it may go, and how long it is kept: no more than it must. */

import assert from 'node:assert/strict'
import { open, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'

import { startCli } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { connectedClient, proxyBefore, temporaryFolder } from './support/proxy.js'

const emulator = await emulatorForTests()
const { control } = emulator
const POLL_MS = 100
const ENDPOINT = 'projects/demo/branches/production/endpoints/primary'

test('a token is minted for one target, and logs in to that one only', async (t) => {
  const before = control.callCount('credentials')
  const { daemon } = await proxyBefore(t, emulator, {
    targets: ['demo-instance', 'second-instance', ENDPOINT],
  })
  const logins = control.logins.length
  for (const { listener } of daemon.targets) await connectedClient(t, listener.port)
  const asked = control.calls('credentials').slice(before)
  const wanted = asked.map(({ body }) => JSON.parse(body))
  assert.deepEqual(
    wanted.map(({ instance_names: names, endpoint }) => names ?? endpoint).sort(),
    [['demo-instance'], ENDPOINT, ['second-instance']].sort(),
  )
  const used = control.logins.slice(logins).map(({ host, tokenNumber }) => [host, tokenNumber])
  assert.equal(new Set(used.map(([host]) => host)).size, 3)
  assert.equal(new Set(used.map(([, token]) => token)).size, 3)
})

test('two targets on one instance do not share a token', async (t) => {
  const before = control.callCount('credentials')
  const { daemon } = await proxyBefore(t, emulator, {
    targets: ['demo-instance', { target: 'demo-instance', readOnly: true }],
  })
  for (const { listener } of daemon.targets) await connectedClient(t, listener.port)
  assert.equal(control.callCount('credentials') - before, 2)
})

test('token-ttl asks for shorter tokens where the API allows it', async (t) => {
  const before = control.callCount('credentials')
  const { daemon } = await proxyBefore(t, emulator, { targets: [ENDPOINT], tokenTtl: '5m' })
  await connectedClient(t, daemon.targets[0]!.listener.port)
  const [call] = control.calls('credentials').slice(before)
  assert.equal(JSON.parse(call!.body).ttl, '300s')
  const lifeMs = daemon.targets[0]!.credentials.expiresAt! - Date.now()
  assert.ok(lifeMs > 290_000 && lifeMs <= 301_000, String(lifeMs))
})

test('without token-ttl the request names no lifetime', async (t) => {
  const before = control.callCount('credentials')
  const { daemon } = await proxyBefore(t, emulator, { targets: [ENDPOINT] })
  await connectedClient(t, daemon.targets[0]!.listener.port)
  const [call] = control.calls('credentials').slice(before)
  assert.deepEqual(Object.keys(JSON.parse(call!.body)), ['endpoint'])
})

test('read-only goes to the read-only host, and all else never does', async (t) => {
  const { readWriteHost, readOnlyHost } = control.instance('demo-instance')
  for (const [readOnly, host] of [
    [true, readOnlyHost],
    [false, readWriteHost],
  ] as const) {
    const { port } = await proxyBefore(t, emulator, { readOnly })
    await connectedClient(t, port)
    assert.equal(control.logins.at(-1)!.host, host)
  }
})

test('a pooled host, which takes no tokens, leads to the direct one', async (t) => {
  const { host, pooledHost } = control.endpoint(ENDPOINT)
  const { port } = await proxyBefore(t, emulator, { targets: [pooledHost] })
  await connectedClient(t, port)
  assert.equal(control.logins.at(-1)!.host, host)
})

test('read-only where there is no read-only host is refused, and not sent elsewhere', async (t) => {
  const logins = control.logins.length
  const { port } = await proxyBefore(t, emulator, { targets: ['second-instance'], readOnly: true })
  const refusal = await connectedClient(t, port).catch((error) => error)
  assert.match(refusal.message, /read-only/)
  assert.equal(control.logins.length, logins)
})

test('group mints for the group, and logs in as its role', async (t) => {
  const before = control.callCount('credentials')
  const { port } = await proxyBefore(t, emulator, { targets: [ENDPOINT], group: 'analysts' })
  const client = await connectedClient(t, port)
  const { rows } = await client.query('select current_user as role')
  assert.equal(rows[0].role, 'analysts')
  const [call] = control.calls('credentials').slice(before)
  assert.equal(JSON.parse(call!.body).group_name, 'analysts')
})

test('a token that has expired is in memory no more, though its session goes on', {
  skip: process.platform === 'win32' && 'Windows has no SIGUSR2',
}, async (t) => {
  const own = await emulatorForTests({ tokenTtlMs: 8_000 })
  const folder = await temporaryFolder(t)
  const cli = startCli(t, ['demo-instance', '--port', '0', '--no-admin'], {
    cwd: folder,
    env: {
      ...own.env,
      NODE_OPTIONS: `--heapsnapshot-signal=SIGUSR2 --diagnostic-dir=${folder}`,
    },
  })
  const port = Number((await cli.saw(/"127\.0\.0\.1:(\d+)"[^\n]*"listening"/))[1])
  const client = await connectedClient(t, port)
  own.control.failApi('credentials', { status: 500 })
  const held = await tokensInMemory(() => cli.child.kill('SIGUSR2'), folder, 1)
  assert.ok(held > 0, 'or this test could not fail')

  const refused = (): Promise<boolean> =>
    connectedClient(t, port).then(
      (another) => another.end().then(() => false),
      (error) => error.code === '57P03',
    )
  while (!(await refused())) await delay(POLL_MS)
  assert.equal(await tokensInMemory(() => cli.child.kill('SIGUSR2'), folder, 2), 0)
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
})

/** How many strings in the heap look like a token; a snapshot collects garbage first. */
async function tokensInMemory(
  snapshot: () => void,
  folder: string,
  number: number,
): Promise<number> {
  snapshot()
  for (;;) {
    const files = (await readdir(folder)).filter((name) => name.endsWith('.heapsnapshot')).sort()
    const path = files.length < number ? undefined : join(folder, files.at(-1)!)
    if (path !== undefined && (await isWhole(path))) {
      return (await readFile(path, 'utf8')).match(/eyJ[\w-]+\.eyJ/g)?.length ?? 0
    }
    await delay(POLL_MS)
  }
}

/** A snapshot ends as JSON does. */
async function isWhole(path: string): Promise<boolean> {
  const { size } = await stat(path)
  const file = await open(path)
  const { buffer, bytesRead } = await file.read({ position: Math.max(0, size - 2), length: 2 })
  await file.close()
  return buffer.toString('latin1', 0, bytesRead).trimEnd().endsWith('}')
}
