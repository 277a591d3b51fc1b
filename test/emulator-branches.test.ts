/** Branches of the emulator: the API as far as it is known, and data of their own behind their hosts. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'

import { demoUser, type Identity } from '../src/emulator/inventory.js'
import { emulatorForTests, frontClient } from './support/emulator.js'
import { FakeClock } from './support/fake-clock.js'
import { otherUser } from './support/identities.js'

const clock = new FakeClock()
const emulator = await emulatorForTests({ clock })
const { control } = emulator
const project = 'projects/demo'
const production = `${project}/branches/production`

interface Reply {
  status: number
  body: Record<string, unknown> & { status?: Record<string, unknown> }
}

async function call(
  path: string,
  options: { method?: string; body?: object; as?: Identity } = {},
): Promise<Reply> {
  const { body, as = demoUser } = options
  const response = await fetch(`${emulator.workspaceUrl}/api/2.0/postgres/${path}`, {
    method: options.method ?? (body === undefined ? 'GET' : 'POST'),
    headers: { authorization: `Bearer ${as.pat}` },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  return { status: response.status, body: (await response.json()) as Reply['body'] }
}

const create = (id: string, spec: object = { ttl: '7200s' }, as = demoUser): Promise<Reply> =>
  call(`${project}/branches?branch_id=${id}`, { body: { spec }, as })

/** Moves the clock on by the time a change takes, and returns how the operation ended. */
async function finished(reply: Reply): Promise<Record<string, unknown>> {
  assert.equal(reply.status, 200, JSON.stringify(reply.body))
  await clock.advance(control.behaviour.transitionMs)
  for (;;) {
    const { body } = await call(String(reply.body.name))
    if (body.done === true) return body
  }
}

async function remove(id: string): Promise<void> {
  await finished(await call(`${project}/branches/${id}?purge=true`, { method: 'DELETE' }))
}

const nameOf = (id: string): string => `${project}/branches/${id}`

async function client(branch: string) {
  const { host } = control.endpoint(`${branch}/endpoints/primary`)
  const { text: password } = control.mintToken(demoUser)
  const session = frontClient(emulator, { host, user: demoUser.userName, password })
  await session.connect()
  return session
}

async function ask(branch: string, sql: string): Promise<unknown> {
  const session = await client(branch)
  try {
    return Object.values((await session.query(sql)).rows[0] ?? {})[0]
  } finally {
    await session.end()
  }
}

test('a branch is made by an operation that takes time, with one endpoint, and does not echo its spec', async (t) => {
  const reply = await create('made')
  t.after(() => remove('made'))
  assert.match(String(reply.body.name), /^projects\/demo\/branches\/made\/operations\//)
  assert.equal(reply.body.done, undefined)
  assert.equal((await call(nameOf('made'))).body.status!.current_state, 'INIT')
  const { response } = (await finished(reply)) as { response: Record<string, unknown> }
  const { body } = await call(nameOf('made'))
  assert.deepEqual(response, body)
  assert.match(String(body.uid), /^br-/)
  assert.equal(body.spec, undefined)
  const { current_state, source_branch, expire_time } = body.status!
  assert.deepEqual([current_state, source_branch], ['READY', production])
  assert.equal(Date.parse(String(expire_time)) - Date.parse(String(body.create_time)), 7_200_000)
  const { endpoints } = (await call(`${nameOf('made')}/endpoints`)).body as {
    endpoints: { name: string; status: { current_state: string } }[]
  }
  assert.deepEqual(
    endpoints.map((each) => [each.name, each.status.current_state]),
    [[`${nameOf('made')}/endpoints/primary`, 'ACTIVE']],
  )
})

test('a branch has the data its source had, and from then on its own', async (t) => {
  await ask(production, 'create table note as select 1 as number')
  const busy = await client(production)
  await busy.query('begin')
  await busy.query('insert into note values (3)')
  await finished(await create('copy'))
  t.after(() => remove('copy'))
  await busy.query('commit')
  await busy.end()
  await ask(nameOf('copy'), 'insert into note values (2)')
  const sql = "select string_agg(number::text, ',' order by number) from note"
  assert.equal(await ask(nameOf('copy'), sql), '1,2')
  assert.equal(await ask(production, sql), '1,3')
  assert.equal(await ask(nameOf('copy'), 'select current_database()'), 'databricks_postgres')
  await finished(await create('copy-of-copy', { ttl: '7200s', source_branch: nameOf('copy') }))
  assert.equal(await ask(nameOf('copy-of-copy'), sql), '1,2')
  await remove('copy-of-copy')
})

test('a suspend ends the sessions of a branch, and its data is there when it wakes', async (t) => {
  await finished(await create('sleepy'))
  t.after(() => remove('sleepy'))
  await ask(nameOf('sleepy'), 'create table kept as select 7 as number')
  const session = await client(nameOf('sleepy'))
  const error = once(session, 'error')
  control.behaviour.wakeMs = 0
  await control.suspendEndpoint(`${nameOf('sleepy')}/endpoints/primary`)
  assert.equal(((await error) as [{ code: string }])[0].code, '57P01')
  const number = ask(nameOf('sleepy'), 'select number from kept')
  while (control.endpoint(`${nameOf('sleepy')}/endpoints/primary`).state !== 'ACTIVE') {
    await clock.advance(1)
  }
  assert.equal(await number, 7)
})

test('exactly one of ttl, expire_time and no_expiry is required, 30 days are the most', async () => {
  const day = 24 * 3600_000
  const at = (ms: number) => ({ expire_time: new Date(clock.now() + ms).toISOString() })
  for (const spec of [{}, { ttl: '60s', no_expiry: true }, { no_expiry: false }, { ttl: '1h' }]) {
    assert.equal((await create('none', spec)).status, 400, JSON.stringify(spec))
  }
  assert.equal((await create('none', at(-1000))).status, 400)
  for (const spec of [{ ttl: '2592001s' }, at(30 * day + 1000)]) {
    const { status, body } = await create('none', spec)
    assert.equal(status, 400)
    assert.match(String(body.message), /^expiration time exceeds the maximum expiration time/)
  }
  assert.equal((await call(nameOf('none'))).status, 404)
})

test('spec.expiration extends a branch, counted from its creation; spec.ttl is not a valid mask', async (t) => {
  await finished(await create('longer', { ttl: '3600s' }))
  t.after(() => remove('longer'))
  const patch = (mask: string, spec: object) =>
    call(`${nameOf('longer')}?update_mask=${mask}`, { method: 'PATCH', body: { spec } })
  assert.equal((await patch('spec.ttl', { ttl: '7200s' })).status, 400)
  await finished(await patch('spec.expiration', { ttl: '7200s' }))
  const { body } = await call(nameOf('longer'))
  const life = Date.parse(String(body.status!.expire_time)) - Date.parse(String(body.create_time))
  assert.equal(life, 7_200_000)
})

test('a branch expires by the clock, with its sessions and its host', async () => {
  await finished(await create('brief', { ttl: '600s' }))
  const { host } = control.endpoint(`${nameOf('brief')}/endpoints/primary`)
  const session = await client(nameOf('brief'))
  const error = once(session, 'error')
  await clock.advance(600_000)
  assert.equal(((await error) as [{ code: string }])[0].code, '57P01')
  assert.equal((await call(nameOf('brief'))).status, 404)
  const late = frontClient(emulator, { host, user: demoUser.userName, password: 'any' })
  await assert.rejects(late.connect())
  await finished(await create('brief')) // its name is free again
  await remove('brief')
})

test('a deleted branch is soft: its name stays reserved, and undelete brings its data back', async () => {
  await finished(await create('soft'))
  await ask(nameOf('soft'), 'create table saved as select 5 as number')
  await finished(await call(nameOf('soft'), { method: 'DELETE' }))
  assert.equal((await call(nameOf('soft'))).status, 404)
  const listed = async (query: string): Promise<unknown[]> => {
    const { body } = await call(`${project}/branches${query}`)
    return (body.branches as { name: string; status: { current_state: string } }[])
      .filter((each) => each.name === nameOf('soft'))
      .map((each) => each.status.current_state)
  }
  assert.deepEqual(await listed(''), [])
  assert.deepEqual(await listed('?show_deleted=true'), ['DELETED'])
  const again = await create('soft')
  assert.deepEqual([again.status, again.body.error_code], [409, 'ALREADY_EXISTS'])
  await finished(await call(`${nameOf('soft')}/undelete`, { method: 'POST', body: {} }))
  assert.equal(await ask(nameOf('soft'), 'select number from saved'), 5)
  await remove('soft')
  await finished(await create('soft'))
  await remove('soft')
})

test('what may not be deleted: a protected branch, the default one, the endpoint of a branch, a missing one', async (t) => {
  const deleted = (path: string) => call(path, { method: 'DELETE' })
  await finished(await create('guarded', { ttl: '7200s', is_protected: true }))
  assert.equal((await call(nameOf('guarded'))).body.status!.is_protected, true)
  t.after(() => {
    control.branch(nameOf('guarded')).isProtected = false
    return remove('guarded')
  })
  assert.equal((await deleted(nameOf('guarded'))).status, 400)
  assert.equal((await deleted(production)).status, 400)
  const endpoint = await deleted(`${nameOf('guarded')}/endpoints/primary`)
  assert.equal(endpoint.status, 400)
  const [detail] = endpoint.body.details as { metadata: object }[]
  assert.deepEqual(detail?.metadata, { declarative_context: 'MANAGED_BY_PARENT' })
  assert.equal((await deleted(nameOf('missing'))).status, 404)
  await finished(await deleted(`${nameOf('missing')}?allow_missing=true`))
})

test('CAN USE makes no branch, a name is made once, bad names and sources are refused', async () => {
  const denied = await create('theirs', { ttl: '60s' }, otherUser)
  assert.deepEqual([denied.status, denied.body.error_code], [403, 'PERMISSION_DENIED'])
  const twice = await create('production')
  assert.deepEqual([twice.status, twice.body.error_code], [409, 'ALREADY_EXISTS'])
  for (const id of ['', 'Upper', '1st', 'a'.repeat(64), 'a_b']) {
    assert.equal((await create(id)).status, 400, id)
  }
  const source = await create('orphan', { ttl: '60s', source_branch: nameOf('missing') })
  assert.equal(source.status, 404)
})

test('a project holds 10 branches that are not archived', async (t) => {
  const ids = [...'abcdefghi'].map((letter) => `many-${letter}`)
  const replies = await Promise.all(ids.map((id) => create(id)))
  t.after(() => Promise.all(ids.map(remove)))
  const full = await create('one-more')
  assert.deepEqual([full.status, full.body.error_code], [400, 'QUOTA_EXCEEDED'])
  await Promise.all(replies.map(finished))
  control.branch(nameOf('many-a')).state = 'ARCHIVED'
  await finished(await create('one-more'))
  await remove('one-more')
})
