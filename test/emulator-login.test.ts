/** Logging in at the emulator's front door, with other people's clients. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import tls from 'node:tls'

import pg from 'pg'

import { demoUser, servicePrincipal } from '../src/emulator/inventory.js'
import { emulatorForTests, frontClient, frontPsql, needsPsql } from './support/emulator.js'
import { otherUser, userWithoutRole } from './support/identities.js'
import { cancelRequest, connect, readAll } from './support/sockets.js'

const emulator = await emulatorForTests()
const { control } = emulator
const provisioned = control.instance('demo-instance').readWriteHost
const autoscaling = control.endpoint('projects/demo/branches/production/endpoints/primary').host

function login(host: string, user: string, password: string): Promise<unknown> {
  const client = frontClient(emulator, { host, user, password })
  return client.connect().then(() => client.end())
}

test('psql logs in with a token, verifying the name of the host', { skip: needsPsql }, async () => {
  const { text: password } = control.mintToken(demoUser)
  const user = demoUser.userName
  const sql = 'select current_user, current_database()'
  const said = await frontPsql(emulator, { host: provisioned, user, password }, '-c', sql)
  assert.equal(said, `${user}|databricks_postgres\n`)
  const options = { host: 'elsewhere.example.com', user, password }
  await assert.rejects(frontPsql(emulator, options, '-c', sql), /does not match host name/)
})

test('a login is recorded with its host, its parameters and the number of its token', async () => {
  const token = control.mintToken(servicePrincipal)
  await login(autoscaling, servicePrincipal.userName, token.text)
  const last = control.logins.at(-1)!
  assert.equal(last.host, autoscaling)
  assert.equal(last.parameters.get('user'), servicePrincipal.userName)
  assert.equal(last.tokenNumber, token.number)
})

test('parameters of the StartupMessage reach PostgreSQL unchanged', async () => {
  const client = new pg.Client({
    ...{ host: '127.0.0.1', port: emulator.frontPort, database: 'databricks_postgres' },
    ...{ user: demoUser.userName, password: control.mintToken(demoUser).text },
    ssl: { ca: emulator.caPem, servername: provisioned },
    ...{ application_name: 'an app', options: '-c search_path=elsewhere -c work_mem=7MB' },
  })
  await client.connect()
  const settings = ['application_name', 'search_path', 'work_mem']
  const sql = settings.map((name) => `current_setting('${name}') as ${name}`).join(', ')
  const { rows } = await client.query(`select ${sql}`)
  assert.deepEqual(rows[0], {
    ...{ application_name: 'an app', search_path: 'elsewhere', work_mem: '7MB' },
  })
  await client.end()
})

test('a token is refused for a role that is not its own', async () => {
  const { text } = control.mintToken(otherUser)
  await assert.rejects(login(provisioned, demoUser.userName, text), {
    code: '28P01',
    message: /^Failed to decode token for role "ada@example.com"/,
  })
  await assert.rejects(login(autoscaling, demoUser.userName, text), {
    ...{ code: 'XX000', severity: 'ERROR' },
    message: "password authentication failed for user 'ada@example.com'",
  })
})

test('a token opens the role of the group it was minted for, and only that', async () => {
  const { text } = control.mintToken(demoUser, { group: 'analysts' })
  await login(autoscaling, 'analysts', text)
  await assert.rejects(login(autoscaling, demoUser.userName, text), { code: 'XX000' })
})

test('a token that has expired is refused, but a connection outlives it', async () => {
  const lifeMs = 700
  const token = control.mintToken(demoUser, { lifeMs })
  const client = frontClient(emulator, {
    ...{ host: autoscaling, user: demoUser.userName, password: token.text },
  })
  await client.connect()
  await delay(token.expiresAt - Date.now() + 1)
  await assert.rejects(login(autoscaling, demoUser.userName, token.text), {
    message: `JWT token has expired (exp=${Math.floor(token.expiresAt / 1000)})`,
  })
  await assert.rejects(login(provisioned, demoUser.userName, token.text), { code: '28P01' })
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
  await client.end()
})

test('a revoked token is refused', async () => {
  const { text } = control.mintToken(demoUser)
  control.revokeTokens('database')
  await assert.rejects(login(provisioned, demoUser.userName, text), { code: '28P01' })
})

test('a personal access token is refused as a password', async () => {
  await assert.rejects(login(provisioned, demoUser.userName, demoUser.pat!), {
    code: '28P01',
    message: /Failed to decode token/,
  })
  await assert.rejects(login(autoscaling, demoUser.userName, demoUser.pat!), {
    message: 'Provided authentication token is not a valid JWT encoding',
  })
})

test('an identity without a role is refused by name', async () => {
  const { text } = control.mintToken(userWithoutRole)
  await assert.rejects(login(provisioned, userWithoutRole.userName, text), {
    ...{ code: '28P01', message: 'password authentication failed for user "nora@example.com"' },
  })
  await assert.rejects(login(autoscaling, userWithoutRole.userName, text), {
    message: "password authentication failed for user 'nora@example.com'",
  })
})

test('a pooled host asks for SCRAM, which a token cannot pass', async () => {
  const { pooledHost } = control.endpoint('projects/demo/branches/production/endpoints/primary')
  const { text } = control.mintToken(demoUser)
  await assert.rejects(login(pooledHost, demoUser.userName, text), {
    ...{ code: '08P01', severity: 'FATAL', message: 'SASL authentication failed' },
  })
})

test('a stopped instance and a disabled endpoint are refused before any password', async () => {
  const disabled = control.endpoint('projects/many/branches/disabled/endpoints/primary')
  for (const host of [control.instance('stopped-instance').readWriteHost, disabled.host]) {
    await assert.rejects(login(host, demoUser.userName, 'never asked for'), {
      ...{ code: '28000', message: 'External authorization failed.' },
      detail: /^This could be due to paused instances/,
    })
  }
})

test('a connection wakes an idle endpoint, and is held until it has', async () => {
  const idle = control.endpoint('projects/many/branches/idle/endpoints/primary')
  assert.equal(idle.state, 'IDLE')
  await login(idle.host, demoUser.userName, control.mintToken(demoUser).text)
  assert.equal(idle.state, 'ACTIVE')
})

test('native roles log in with their password, by SCRAM or in the clear', async () => {
  await login(provisioned, 'app', 'app-password')
  await login(provisioned, 'legacy', 'legacy-password')
  await assert.rejects(login(provisioned, 'app', 'wrong'), { code: '28P01' })
  await assert.rejects(login(provisioned, 'legacy', 'wrong'), { code: '28P01' })
})

test('an error of PostgreSQL itself comes through as it is', async () => {
  const client = frontClient(emulator, {
    ...{ host: provisioned, user: demoUser.userName, password: control.mintToken(demoUser).text },
    database: 'nowhere',
  })
  await assert.rejects(client.connect(), { code: '3D000', severity: 'FATAL' })
})

test('a CancelRequest over TLS, and one in plaintext, ends the query it names', async () => {
  for (const ssl of [true, false]) {
    const client = frontClient(emulator, {
      ...{ host: provisioned, user: demoUser.userName, password: control.mintToken(demoUser).text },
    })
    await client.connect()
    const cancelled = assert.rejects(client.query('select pg_sleep(60)'), { code: '57014' })
    const running = `select 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'`
    while ((await control.query(running)).length === 0);
    await cancel(client, ssl, 'waits')
    await cancelled
    await client.end()
  }
})

test('a CancelRequest of a client that ends its side before its session is found cancels nothing', async (t) => {
  control.behaviour.cancelLookupMs = 100
  t.after(() => {
    control.behaviour.cancelLookupMs = 20
  })
  const client = frontClient(emulator, {
    ...{ host: provisioned, user: demoUser.userName, password: control.mintToken(demoUser).text },
  })
  await client.connect()
  const { cancelCount } = control
  const cancelled = assert.rejects(client.query('select pg_sleep(61)'), { code: '57014' })
  await cancel(client, true, 'leaves')
  assert.equal(control.cancelCount, cancelCount)
  await cancel(client, true, 'waits')
  await cancelled
  assert.equal(control.cancelCount, cancelCount + 1)
  await client.end()
})

/** The cancel of `pg` itself would not reach a port behind a name. */
async function cancel(client: pg.Client, ssl: boolean, then: 'waits' | 'leaves'): Promise<void> {
  let socket = await connect(emulator.frontPort)
  if (ssl) {
    socket.write(Buffer.from('0000000804d2162f', 'hex'))
    await once(socket, 'data')
    socket.pause()
    socket = tls.connect({ socket, ca: emulator.caPem, servername: provisioned })
  }
  if (then === 'leaves') socket.end(cancelRequest(client))
  else socket.write(cancelRequest(client))
  assert.equal((await readAll(socket)).length, 0)
}
