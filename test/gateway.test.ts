/** `local-auth=databricks`: each client is its own Databricks identity, and never another's. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import postgres from 'postgres'

import { demoUser, servicePrincipal } from '../src/emulator/inventory.js'
import { needsPsql } from './support/emulator.js'
import { FakeClock } from './support/fake-clock.js'
import {
  ada,
  application,
  audited,
  control,
  gateway,
  grace,
  logIn,
  loginOf,
  newPeople,
  rawTls,
  refused,
  whoIs,
} from './support/gateway.js'
import { otherUser, userWithoutRole } from './support/identities.js'
import { Scrape } from './support/prometheus.js'
import { psql } from './support/proxy.js'
import { RawClient } from './support/raw-client.js'

/** Without a scope: only the server could say that it is no database credential. */
const JUNK_JWT = ['{"alg":"none"}', '{"sub":"no one"}', 'no signature']
  .map((part) => Buffer.from(part).toString('base64url'))
  .join('.')

test('a personal access token is its owner, by name or as "token"', async (t) => {
  const proxy = await gateway(t)
  assert.equal(await whoIs(t, proxy, ada), demoUser.userName)
  assert.equal(await whoIs(t, proxy, grace), otherUser.userName)
  assert.equal(await whoIs(t, proxy, { ...grace, user: 'token' }), otherUser.userName)
  assert.equal(await whoIs(t, proxy, { ...ada, user: 'Ada@Example.com' }), demoUser.userName)
})

test('an OAuth access token of the workspace is its owner', async (t) => {
  const proxy = await gateway(t)
  const { text } = control.mintWorkspaceToken(otherUser)
  assert.equal(await whoIs(t, proxy, { user: 'token', password: text }), otherUser.userName)
  await audited(proxy, 'login', { method: 'oauth', role: otherUser.userName })
})

test('an application id and its OAuth secret are the service principal', async (t) => {
  const proxy = await gateway(t)
  assert.equal(await whoIs(t, proxy, application), servicePrincipal.userName)
  await audited(proxy, 'login', { method: 'oauth-m2m', role: servicePrincipal.userName })
  const { code } = await refused(t, proxy, { ...application, password: 'dose-of-another' })
  assert.equal(code, '28P01')
})

test('a database credential that was minted elsewhere is passed on, once', async (t) => {
  const proxy = await gateway(t, { warm: 2 })
  const { text } = control.mintToken(otherUser)
  const [minted, asked] = [control.mintedCount, control.callCount('me')]
  const logins = control.logins.length
  const login = { user: otherUser.userName, password: text }
  assert.equal(await whoIs(t, proxy, login), otherUser.userName)
  assert.equal(control.mintedCount, minted)
  assert.equal(control.callCount('me'), asked, 'the workspace is not asked about it')
  assert.equal(control.logins.length, logins + 1, 'it makes no spare connections')
  await audited(proxy, 'login', { method: 'database-credential', role: otherUser.userName })
})

test('a database credential that the server refuses is 28P01, and is not tried again', async (t) => {
  const proxy = await gateway(t)
  const { text } = control.mintToken(otherUser, { lifeMs: -1_000 })
  const [minted, accepted] = [control.mintedCount, control.acceptedCount]
  const error = await refused(t, proxy, { user: otherUser.userName, password: text })
  assert.equal(error.code, '28P01')
  assert.equal(control.acceptedCount, accepted + 1)
  assert.equal(control.mintedCount, minted, 'no token of another takes its place')
  const status = proxy.daemon.status().targets[0]!
  assert.equal(status.state, 'ready', 'one client is refused, and not the target')
})

test('four logins of one address are with the server before it has said yes; others wait for their end', async (t) => {
  const proxy = await gateway(t)
  control.failFront({ at: 'accept', how: 'hang' }, 4)
  const accepted = control.acceptedCount
  const hanging = await Promise.all(Array.from({ length: 4 }, () => rawTls(t, proxy)))
  for (const client of hanging) {
    client.startup({ user: ada.user, database: 'databricks_postgres' })
    await client.next()
    client.send('p', `${JUNK_JWT}\0`)
  }
  while (control.acceptedCount < accepted + 4) await new Promise(setImmediate)
  const guesses = Array.from({ length: 5 }, () =>
    refused(t, proxy, { user: ada.user, password: JUNK_JWT }),
  )
  const { text } = control.mintToken(otherUser)
  const good = whoIs(t, proxy, { user: otherUser.userName, password: text })
  assert.equal(await whoIs(t, proxy, ada), demoUser.userName, 'who has proved it does not wait')
  assert.equal(control.acceptedCount, accepted + 5)
  for (const { socket } of hanging) socket.destroy()
  for (const { code } of await Promise.all(guesses)) assert.equal(code, '28P01')
  assert.equal(await good, otherUser.userName)
  assert.equal(control.acceptedCount, accepted + 11)
})

test('who waits for the logins of others at the server is told 53300 after 30 s, and has no place', async (t) => {
  const clock = new FakeClock()
  const proxy = await gateway(t, { clock, connectTimeout: '5m' })
  control.failFront({ at: 'accept', how: 'hang' }, 4)
  const accepted = control.acceptedCount
  const guess = () => refused(t, proxy, { user: ada.user, password: JUNK_JWT })
  const hanging = Array.from({ length: 4 }, () => guess().catch(() => {}))
  while (control.acceptedCount < accepted + 4) await new Promise(setImmediate)
  const fifth = guess()
  assert.equal(await whoIs(t, proxy, ada), demoUser.userName)
  assert.equal(proxy.daemon.targets[0]!.sessions.admitted, 4)
  await clock.runUntil(fifth)
  assert.equal((await fifth).code, '53300')
  assert.equal(control.acceptedCount, accepted + 5)
  await proxy.daemon.close()
  await Promise.all(hanging)
})

test('database credentials that are wrong, all at once, are slowed down as one by one', async (t) => {
  const clock = new FakeClock()
  const proxy = await gateway(t, { clock })
  const accepted = control.acceptedCount
  let refusals = 0
  const guesses = Array.from({ length: 30 }, async () => {
    await refused(t, proxy, { user: ada.user, password: JUNK_JWT })
    refusals++
  })
  while (refusals < 10) await new Promise(setImmediate)
  await RawClient.connect(t, proxy.port)
  // Ten are at hand, and three more may have begun when the tenth was wrong.
  const tried = control.acceptedCount - accepted
  assert.ok(tried <= 13, `${tried} were tried`)
  while (refusals < 30) await clock.advance(500)
  await Promise.all(guesses)
})

test('a database credential may not be tried with another database either', async (t) => {
  const proxy = await gateway(t)
  const { text } = control.mintToken(otherUser)
  const accepted = control.acceptedCount
  const { userName: user } = otherUser
  const { code } = await refused(t, proxy, { user, password: text, database: user })
  assert.equal(code, '3D000')
  assert.equal(control.acceptedCount, accepted + 1)
})

test('a token for APIs that the workspace answers with 401 is taken as a database credential', async (t) => {
  const proxy = await gateway(t)
  const { text } = control.mintWorkspaceToken(otherUser, -1_000)
  const accepted = control.acceptedCount
  const { code } = await refused(t, proxy, { user: otherUser.userName, password: text })
  assert.equal(code, '28P01')
  assert.equal(control.acceptedCount, accepted + 1, 'the server has the last word')
})

test('a group that the person belongs to is a role of theirs; another group is not', async (t) => {
  const proxy = await gateway(t)
  assert.equal(await whoIs(t, proxy, { ...ada, user: `${ada.user}~analysts` }), 'analysts')
  assert.equal(await whoIs(t, proxy, { ...ada, user: 'token~analysts' }), 'analysts')
  const outsider = await refused(t, proxy, { ...grace, user: `${grace.user}~analysts` })
  assert.equal(outsider.code, '28000')
  const nameless = await refused(t, proxy, { ...ada, user: `${ada.user}~` })
  assert.equal(nameless.code, '28000')
})

test('a typed user that is another identity is refused with 28000', async (t) => {
  const proxy = await gateway(t)
  for (const user of [grace.user, `${grace.user}~analysts`, 'postgres', `${ada.user}x`, '~']) {
    const { code } = await refused(t, proxy, { ...ada, user })
    assert.equal(code, '28000', user)
  }
})

test('a person without a role is told so, and no one else is any worse for it', async (t) => {
  const proxy = await gateway(t)
  const { userName: user, pat } = userWithoutRole
  const { code, hint } = await refused(t, proxy, { user, password: pat! })
  assert.equal(code, '28000')
  assert.match(hint ?? '', /databricks_create_role/)
  assert.equal(await whoIs(t, proxy, ada), demoUser.userName)
})

test('one port for several targets: the role, a group of it, and the target after the last ~', async (t) => {
  const proxy = await gateway(t, {
    targets: [
      'projects/demo',
      { target: 'demo-instance', name: 'shop' },
      'projects/many/branches/*',
    ],
    route: 'on',
  })
  const at = async (user: string, password: string): Promise<[string, string]> => {
    const me = await whoIs(t, proxy, { user, password })
    return [me, control.logins.at(-1)!.host!]
  }
  const shop = control.instance('demo-instance').readWriteHost
  assert.deepEqual(await at(`${ada.user}~shop`, ada.password), [demoUser.userName, shop])
  assert.deepEqual(await at('shop', grace.password), [otherUser.userName, shop])
  const demo = control.endpoint('projects/demo/branches/production/endpoints/primary').host
  assert.deepEqual(await at(`token~analysts~projects/demo`, ada.password), ['analysts', demo])
  const dev = control.endpoint('projects/many/branches/dev/endpoints/primary').host
  assert.deepEqual(await at(`token~projects/many/branches/dev`, grace.password), [
    otherUser.userName,
    dev,
  ])
  const asked = control.callCount()
  const stranger = { user: 'token~projects/many/branches/idle', password: 'dapi-stranger' }
  assert.equal((await refused(t, proxy, stranger)).code, '28P01')
  assert.equal(control.callCount(), asked + 1, 'no branch is looked for on their behalf')
  const unknown = await refused(t, proxy, { ...ada, user: `${ada.user}~nowhere` })
  assert.equal(unknown.code, '3D000')
})

test('without TLS, on loopback too, the client gets 28000 before any password is asked for', async (t) => {
  const proxy = await gateway(t)
  const client = await RawClient.connect(t, proxy.port)
  client.startup({ user: ada.user })
  const { type, body } = await client.next()
  assert.equal(type, 'E')
  assert.match(body.toString(), /C28000\0/)
})

test('the password is asked for in the clear, up to 16 KB', async (t) => {
  const proxy = await gateway(t)
  const ask = async (password: string | Buffer): Promise<string> => {
    const client = await rawTls(t, proxy)
    client.startup({ user: 'token', database: 'databricks_postgres' })
    const { type, body } = await client.next()
    assert.equal(type, 'R')
    assert.equal(body.readInt32BE(0), 3)
    client.send('p', Buffer.concat([Buffer.from(password), Buffer.alloc(1)]))
    return (await client.next()).body.toString()
  }
  assert.match(await ask('x'.repeat(16 * 1024)), /C28P01/)
  assert.match(await ask('x'.repeat(16 * 1024 + 1)), /C08P01/)
  assert.match(await ask(''), /C28P01/)
  assert.match(await ask('a\0b'), /C08P01/)
  assert.match(await ask('pässwörd'), /C28P01/)
  assert.match(await ask(Buffer.from('dapi\xff', 'latin1')), /C28P01\0Mpassword is not valid UTF-8/)
})

test('a no is remembered for 10 s, for this user and password together', async (t) => {
  const clock = new FakeClock()
  const proxy = await gateway(t, { clock })
  const wrong = { ...ada, password: 'dapi-wrong' }
  const asked = control.callCount('me')
  for (let i = 0; i < 3; i++) assert.equal((await refused(t, proxy, wrong)).code, '28P01')
  assert.equal(control.callCount('me'), asked + 1)
  assert.equal((await refused(t, proxy, { ...wrong, user: 'token' })).code, '28P01')
  assert.equal(control.callCount('me'), asked + 2, 'another user is another question')
  assert.equal(await whoIs(t, proxy, ada), demoUser.userName, 'the right password is not held up')
  await clock.advance(10_000)
  assert.equal((await refused(t, proxy, wrong)).code, '28P01')
  assert.equal(control.callCount('me'), asked + 4)
})

for (const [fault, words] of [
  [{ status: 500 }, '500'],
  [{ status: 404 }, '404'],
  [{ status: 429, headers: { 'retry-after': '60' } }, '429'],
  [{ how: 'garbage' }, 'a page in place of JSON'],
] as const) {
  test(`a workspace that answers ${words} is 57P03, and never remembered`, async (t) => {
    const proxy = await gateway(t, { connectTimeout: '600ms' })
    control.failApi('me', fault)
    assert.equal((await refused(t, proxy, grace)).code, '57P03')
    control.clearFaults()
    assert.equal(await whoIs(t, proxy, grace), otherUser.userName)
  })
}

test('a workspace that hangs is 57P03 after connect-timeout', async (t) => {
  const proxy = await gateway(t, { connectTimeout: '400ms' })
  control.failApi('me', { delayMs: 5_000 })
  assert.equal((await refused(t, proxy, grace)).code, '57P03')
})

test('a person is asked about once, however many of their clients come, and again after 15 minutes', async (t) => {
  const clock = new FakeClock()
  const proxy = await gateway(t, { clock })
  const asked = control.callCount('me')
  const all = await Promise.all(Array.from({ length: 12 }, () => whoIs(t, proxy, grace)))
  assert.deepEqual(new Set(all), new Set([otherUser.userName]))
  assert.equal(control.callCount('me'), asked + 1)
  await clock.advance(14 * 60_000)
  await whoIs(t, proxy, grace)
  assert.equal(control.callCount('me'), asked + 1)
  const minted = control.mintedCount
  await clock.advance(60_000)
  await whoIs(t, proxy, grace)
  assert.equal(control.callCount('me'), asked + 2)
  assert.equal(control.mintedCount, minted, 'the credential lives on')
})

test('at most 8 people are asked about at once', async (t) => {
  const people = await newPeople(20)
  const proxy = await gateway(t)
  control.failApi('me', { delayMs: 500 }, 8)
  const before = control.callCount('me')
  const logins = people.map((person) => whoIs(t, proxy, loginOf(person)))
  // All have connected, and so have given their password, before the first answer comes.
  while (proxy.daemon.targets[0]!.sessions.admitted === 0) {
    assert.ok(control.callCount('me') - before <= 8)
    await new Promise(setImmediate)
  }
  assert.deepEqual(
    await Promise.all(logins),
    people.map(({ userName }) => userName),
  )
})

test('twenty people who come at once from one address wait for no one’s wrong answers', async (t) => {
  const people = await newPeople(20)
  const clock = new FakeClock() // stands still: who had to wait would wait for ever
  const proxy = await gateway(t, { clock })
  const names = await Promise.all(people.map((person) => whoIs(t, proxy, loginOf(person))))
  assert.deepEqual(
    names,
    people.map(({ userName }) => userName),
  )
})

test('wrong answers are slowed down per client address', async (t) => {
  const clock = new FakeClock()
  const proxy = await gateway(t, { clock })
  for (let i = 0; i < 10; i++) {
    const { code } = await refused(t, proxy, { ...ada, password: `dapi-${i}` })
    assert.equal(code, '28P01')
  }
  const asked = control.callCount('me')
  let left = 11
  const guesses = Array.from({ length: left }, async (_, i) => {
    const { code } = await refused(t, proxy, { ...ada, password: `dapi-more-${i}` })
    left--
    return code
  })
  // Ten wait for their turn by then, and one more would wait too long.
  await proxy.log.seen(({ facts }) => facts.sqlState === '53300')
  assert.equal(control.callCount('me'), asked, 'no further guess was asked about')
  while (left > 0) await clock.advance(500)
  const codes = await Promise.all(guesses)
  assert.equal(codes.filter((code) => code === '53300').length, 1)
})

test('who was revoked is out at the next check, and what was theirs is gone', async (t) => {
  const clock = new FakeClock()
  const [person] = await newPeople(1)
  const login = loginOf(person!)
  const proxy = await gateway(t, { clock })
  const open = await logIn(t, proxy, login)
  control.removeIdentity(person!.userName)
  await clock.advance(15 * 60_000)
  assert.equal((await refused(t, proxy, login)).code, '28P01')
  const { rows } = await open.query('select current_user as me')
  assert.equal(rows[0].me, person!.userName, 'an open session goes on')
})

test('who was revoked is out at once when the workspace refuses to mint', async (t) => {
  const [person] = await newPeople(1)
  const login = loginOf(person!)
  const proxy = await gateway(t)
  assert.equal(await whoIs(t, proxy, login), person!.userName)
  control.removeIdentity(person!.userName)
  control.revokeTokens('database')
  assert.equal((await refused(t, proxy, login)).code, '28P01')
})

test('a spare connection of a group’s role is given to the person who made it, and to no other', async (t) => {
  const [one, other] = await newPeople(2, ['analysts'])
  const proxy = await gateway(t, { warm: 1 })
  const spares = proxy.daemon.targets[0]!.spares!
  const login = { ...loginOf(one!), user: `${one!.userName}~analysts` }
  await whoIs(t, proxy, login)
  while (spares.held === 0) await new Promise(setImmediate)
  await whoIs(t, proxy, { ...loginOf(other!), user: `${other!.userName}~analysts` })
  assert.equal(spares.hits, 0)
  await whoIs(t, proxy, login)
  while (spares.held === 0) await new Promise(setImmediate)
  await whoIs(t, proxy, login)
  assert.equal(spares.hits, 1)
})

test('max-connections-per-user counts each person apart, and group logins with them', async (t) => {
  const proxy = await gateway(t, { maxConnectionsPerUser: 2 })
  const [first] = [await logIn(t, proxy, ada), await logIn(t, proxy, { ...ada, user: 'token' })]
  const full = await refused(t, proxy, { ...ada, user: `${ada.user}~analysts` })
  assert.equal(full.code, '53300')
  assert.equal(await whoIs(t, proxy, grace), otherUser.userName)
  const { text } = control.mintToken(demoUser)
  assert.equal((await refused(t, proxy, { ...ada, password: text })).code, '53300')
  await first!.end()
  await proxy.log.seen(({ facts }) => facts.event === 'logout' && facts.user === ada.user)
  assert.equal(await whoIs(t, proxy, ada), demoUser.userName)
})

test('a name that is not proved takes no place of its owner', async (t) => {
  const proxy = await gateway(t, { maxConnectionsPerUser: 1 })
  const expired = control.mintToken(demoUser, { lifeMs: -1_000 }).text
  for (let i = 0; i < 3; i++) {
    assert.equal((await refused(t, proxy, { ...ada, password: expired })).code, '28P01')
  }
  assert.equal(await whoIs(t, proxy, ada), demoUser.userName)
})

test('login and logout are audited, with quiet too', async (t) => {
  const proxy = await gateway(t, { quiet: true })
  const client = await logIn(t, proxy, { ...ada, user: 'token~analysts' })
  const { rows } = await client.query('select pg_backend_pid() as pid')
  await client.end()
  for (const event of ['login', 'logout'] as const) {
    const facts = await audited(proxy, event, { role: 'analysts' })
    const { session, client: from, backend_pid: pid, ...rest } = facts
    assert.match(String(session), /^[0-9a-f]{8}$/)
    assert.match(String(from), /^(127\.0\.0\.1|\[::1\]):\d+$/)
    assert.equal(pid, rows[0].pid)
    const target = 'projects/demo'
    assert.deepEqual(rest, {
      event,
      user: 'token~analysts',
      role: 'analysts',
      method: 'pat',
      target,
    })
  }
})

test('the proxy’s own identity mints no credential, and its clients never get it', async (t) => {
  const minted = control.mintedCount
  const proxy = await gateway(t)
  await proxy.log.seen(({ message }) => message === 'ready')
  assert.equal(control.mintedCount, minted)
  assert.equal((await refused(t, proxy, { user: ada.user, password: 'wrong' })).code, '28P01')
  assert.equal(control.mintedCount, minted)
})

test('credentials of people are counted, a refusal to one of them apart, and no one is named', async (t) => {
  const [person] = await newPeople(1)
  const proxy = await gateway(t, { adminPort: 0 })
  const counts = async (): Promise<number[]> => {
    const scrape = await Scrape.of(proxy.daemon.adminUrl!)
    assert.doesNotMatch(scrape.text, /example\.com/)
    return ['succeeded', 'refused', 'failed'].map((outcome) =>
      scrape.value('lakebase_proxy_credential_refreshes_total', {
        ...{ target: 'projects/demo', outcome },
      }),
    )
  }
  assert.deepEqual(await counts(), [0, 0, 0])
  await whoIs(t, proxy, ada)
  await whoIs(t, proxy, { ...ada, user: `${ada.user}~analysts` })
  await whoIs(t, proxy, loginOf(person!))
  assert.deepEqual(await counts(), [3, 0, 0])
  await refused(t, proxy, { ...grace, user: `${grace.user}~analysts` })
  assert.deepEqual(await counts(), [3, 1, 0])
  control.removeIdentity(person!.userName)
  control.revokeTokens('database')
  await refused(t, proxy, loginOf(person!))
  assert.deepEqual(await counts(), [3, 2, 0])
  control.failApi('credentials', { status: 404 })
  await refused(t, proxy, grace)
  assert.deepEqual(await counts(), [3, 2, 1])
})

test('psql, pg and postgres.js log in with a token saved as the password', {
  skip: needsPsql,
}, async (t) => {
  const proxy = await gateway(t)
  const { localCaFile } = proxy.daemon
  const conninfo = `host=localhost port=${proxy.port} user=token dbname=databricks_postgres sslmode=verify-full sslrootcert=${localCaFile}`
  const ran = await psql(conninfo, 'select current_user', { PGPASSWORD: grace.password })
  assert.equal(ran.stdout, `${otherUser.userName}\n`, ran.stderr)
  const byDefault = conninfo.replace(' dbname=databricks_postgres', '')
  const guessed = await psql(byDefault, 'select current_database()', { PGPASSWORD: ada.password })
  assert.equal(guessed.stdout, 'databricks_postgres\n', guessed.stderr)
  const sql = postgres({
    ...{ host: 'localhost', port: proxy.port, user: 'token', password: ada.password, max: 1 },
    ...{ database: 'databricks_postgres', ssl: { ca: proxy.ca } },
  })
  assert.equal((await sql`select current_user as me`)[0]!.me, demoUser.userName)
  await sql.end()
})

test('two hundred people at once, with warm, short tokens and refusals: each is who logged in', async (t) => {
  const people = await newPeople(200)
  const { behaviour } = control
  const { tokenTtlMs } = behaviour
  t.after(() => {
    behaviour.tokenTtlMs = tokenTtlMs
  })
  const proxy = await gateway(t, { warm: 2 })
  const other = people.find(({ pat }) => pat !== undefined)!
  const visit = async (at: number): Promise<void> => {
    const person = people[at % people.length]!
    const login = loginOf(person)
    if (at % 10 === 7) {
      const { code } = await refused(t, proxy, { ...login, password: other.pat! })
      assert.equal(code, '28000')
    }
    if (at % 40 === 8) {
      const { code } = await refused(t, proxy, { ...login, password: 'dapi-of-no-one' })
      assert.equal(code, '28P01')
    }
    const user = person.pat !== undefined && at % 3 === 0 ? 'token' : login.user
    assert.equal(await whoIs(t, proxy, { ...login, user }), person.userName)
    // The next client of the same person may be given a spare connection: this person's.
    if (at % 5 === 0) assert.equal(await whoIs(t, proxy, login), person.userName)
  }
  const round = async (): Promise<void> => {
    const turns = people.map((_, at) => at).values()
    const worker = async (): Promise<void> => {
      for (const at of turns) await visit(at)
    }
    await Promise.all(Array.from({ length: 20 }, worker))
  }
  behaviour.tokenTtlMs = 8_000
  const { mintedCount } = control
  // Until tokens have been renewed meanwhile.
  do await round()
  while (control.mintedCount - mintedCount <= people.length)
  // Now each has a token that is refused once, and gets another one of the same person.
  behaviour.tokenTtlMs = 3600_000
  await Promise.all(people.slice(0, 50).map((_, at) => visit(at)))
  control.revokeTokens('database')
  await round()
  const spares = proxy.daemon.targets[0]!.spares!
  for (const person of people.slice(0, 4)) {
    const { hits } = spares
    await whoIs(t, proxy, loginOf(person))
    while (spares.held === 0) await new Promise(setImmediate)
    assert.equal(await whoIs(t, proxy, loginOf(person)), person.userName)
    assert.equal(spares.hits, hits + 1)
  }
})
