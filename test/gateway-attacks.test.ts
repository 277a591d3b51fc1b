/** What a hostile client of a gateway tries, and a workspace that says too much. */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { test } from 'node:test'

import { demoUser } from '../src/emulator/inventory.js'
import { FakeClock } from './support/fake-clock.js'
import {
  ada,
  application,
  control,
  type Gateway,
  gateway,
  grace,
  logIn,
  loginOf,
  newPeople,
  rawTls,
  refused,
  whoIs,
} from './support/gateway.js'
import { otherUser } from './support/identities.js'
import { cancel } from './support/proxy.js'
import { RawClient } from './support/raw-client.js'
import { readAll } from './support/sockets.js'

/** All that is written and shown. */
async function everything({ daemon, log }: Gateway): Promise<string> {
  const pages = await Promise.all(
    ['status', 'metrics', ''].map(async (path) =>
      (await fetch(`${daemon.adminUrl}/${path}`)).text(),
    ),
  )
  return pages.join('\n') + JSON.stringify(log.lines)
}

const jwt = (header: object, claims: unknown, signature = 'c2ln'): string =>
  [header, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .concat(signature)
    .join('.')

test('a secret in the field for the user, or in application_name, is not written anywhere', async (t) => {
  const proxy = await gateway(t, { adminPort: 0, logLevel: 'trace' })
  const secrets = [grace.password, application.password, control.mintToken(otherUser).text]
  for (const user of secrets) {
    assert.equal((await refused(t, proxy, { user, password: grace.user })).code, '28P01')
    const both = await refused(t, proxy, { user, password: ada.password })
    assert.equal(both.code, '28000')
    assert.ok(!JSON.stringify(both).includes(user))
  }
  const client = await rawTls(t, proxy)
  client.startup({
    ...{ user: ada.user, database: 'databricks_postgres', application_name: ada.password },
  })
  await client.next()
  client.send('p', `${ada.password}\0`)
  await client.untilReady()
  const written = await everything(proxy)
  for (const secret of [...secrets, ada.password]) assert.ok(!written.includes(secret), secret)
})

test('a secret that the workspace or the server repeats is hidden from everyone', async (t) => {
  const proxy = await gateway(t, { adminPort: 0, logLevel: 'trace', connectTimeout: '600ms' })
  const says = (secret: string): string => `token ${secret} (${secret.slice(0, 30)}) is not liked`
  const secret = `a phrase that only I know ${randomUUID()}`.replaceAll(' ', '-')
  for (const api of ['me', 'credentials'] as const) {
    for (const status of [400, 401, 403, 404, 500]) {
      const given = api === 'me' ? secret : ada.password
      const errorCode = 'PERMISSION_DENIED'
      control.failApi(api, { status, errorCode, message: says(given) }, 30)
      const error = await refused(t, proxy, { ...ada, password: given })
      control.clearFaults()
      assert.ok(!JSON.stringify(error).includes(given.slice(0, 30)), `${api} ${status}`)
    }
  }
  const written = await everything(proxy)
  for (const each of [secret, ada.password]) assert.ok(!written.includes(each.slice(0, 30)))
})

test('no claim of a JWT is believed: only the workspace and the server say whose it is', async (t) => {
  const clock = new FakeClock()
  const proxy = await gateway(t, { clock })
  const now = Math.floor(Date.now() / 1000)
  const { text: real } = control.mintWorkspaceToken(otherUser)
  const claims = { sub: ada.user, exp: now + 3600, iss: 'https://emulator.cloud.databricks.com' }
  const forged: string[] = [
    jwt({ alg: 'none' }, { ...claims, scope: 'all-apis' }, ''),
    jwt({ alg: 'none' }, { ...claims, scope: 'database' }),
    jwt({ alg: 'HS256' }, { ...claims, scope: ['all-apis', 'postgres'] }),
    jwt({ alg: 'HS256' }, { ...claims, scope: { 'all-apis': true } }),
    jwt({ alg: 'HS256' }, { ...claims, scope: 'postgres', exp: now - 3600 }),
    jwt({ alg: 'HS256' }, { ...claims, scope: 'all-apis', exp: 1e300 }),
    jwt({ alg: 'HS256' }, { ...claims, scope: 'all-apis', pad: 'x'.repeat(11_000) }),
    jwt({ alg: 'HS256' }, 'all-apis'),
    `e30.${Buffer.from(`{"scope":${'['.repeat(11_000)}`).toString('base64url')}.c2ln`,
    // Another's claims with a signature that was made for others.
    jwt({ alg: 'ES256' }, { ...claims, scope: 'all-apis' }, real.split('.')[2]),
    real.replace(/\.[^.]*$/, '.'),
  ]
  for (const password of forged) {
    const attempt = refused(t, proxy, { ...ada, password })
    let isOver = false
    const code = attempt.then((error) => error.code).finally(() => (isOver = true))
    while (!isOver) await clock.advance(500)
    assert.equal(await code, '28P01', password.slice(0, 200))
  }
  assert.equal(await whoIs(t, proxy, { user: 'token', password: real }), otherUser.userName)
})

test('a name that only resembles one’s own is refused, and no spelling makes another’s', async (t) => {
  const proxy = await gateway(t)
  const [name, domain] = ada.user.split('@') as [string, string]
  const own = [ada.user.toUpperCase(), 'TOKEN', `${ada.user.toUpperCase()}~analysts`]
  for (const user of own) {
    const me = user.includes('~') ? 'analysts' : demoUser.userName
    assert.equal(await whoIs(t, proxy, { ...ada, user }), me)
  }
  const others = [
    ` ${ada.user}`,
    `${ada.user} `,
    `${ada.user}\t`,
    `${name}@${domain}.`,
    `а${ada.user.slice(1)}`, // Cyrillic
    `${name}\u0301@${domain}`,
    `${name}\u200b@${domain}`,
    `~${ada.user}`,
    `${grace.user}~${ada.user}`,
    `token~${grace.user}`,
    `${ada.user}~${grace.user}`,
    `${ada.user}~~analysts`,
    `${ada.user}~ANALYSTS`,
    `token~`,
  ]
  for (const user of others) {
    const { code } = await refused(t, proxy, { ...ada, user })
    assert.ok(['28000', '28P01'].includes(code ?? ''), `${user}: ${code}`)
  }
})

test('a password that dribbles in ends at handshake-timeout, and keeps no one else out', async (t) => {
  const clock = new FakeClock()
  const proxy = await gateway(t, { clock })
  const slow = await Promise.all(
    Array.from({ length: 10 }, async () => {
      const client = await rawTls(t, proxy)
      client.startup({ user: 'token', database: 'databricks_postgres' })
      await client.next()
      client.socket.write(Buffer.from('p\0\0\x3f\xff', 'latin1'))
      return client
    }),
  )
  for (let second = 0; second < 9; second++) {
    for (const { socket } of slow) socket.write('x')
    await clock.advance(1_000)
  }
  assert.equal(await whoIs(t, proxy, ada), demoUser.userName)
  const answers = Promise.all(slow.map((client) => client.next()))
  await clock.advance(1_000)
  for (const { body } of await answers) assert.match(body.toString(), /C08P01.*timeout expired/)
})

test('lengths that lie end the connection with 08P01', async (t) => {
  const proxy = await gateway(t)
  for (const head of ['70ffffffff', '7000000000', '7000000003', '707fffffff', '5100000008']) {
    const client = await rawTls(t, proxy)
    client.startup({ user: 'token', database: 'databricks_postgres' })
    await client.next()
    client.socket.write(Buffer.from(`${head}61626300`, 'hex'))
    assert.match((await client.next()).body.toString(), /C08P01/, head)
  }
})

test('guesses behind a load balancer count for the /64 of the real client, and for no other', async (t) => {
  const clock = new FakeClock()
  const proxy = await gateway(t, { clock, proxyProtocol: 'on' })
  const guess = async (address: string): Promise<string> => {
    const { socket } = await RawClient.connect(t, proxy.port)
    socket.write(`PROXY TCP6 ${address} ::1 40000 5432\r\n`)
    const client = await rawTls(t, proxy, socket)
    client.startup({ user: ada.user, database: 'databricks_postgres' })
    await client.next()
    client.send('p', `dapi-${randomUUID()}\0`)
    return (await client.next()).body.toString()
  }
  for (let i = 1; i <= 10; i++) assert.match(await guess(`2001:db8::${i}:1`), /C28P01/)
  const asked = control.callCount('me')
  const eleventh = guess('2001:db8:0:0:ffff::1')
  assert.match(await guess('2001:db8:0:1::1'), /C28P01/, 'the next /64 does not wait')
  assert.equal(control.callCount('me'), asked + 1)
  await clock.advance(500)
  assert.match(await eleventh, /C28P01/)
})

test('a group’s credential takes no place of the person that the client names with it', async (t) => {
  const proxy = await gateway(t, { maxConnectionsPerUser: 1 })
  const { text } = control.mintToken(demoUser, { group: 'analysts' })
  const held = await logIn(t, proxy, { user: `${grace.user}~analysts`, password: text })
  assert.equal(await whoIs(t, proxy, grace), otherUser.userName)
  await held.end()
})

test('asking the server which roles there are is slowed down as any guess', async (t) => {
  const clock = new FakeClock()
  const proxy = await gateway(t, { clock, targets: ['demo-instance'] })
  const password = jwt({ alg: 'none' }, {})
  await whoIs(t, proxy, ada)
  for (const how of ['app', `no one ${randomUUID()}`]) {
    for (let i = 0; i < 5; i++) {
      const { code } = await refused(t, proxy, { user: how, password })
      assert.match(code ?? '', /^28/)
    }
  }
  const accepted = control.acceptedCount
  const next = refused(t, proxy, { user: 'postgres', password })
  assert.equal(await whoIs(t, proxy, ada), demoUser.userName)
  assert.equal(control.acceptedCount, accepted + 1, 'the guess waits')
  await clock.advance(500)
  assert.match((await next).code ?? '', /^28/)
})

test('while the workspace is down, people who are known log in for 15 minutes, and others do not', async (t) => {
  const clock = new FakeClock()
  const proxy = await gateway(t, { clock })
  await whoIs(t, proxy, ada)
  const down = async (): Promise<string | undefined> => {
    control.failApi('me', { status: 503, headers: { 'retry-after': '60' } }, 100)
    const error = refused(t, proxy, grace)
    let isOver = false
    const code = error.then((each) => each.code).finally(() => (isOver = true))
    // In small steps: on a busy machine the answer takes many turns, and 15 minutes must not pass.
    while (!isOver) await clock.advance(10)
    return code
  }
  assert.equal(await down(), '57P03')
  assert.equal(await whoIs(t, proxy, ada), demoUser.userName)
  await clock.advance(15 * 60_000)
  const late = refused(t, proxy, ada)
  let isOver = false
  const code = late.then((error) => error.code).finally(() => (isOver = true))
  while (!isOver) await clock.advance(1_000)
  assert.equal(await code, '57P03')
  control.clearFaults()
  assert.equal(await whoIs(t, proxy, grace), otherUser.userName)
})

test('a clock that jumps, either way, lets no one in who was revoked meanwhile', async (t) => {
  for (const jumpMs of [-365 * 86_400_000, 365 * 86_400_000]) {
    const clock = new FakeClock()
    const [person] = await newPeople(1)
    const proxy = await gateway(t, { clock })
    assert.equal(await whoIs(t, proxy, loginOf(person!)), person!.userName)
    control.removeIdentity(person!.userName)
    clock.set(jumpMs)
    assert.equal((await refused(t, proxy, loginOf(person!))).code, '28P01')
  }
})

test('a reload that changes local-auth: the next client meets the new rule, open sessions stay', async (t) => {
  const proxy = await gateway(t)
  const open = await logIn(t, proxy, ada)
  const password = 'a local password'
  const localPassword = { localAuth: 'password', localPassword: password } as const
  await proxy.daemon.reload(proxy.settings(localPassword))
  const local = { ...proxy, port: proxy.daemon.targets[0]!.listener.port }
  assert.equal((await refused(t, local, ada)).code, '28P01', 'a token is not the local password')
  await whoIs(t, local, { user: 'any', password })
  await proxy.daemon.reload(proxy.settings())
  const again = { ...proxy, port: proxy.daemon.targets[0]!.listener.port }
  assert.equal((await refused(t, again, { user: 'any', password })).code, '28P01')
  assert.equal(await whoIs(t, again, grace), otherUser.userName)
  assert.equal((await open.query('select current_user as me')).rows[0].me, demoUser.userName)
})

test('a cancel with the key of another’s session but one bit ends nothing of theirs', async (t) => {
  const proxy = await gateway(t)
  const victim = await logIn(t, proxy, ada)
  const sleeping = victim.query("select pg_sleep(1)::text || 'slept' as done")
  const { processID, secretKey } = victim as unknown as Record<'processID' | 'secretKey', number>
  await cancel(proxy.port, { processID, secretKey: secretKey ^ 1 } as never)
  assert.equal((await sleeping).rows[0].done, 'slept')
})

test('without TLS nothing but a refusal comes, however the client asks', async (t) => {
  const proxy = await gateway(t, { route: 'on', targets: ['projects/demo', 'demo-instance'] })
  for (const user of [
    ada.user,
    'token',
    'demo-instance',
    'nowhere~at~all',
    `${ada.user}~analysts`,
  ]) {
    for (const first of ['', '0000000804d21630']) {
      const client = await RawClient.connect(t, proxy.port)
      if (first !== '') {
        client.socket.write(Buffer.from(first, 'hex')) // GSSENCRequest
        await once(client.socket, 'readable')
        client.socket.read(1)
      }
      client.startup({ user, database: 'databricks_postgres' })
      const all = (await readAll(client.socket)).toString('latin1')
      assert.match(all, /^E/, user)
      assert.ok(!all.includes('R\0\0\0'), 'no password is asked for')
    }
  }
})
