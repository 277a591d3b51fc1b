/**
 * `projects/P/branches/*`: a target for every branch of a project, opened and closed as clients come
 * and go.
 */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import pg from 'pg'

import { demoInventory, demoUser, type Identity, project } from '../src/emulator/inventory.js'
import { eventually } from './chaos/world.js'
import { emulatorForTests } from './support/emulator.js'
import { FakeClock, settle } from './support/fake-clock.js'
import { otherUser } from './support/identities.js'
import { connectedClient, proxyBefore, type TestProxy } from './support/proxy.js'

const MANY = Array.from({ length: 102 }, (_, at) => `b${at}`)
const now = Date.now()
const inventory = demoInventory(now)
inventory.projects.push(
  project(
    'shop',
    now - 3_600_000,
    ['main', 'dev', ...MANY].map((id) => ({ id })),
  ),
)
const emulator = await emulatorForTests({ inventory })
const { control } = emulator

const EVERY = 'projects/shop/branches/*'
const ON = { targets: ['demo-instance', EVERY], route: 'on' } as const
const named = (id: string): string => `projects/shop/branches/${id}`
const hostOf = (id: string): string => control.endpoint(`${named(id)}/endpoints/primary`).host
const opened = ({ daemon }: TestProxy): string[] =>
  daemon.targets.map(({ settings }) => settings.name).filter((name) => name !== EVERY)

/** The error of a client with this user name. */
async function refusal(
  { port }: TestProxy,
  user: string,
  database = 'postgres',
): Promise<pg.DatabaseError> {
  const client = new pg.Client({ host: '127.0.0.1', port, user, database })
  client.on('error', () => {})
  const error = await client.connect().then(
    () => undefined,
    (reason: unknown) => reason,
  )
  await client.end().catch(() => {})
  assert.ok(error instanceof pg.DatabaseError, String(error))
  return error
}

/** How many calls asked for an endpoint of the project, whichever its branch. */
function lookUps(): number {
  return control.calls().filter(({ url }) => url.includes('/projects/shop')).length
}

test('a branch is opened at its first clients, asked for once, and shown with its sessions', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  assert.deepEqual(opened(proxy), ['demo-instance'])
  const before = lookUps()
  await Promise.all(
    Array.from({ length: 10 }, () => connectedClient(t, proxy.port, { user: named('dev') })),
  )
  const first = lookUps() - before
  await connectedClient(t, proxy.port, { user: `alice~${named('dev')}` })
  await connectedClient(t, proxy.port, { options: `-c lakebase.target=${named('dev')}` })
  assert.equal(lookUps() - before, first, 'later clients ask for nothing')
  await connectedClient(t, proxy.port, { user: named('main') })
  assert.equal(lookUps() - before, 2 * first, 'ten clients have asked as often as one')
  assert.equal(control.logins.at(-2)!.host, hostOf('dev'))
  assert.equal(control.logins.at(-1)!.host, hostOf('main'))
  const { targets } = proxy.daemon.status()
  assert.deepEqual(
    targets.map(({ name, sessionsOpen, state }) => [name, sessionsOpen, state]),
    [
      ['demo-instance', 0, 'ready'],
      [EVERY, 0, 'ready'],
      [named('dev'), 12, 'ready'],
      [named('main'), 1, 'ready'],
    ],
  )
  assert.match(targets[2]!.connect.psql, / -U projects\/shop\/branches\/dev /)
  assert.match(targets[1]!.connect.psql, / -U projects\/shop\/branches\/BRANCH /)
})

test('a choice may go on to an endpoint of the branch, or to a database of it', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  const ofEndpoint = `${named('dev')}/endpoints/primary`
  await connectedClient(t, proxy.port, { user: ofEndpoint })
  assert.equal(control.logins.at(-1)!.host, hostOf('dev'))
  const ofDatabase = `${named('main')}/databases/postgres`
  const client = await connectedClient(t, proxy.port, { user: ofDatabase, database: ofDatabase })
  const { rows } = await client.query('select current_database() as name')
  assert.equal(rows[0].name, 'postgres')
  assert.equal(control.logins.at(-1)!.host, hostOf('main'))
  assert.deepEqual(opened(proxy), ['demo-instance', ofEndpoint, named('main')])
  const { code, message } = await refusal(proxy, `${named('dev')}/endpoints/nosuch`)
  assert.equal(code, '3D000')
  assert.match(message, /endpoints\/nosuch does not exist/)
})

test('a database that does not exist closes no branch, and keeps none from being opened', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  await connectedClient(t, proxy.port, { user: named('dev') })
  const before = lookUps()
  for (let count = 0; count < 40; count++) {
    const user = `${named('dev')}/databases/nosuch${count}`
    const { code, message } = await refusal(proxy, user, user) // as libpq does
    assert.equal(code, '3D000')
    assert.match(message, /database "nosuch\d+" does not exist/)
  }
  assert.equal((await refusal(proxy, named('dev'), 'nosuch')).code, '3D000')
  assert.equal(lookUps(), before)
  assert.deepEqual(opened(proxy), ['demo-instance', named('dev')])
  await connectedClient(t, proxy.port, { user: named('dev') })
  await connectedClient(t, proxy.port, { user: named('main') })
})

test('a branch is closed ten minutes after its last client, and not before', async (t) => {
  const clock = new FakeClock()
  const proxy = await proxyBefore(t, emulator, { ...ON, clock, adminPort: 0 })
  const client = await connectedClient(t, proxy.port, { user: named('dev') })
  await clock.advance(11 * 60_000)
  assert.deepEqual(opened(proxy), ['demo-instance', named('dev')])
  await client.end()
  const target = proxy.daemon.targets[2]!
  await eventually(() => target.sessions.admitted === 0, 'the session does not end')
  await clock.advance(9 * 60_000)
  assert.deepEqual(opened(proxy), ['demo-instance', named('dev')])
  const metrics = async (): Promise<string> =>
    (await fetch(`${proxy.daemon.adminUrl}/metrics`)).text()
  assert.match(await metrics(), /sessions_total\{target="projects\/shop\/branches\/dev"/)
  await clock.advance(60_001)
  assert.deepEqual(opened(proxy), ['demo-instance'])
  await settle()
  assert.doesNotMatch(await metrics(), /projects\/shop\/branches\/dev/)
  await connectedClient(t, proxy.port, { user: named('dev') })
})

test('a branch whose ten minutes end while a client is on its way stays open for it', async (t) => {
  const clock = new FakeClock()
  const proxy = await proxyBefore(t, emulator, {
    ...{ ...ON, targets: [EVERY], clock, localAuth: 'databricks', localTls: 'auto' },
  })
  const logIn = async ({ userName, pat }: Identity): Promise<pg.Client> => {
    const login = { user: `${userName}~${named('dev')}`, password: pat! }
    const client = await connectedClient(t, proxy.port, {
      ...{ ...login, database: 'postgres' },
      ssl: { rejectUnauthorized: false },
    })
    return client
  }
  await (await logIn(demoUser)).end()
  const [, dev] = proxy.daemon.targets
  await eventually(() => dev!.sessions.admitted === 0, 'the session does not end')
  await clock.advance(10 * 60_000 - 1)
  const before = control.callCount('me')
  control.failApi('me', { delayMs: 0 }, 1)
  control.failApi('me', { delayMs: 300 }, 1)
  const coming = logIn(otherUser)
  coming.catch(() => {})
  await eventually(() => control.callCount('me') >= before + 2, 'the branch asks who it is')
  await clock.advance(2)
  await coming
  assert.equal(proxy.daemon.targets[1], dev)
})

test('a branch that does not exist gets the workspace’s words, remembered for a moment', async (t) => {
  const clock = new FakeClock()
  const proxy = await proxyBefore(t, emulator, { ...ON, clock })
  const { code, message, hint } = await refusal(proxy, named('nosuch'))
  assert.equal(code, '3D000')
  assert.match(message, /projects\/shop\/branches\/nosuch does not exist/)
  assert.match(hint ?? '', /lakebase-proxy branches list projects\/shop$/)
  const calls = control.callCount()
  assert.equal((await refusal(proxy, `bob~${named('nosuch')}`)).message, message)
  assert.equal(control.callCount(), calls, 'it is not asked for again at once')
  await clock.advance(5_000)
  await refusal(proxy, named('nosuch'))
  assert.ok(control.callCount() > calls)
  assert.deepEqual(opened(proxy), ['demo-instance'])
  const { targets } = proxy.daemon.status()
  assert.deepEqual(
    targets.map(({ name, state, totals }) => [name, state, totals.failed]),
    [
      ['demo-instance', 'ready', 0],
      [EVERY, 'ready', 3],
    ],
  )
})

test('a flood of made-up names opens nothing, asks little, and leaves open branches alone', async (t) => {
  const clock = new FakeClock()
  const proxy = await proxyBefore(t, emulator, { ...ON, clock, adminPort: 0 })
  await connectedClient(t, proxy.port, { user: named('dev') })
  const before = lookUps()
  const codes = new Map<string, number>()
  for (let round = 0; round < 10; round++) {
    const made = Array.from({ length: 30 }, (_, at) => named(`made-up-${round}-${at}`))
    for (const { code } of await Promise.all(made.map((user) => refusal(proxy, user)))) {
      codes.set(code!, (codes.get(code!) ?? 0) + 1)
    }
  }
  const asked = lookUps() - before
  assert.ok(asked <= 200, `${asked} calls`)
  assert.deepEqual([...codes.keys()].sort(), ['3D000', '53300'])
  assert.deepEqual(opened(proxy), ['demo-instance', named('dev')])
  await connectedClient(t, proxy.port, { user: named('dev') })
  const text = await (await fetch(`${proxy.daemon.adminUrl}/metrics`)).text()
  assert.doesNotMatch(text, /made-up/)
  await clock.advance(60_000)
  await connectedClient(t, proxy.port, { user: named('main') })
})

test('at most a hundred branches are open: one without clients makes room, one with clients does not', async (t) => {
  const proxy = await proxyBefore(t, emulator, { ...ON, targets: [EVERY] })
  const clients: pg.Client[] = []
  for (const id of MANY.slice(0, 100)) {
    clients.push(await connectedClient(t, proxy.port, { user: named(id) }))
  }
  const { code, detail } = await refusal(proxy, named('b100'))
  assert.equal(code, '53300')
  assert.match(detail ?? '', /^At most 100 branches/)
  await clients[7]!.end()
  const seventh = proxy.daemon.targets.find(({ settings }) => settings.name === named('b7'))!
  await eventually(() => seventh.sessions.admitted === 0, 'the session does not end')
  await connectedClient(t, proxy.port, { user: named('b100') })
  const names = opened(proxy)
  assert.equal(names.length, 100)
  assert.ok(!names.includes(named('b7')) && names.includes(named('b100')))
})

test('names that are not a branch of the project are refused without asking the workspace', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  await connectedClient(t, proxy.port)
  const calls = control.callCount()
  for (const user of [
    ...['projects/shop/branches/', 'projects/shop/branches/*', 'projects/shop', 'projects/'],
    ...['projects/shop/branches/../../other', 'projects/shop/branches/dev/endpoints/'],
    ...['projects/shop/branches/dev/roles/x', 'projects/shop/branches/dev/endpoints/a/databases/b'],
    ...['projects/shop/branches/dev/databases/a b', 'projects/shop/branches/*/endpoints/primary'],
    ...['projects/other/branches/dev', 'projects/shop/branches/dév', 'projects/shop/branches/a b'],
    ...[`projects/shop/branches/${'x'.repeat(9_000)}`, 'projects/shop/branches/dev?user=x'],
    ...['projects/shop/branches/dev\u202e', 'a~', '~', '~~', '\u0007~\u001b[31m'],
  ]) {
    const { code, message, detail } = await refusal(proxy, user)
    assert.equal(code, '3D000', user.slice(0, 80))
    assert.ok(message.length < 200 && !/[\p{Cc}\u202e]/u.test(message), message)
    assert.match(
      detail ?? '',
      /^This lakebase-proxy serves demo-instance, projects\/shop\/branches\/\*\./,
    )
  }
  assert.equal(control.callCount(), calls)
})

test('with no other target, a client that names no branch is refused', async (t) => {
  const proxy = await proxyBefore(t, emulator, { ...ON, targets: [EVERY] })
  const { code, hint } = await refusal(proxy, 'anyone')
  assert.equal(code, '3D000')
  assert.equal(hint, 'Name one of them as the user, as in: psql -U projects/shop/branches/BRANCH')
  await assert.rejects(
    async () => proxy.settings({ targets: [EVERY], route: 'off' }),
    /every branch of a project, and route is off/,
  )
})

test('a workspace that cannot be asked is not remembered as an answer', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  await connectedClient(t, proxy.port)
  control.failApi(undefined, { status: 500 })
  assert.equal((await refusal(proxy, named('dev'))).code, '57P03')
  control.clearFaults()
  await connectedClient(t, proxy.port, { user: named('dev') })
})

test('a reload leaves open branches alone; without their target they end with their sessions', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  const client = await connectedClient(t, proxy.port, { user: named('dev') })
  const open = proxy.daemon.targets[2]
  await proxy.daemon.reload(proxy.settings({ targets: [...ON.targets, 'second-instance'] }))
  assert.equal(proxy.daemon.targets[2], open)
  await proxy.daemon.reload(proxy.settings({ targets: ['demo-instance'] }))
  assert.deepEqual(opened(proxy), ['demo-instance'])
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
  assert.equal((await refusal(proxy, named('dev'))).code, '3D000')
  await client.end()
})

test('a choice that is under way at a reload is served by what comes after it', async (t) => {
  const proxy = await proxyBefore(t, emulator, ON)
  await connectedClient(t, proxy.port)
  const choose = async (id: string): Promise<{ client: Promise<pg.Client> }> => {
    const before = lookUps()
    control.failApi('branch', { delayMs: 400 }, 1)
    const client = connectedClient(t, proxy.port, { user: named(id) })
    client.catch(() => {})
    await eventually(() => lookUps() > before, 'no branch is looked for')
    return { client }
  }
  const every = { target: EVERY, maxConnections: 7 } as const
  const served = await choose('dev')
  await proxy.daemon.reload(proxy.settings({ targets: ['demo-instance', every] }))
  assert.equal((await (await served.client).query('select 1 as one')).rows[0].one, 1)
  assert.deepEqual(opened(proxy), ['demo-instance', named('dev')])
  const refused = await choose('main')
  await proxy.daemon.reload(proxy.settings({ targets: ['demo-instance'] }))
  await assert.rejects(refused.client, { code: '3D000' })
})

test('a choice that is under way when a reload changes the local password is refused', async (t) => {
  const asking = { ...ON, localAuth: 'password', localPassword: 'the old one' } as const
  const proxy = await proxyBefore(t, emulator, asking)
  t.after(() => control.clearFaults())
  for (const [localPassword, isServed] of [
    ['the old one', true],
    ['the new one', false],
  ] as const) {
    const before = lookUps()
    control.failApi('branch', { delayMs: 400 }, 1)
    const user = named(isServed ? 'dev' : 'main')
    const client = connectedClient(t, proxy.port, { user, password: 'the old one' })
    client.catch(() => {})
    await eventually(() => lookUps() > before, 'no branch is looked for')
    const every = { target: EVERY, maxConnections: 7 }
    const targets = ['demo-instance', every]
    await proxy.daemon.reload(proxy.settings({ ...asking, targets, localPassword }))
    if (isServed) await (await client).query('select 1')
    else await assert.rejects(client, { code: '57P03' })
  }
})

test('a drain ends the sessions of branches, and opens no more', async (t) => {
  const clock = new FakeClock()
  const proxy = await proxyBefore(t, emulator, { ...ON, clock })
  const busy = await connectedClient(t, proxy.port, { user: named('dev') })
  await busy.query('begin')
  const drained = proxy.daemon.drain()
  assert.equal((await refusal(proxy, named('main'))).code, '57P03')
  assert.equal((await refusal(proxy, named('dev'))).code, '57P03')
  await clock.advance(30_000)
  assert.equal(await drained, false)
})
