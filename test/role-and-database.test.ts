/** As whom and into which database clients are logged in, and when the proxy chooses for them. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { RawClient, type ServerSaid } from './chaos/raw-client.js'
import { SettableClock } from './chaos/world.js'
import { emulatorForTests } from './support/emulator.js'
import { proxyBefore, type TestProxy } from './support/proxy.js'

const emulator = await emulatorForTests()
const { control } = emulator
await control.query('create database homer')

interface Landed {
  readonly role: string
  readonly database: string
  /** Connections to the server that it took. */
  readonly dials: number
}

class ElapsingClock extends SettableClock {
  elapsedMs = 0

  override monotonic(): number {
    return super.monotonic() + this.elapsedMs
  }
}

/** Where a client with these parameters ends up, or what it reads. */
async function land(
  { port }: Pick<TestProxy, 'port'>,
  parameters: Record<string, string>,
): Promise<Landed | ServerSaid | undefined> {
  const before = control.acceptedCount
  const client = await RawClient.connect(port)
  const outcome = await client.login(parameters)
  if (outcome !== 'ready') return outcome
  client.query('select current_user, current_database()')
  const row = (await client.until('Z')).find(({ type }) => type === 'D')!.body
  client.socket.destroy()
  const roleEnd = 6 + row.readInt32BE(2)
  return {
    role: row.toString('utf8', 6, roleEnd),
    database: row.toString('utf8', roleEnd + 4),
    dials: control.acceptedCount - before,
  }
}

const ADA = 'ada@example.com'
const DEFAULT = { role: ADA, database: 'databricks_postgres', dials: 1 }

test('who names no database, or an empty one, gets the default; the role is the identity’s', async (t) => {
  const proxy = await proxyBefore(t, emulator)
  assert.deepEqual(await land(proxy, { user: 'anyone' }), DEFAULT)
  assert.deepEqual(await land(proxy, { user: 'anyone', database: '' }), DEFAULT)
  assert.deepEqual(await land(proxy, {}), DEFAULT)
  const other = await proxyBefore(t, emulator, { database: 'postgres' })
  assert.deepEqual(await land(other, { user: 'anyone' }), { ...DEFAULT, database: 'postgres' })
})

test('a database named like the user, which does not exist, is libpq’s guess: once refused, remembered for a minute', async (t) => {
  const clock = new ElapsingClock()
  const proxy = await proxyBefore(t, emulator, { clock })
  const guess = { user: 'marge', database: 'marge' }
  assert.deepEqual(await land(proxy, guess), { ...DEFAULT, dials: 2 })
  assert.deepEqual(await land(proxy, guess), DEFAULT)
  // A wall clock that is set back makes the minute no longer, and set forward no shorter.
  for (clock.aheadMs of [-3_600_000, 3_600_000]) {
    assert.deepEqual(await land(proxy, guess), DEFAULT)
  }
  clock.elapsedMs = 61_000
  assert.deepEqual(await land(proxy, guess), { ...DEFAULT, dials: 2 })
})

test('a database named like the user that exists is never swapped', async (t) => {
  const proxy = await proxyBefore(t, emulator)
  const asked = { user: 'homer', database: 'homer' }
  assert.deepEqual(await land(proxy, asked), { ...DEFAULT, database: 'homer' })
})

test('any other database that does not exist is refused in the server’s own words', async (t) => {
  const proxy = await proxyBefore(t, emulator)
  const dials = control.acceptedCount
  const said = (await land(proxy, { user: 'marge', database: 'springfield' })) as ServerSaid
  assert.deepEqual([said.code, said.message], ['3D000', 'database "springfield" does not exist'])
  assert.match(said.hint ?? '', /--database/)
  assert.equal(control.acceptedCount - dials, 1)
})

test('where the default does not exist either, that is what the client reads', async (t) => {
  const proxy = await proxyBefore(t, emulator, { database: 'nowhere' })
  const said = (await land(proxy, { user: 'marge', database: 'marge' })) as ServerSaid
  assert.deepEqual([said.code, said.message], ['3D000', 'database "nowhere" does not exist'])
})

test('the guess of one user says nothing about another’s', async (t) => {
  const proxy = await proxyBefore(t, emulator)
  await land(proxy, { user: 'marge', database: 'marge' })
  const said = (await land(proxy, { user: 'bart', database: 'marge' })) as ServerSaid
  assert.equal(said.code, '3D000')
})

test('user=client logs in as what was typed, and needs something typed', async (t) => {
  const proxy = await proxyBefore(t, emulator, { user: 'client' })
  assert.deepEqual(await land(proxy, { user: ADA }), DEFAULT)
  const dials = control.acceptedCount
  const said = (await land(proxy, { database: 'postgres' })) as ServerSaid
  assert.deepEqual(
    [said.code, said.message],
    ['28000', 'no PostgreSQL user name specified in startup packet'],
  )
  assert.match(said.hint ?? '', /user=client/)
  assert.equal(control.acceptedCount, dials, 'nothing is dialled for it')
})

test('a group’s role is logged in as with a token made for the group', async (t) => {
  const target = 'projects/demo/branches/production/endpoints/primary'
  const proxy = await proxyBefore(t, emulator, { targets: [target], group: 'analysts' })
  assert.deepEqual(await land(proxy, { user: 'anyone' }), { ...DEFAULT, role: 'analysts' })
})

test('a static URL logs in with its own role, by SCRAM or in the clear over TLS', async (t) => {
  const at = `@${control.instance('demo-instance').readWriteHost}/databricks_postgres?sslmode=require`
  for (const [user, password] of [
    ['app', 'app-password'],
    ['legacy', 'legacy-password'],
  ] as const) {
    const proxy = await proxyBefore(t, emulator, {
      targets: [`postgresql://${user}:${password}${at}`],
    })
    assert.deepEqual(await land(proxy, { user: 'anyone' }), { ...DEFAULT, role: user })
  }
  const wrong = await proxyBefore(t, emulator, { targets: [`postgresql://app:wrong${at}`] })
  const said = (await land(wrong, { user: 'anyone' })) as ServerSaid
  assert.equal(said.code, '28000')
  assert.match(said.hint ?? '', /password of the role "app" in the URL/)
  assert.ok(!JSON.stringify(wrong.log.lines).includes('app:wrong'))
})
