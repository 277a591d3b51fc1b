/** The emulator's workspace API: field names, errors and habits of the real one. */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { demoUser, servicePrincipal } from '../src/emulator/inventory.js'
import { emulatorForTests, frontClient } from './support/emulator.js'
import { otherUser } from './support/identities.js'

const emulator = await emulatorForTests({ tokenTtlMs: 60_000, transitionMs: 150 })
const { control } = emulator
const primary = 'projects/demo/branches/production/endpoints/primary'

interface Reply {
  status: number
  headers: Headers
  body: Record<string, unknown>
}

async function call(
  path: string,
  options: { method?: string; body?: object; bearer?: string | undefined } = {},
): Promise<Reply> {
  const { bearer = demoUser.pat, body } = options
  const response = await fetch(`${emulator.workspaceUrl}${path}`, {
    method: options.method ?? (body === undefined ? 'GET' : 'POST'),
    headers: bearer === '' ? {} : { authorization: `Bearer ${bearer}` },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const reply = (await response.json()) as Record<string, unknown>
  return { status: response.status, headers: response.headers, body: reply }
}

const mintProvisioned = (body: object = {}) =>
  call('/api/2.0/database/credentials', {
    body: { request_id: randomUUID(), instance_names: ['demo-instance'], ...body },
  })

const mintAutoscaling = (body: object = {}) =>
  call('/api/2.0/postgres/credentials', { body: { endpoint: primary, ...body } })

async function oidcToken(form: Record<string, string>, basic?: string): Promise<Reply> {
  const response = await fetch(`${emulator.workspaceUrl}/oidc/v1/token`, {
    method: 'POST',
    body: new URLSearchParams(form),
    headers:
      basic === undefined
        ? {}
        : { authorization: `Basic ${Buffer.from(basic).toString('base64')}` },
  })
  const body = (await response.json()) as Record<string, unknown>
  return { status: response.status, headers: response.headers, body }
}

test('Me names the caller: an e-mail, or the application id of a service principal', async () => {
  const me = '/api/2.0/preview/scim/v2/Me'
  assert.equal((await call(me)).body.userName, demoUser.userName)
  assert.equal((await call(me, { bearer: otherUser.pat })).body.userName, otherUser.userName)
})

test('without credentials it is 401, with wrong ones 403, each with an error_code', async () => {
  const path = '/api/2.0/database/instances'
  const none = await call(path, { bearer: '' })
  assert.deepEqual([none.status, none.body.error_code], [401, '401'])
  const wrong = await call(path, { bearer: 'dapi-wrong' })
  assert.deepEqual([wrong.status, wrong.body.error_code], [403, '403'])
})

test('a service principal signs in by client secret, at the endpoint that discovery names', async () => {
  const discovered = await fetch(
    `${emulator.workspaceUrl}/oidc/.well-known/oauth-authorization-server`,
  )
  const metadata = (await discovered.json()) as Record<string, string>
  assert.equal(metadata.token_endpoint, `${emulator.workspaceUrl}/oidc/v1/token`)
  const form = { grant_type: 'client_credentials', scope: 'all-apis' }
  const { userName: id, clientSecret } = servicePrincipal
  const granted = await oidcToken(form, `${id}:${clientSecret}`)
  assert.equal(granted.body.token_type, 'Bearer')
  assert.equal(granted.body.expires_in, 3600)
  const bearer = String(granted.body.access_token)
  assert.equal((await call('/api/2.0/preview/scim/v2/Me', { bearer })).body.userName, id)

  // It is good for the API, and no password of a database.
  const host = control.endpoint(primary).host
  const client = frontClient(emulator, { host, user: id, password: bearer })
  await assert.rejects(client.connect(), /authentication failed/)

  const refused = await oidcToken(form, `${id}:wrong`)
  assert.deepEqual([refused.status, refused.body.error], [401, 'invalid_client'])
  // Databricks' SDKs send the id as it is, not with %2D for its dashes.
  const escaped = `${id.replaceAll('-', '%2D')}:${clientSecret}`
  assert.equal((await oidcToken(form, escaped)).status, 401)
})

test('a service principal signs in by the ID token of a federated issuer', async () => {
  const url = `${emulator.workspaceUrl}/emulator/github-id-token?audience=databricks`
  const headers = { authorization: 'bearer github-actions-request-token' }
  const { value } = (await (await fetch(url, { headers })).json()) as { value: string }
  const form = {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    subject_token: value,
    client_id: servicePrincipal.userName,
    scope: 'all-apis',
  }
  const granted = await oidcToken(form)
  const bearer = String(granted.body.access_token)
  const me = await call('/api/2.0/preview/scim/v2/Me', { bearer })
  assert.equal(me.body.userName, servicePrincipal.userName)
  assert.equal((await oidcToken({ ...form, subject_token: 'a.b.c' })).status, 401)
})

test('a workspace token that has expired is 401', async () => {
  const { text: bearer } = control.mintWorkspaceToken(servicePrincipal, -1)
  assert.equal((await call('/api/2.0/preview/scim/v2/Me', { bearer })).status, 401)
})

test('an instance is described without its name and without false booleans', async () => {
  const { body } = await call('/api/2.0/database/instances/demo-instance')
  assert.equal('name' in body, false)
  assert.equal('effective_stopped' in body, false)
  assert.equal(body.state, 'AVAILABLE')
  assert.match(String(body.read_write_dns), /^instance-[0-9a-f-]{36}\.database\.cloud\.databricks/)
  const stopped = await call('/api/2.0/database/instances/stopped-instance')
  assert.deepEqual([stopped.body.state, stopped.body.effective_stopped], ['STOPPED', true])
  const { uid } = control.instance('demo-instance')
  const found = await call(`/api/2.0/database/instances:findByUid?uid=${uid}`)
  assert.equal(found.body.name, 'demo-instance')
})

test('each API knows its own kind only: the other kind is 404 NOT_FOUND', async () => {
  for (const path of [
    '/api/2.0/database/instances/demo',
    '/api/2.0/postgres/projects/demo-instance',
    '/api/2.0/postgres/projects/demo/branches/none',
    '/api/2.0/no/such/api',
  ]) {
    const { status, body } = await call(path)
    assert.deepEqual([status, body.error_code], [404, 'NOT_FOUND'], path)
  }
})

test('lists come in pages', async () => {
  const names: unknown[] = []
  let token = ''
  let pages = 0
  do {
    const query = `page_size=2${token && `&page_token=${token}`}`
    const { body } = await call(`/api/2.0/database/instances?${query}`)
    names.push(...(body.database_instances as { name: string }[]).map((each) => each.name))
    token = String(body.next_page_token ?? '')
    pages++
  } while (token !== '')
  assert.deepEqual(names, ['demo-instance', 'stopped-instance', 'second-instance'])
  assert.equal(pages, 2)
  assert.equal((await call('/api/2.0/postgres/projects?page_size=101')).status, 400)
})

test('a Provisioned credential wants a UUID and instances that exist', async () => {
  const { status, body } = await mintProvisioned()
  assert.equal(status, 200)
  assert.deepEqual(Object.keys(body), ['token', 'expiration_time'])
  const leftMs = Date.parse(String(body.expiration_time)) - Date.now()
  assert.ok(leftMs > 50_000 && leftMs <= 60_000)
  assert.equal((await mintProvisioned({ request_id: 'no' })).status, 400)
  assert.equal((await mintProvisioned({ request_id: undefined })).status, 400)
  assert.equal((await mintProvisioned({ instance_names: [] })).status, 400)
  assert.equal((await mintProvisioned({ instance_names: ['none'] })).status, 404)
})

test('an Autoscaling credential has another name for its end, and takes a ttl and a group', async () => {
  const { body } = await mintAutoscaling()
  assert.deepEqual(Object.keys(body), ['token', 'expire_time'])
  const short = await mintAutoscaling({ ttl: '300s' })
  const leftMs = Date.parse(String(short.body.expire_time)) - Date.now()
  assert.ok(leftMs > 290_000 && leftMs <= 300_000)
  for (const ttl of ['299s', '3601s', '5m', 300, '']) {
    assert.equal((await mintAutoscaling({ ttl })).status, 400, `ttl ${ttl}`)
  }
  assert.equal((await mintAutoscaling({ endpoint: undefined })).status, 400)
  assert.equal((await mintAutoscaling({ endpoint: `${primary}-none` })).status, 404)
  assert.equal((await mintAutoscaling({ group_name: 'analysts' })).status, 200)
  const foreign = await mintAutoscaling({ group_name: 'admins' })
  assert.deepEqual([foreign.status, foreign.body.error_code], [403, 'PERMISSION_DENIED'])
})

test('a credential is a JWT of about 1 kB that says when it ends', async () => {
  const { body } = await mintProvisioned()
  const token = String(body.token)
  const parts = token.split('.')
  assert.equal(parts.length, 3)
  assert.ok(token.length > 1_000)
  const claims = JSON.parse(Buffer.from(parts[1]!, 'base64url').toString()) as Record<
    string,
    unknown
  >
  assert.equal(claims.sub, demoUser.userName)
  assert.equal(claims.exp, Math.floor(Date.parse(String(body.expiration_time)) / 1000))
  assert.equal(claims.token_number, control.mintedCount)
})

test('a minted credential logs in', async () => {
  const { body } = await mintAutoscaling()
  const { host } = control.endpoint(primary)
  const client = frontClient(emulator, {
    ...{ host, user: demoUser.userName, password: String(body.token) },
  })
  await client.connect()
  await client.end()
})

test('with a skewed clock, Date and expiry move together', async () => {
  control.clockSkewMs = 7_200_000
  const { headers, body } = await mintProvisioned()
  control.clockSkewMs = 0
  const lifeMs = Date.parse(String(body.expiration_time)) - Date.parse(headers.get('date')!)
  assert.ok(lifeMs >= 59_000 && lifeMs <= 61_000)
  assert.ok(Date.parse(headers.get('date')!) - Date.now() > 7_100_000)
})

test('a stopped instance starts over PATCH, and takes its time', async () => {
  const path = '/api/2.0/database/instances/stopped-instance?update_mask=stopped'
  const patch = (stopped: unknown) => call(path, { method: 'PATCH', body: { stopped } })
  assert.equal((await patch(undefined)).status, 400)
  assert.equal((await patch(false)).body.state, 'STARTING')
  const startedAt = performance.now()
  while (control.instance('stopped-instance').state === 'STARTING') {
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  assert.ok(performance.now() - startedAt > 100)
  assert.equal(control.instance('stopped-instance').state, 'AVAILABLE')
  assert.equal((await patch(true)).body.state, 'STOPPED')
})

test('endpoints have their hosts, their kind, and `disabled` only where it is true', async () => {
  const branch = '/api/2.0/postgres/projects/many/branches'
  const { body } = await call(`${branch}/production/endpoints`)
  const endpoints = body.endpoints as { status: Record<string, unknown> }[]
  assert.deepEqual(
    endpoints.map(({ status }) => status.endpoint_type),
    ['ENDPOINT_TYPE_READ_WRITE', 'ENDPOINT_TYPE_READ_ONLY'],
  )
  const hosts = endpoints[0]!.status.hosts as Record<string, string>
  assert.match(
    hosts.host!,
    /^ep-quiet-river-[0-9a-f]+\.database\.us-west-2\.cloud\.databricks\.com/,
  )
  assert.match(hosts.read_write_pooled_host!, /-pooler\./)
  assert.equal('disabled' in endpoints[0]!.status, false)
  const disabled = await call(`${branch}/disabled/endpoints/primary`)
  assert.equal((disabled.body.status as Record<string, unknown>).disabled, true)
  const branches = (await call(branch)).body.branches as { status: Record<string, unknown> }[]
  assert.deepEqual(
    branches.map(({ status }) => status.default),
    [true, undefined, undefined, undefined],
  )
})

test('calls are counted by API', async () => {
  const before = control.callCount('credentials')
  await mintProvisioned()
  await mintAutoscaling()
  assert.equal(control.callCount('credentials'), before + 2)
  assert.equal(control.calls('credentials').at(-1)!.method, 'POST')
})

test('the API fails as told, as often as told, and then no more', async () => {
  const path = '/api/2.0/database/instances/demo-instance'
  control.failApi('instance', { status: 429, headers: { 'retry-after': '7' } }, 1)
  const limited = await call(path)
  assert.deepEqual([limited.status, limited.headers.get('retry-after')], [429, '7'])
  control.failApi('instance', { how: 'reset' }, 1)
  await assert.rejects(call(path), /fetch failed/)
  control.failApi('instance', { how: 'garbage' }, 1)
  await assert.rejects(call(path), SyntaxError)
  control.failApi('instance', { how: 'hang' }, 1)
  const hung = fetch(`${emulator.workspaceUrl}${path}`, { signal: AbortSignal.timeout(100) })
  await assert.rejects(hung, { name: 'TimeoutError' })
  control.failApi('instance', { delayMs: 100 }, 1)
  const startedAt = performance.now()
  assert.equal((await call(path)).status, 200)
  assert.ok(performance.now() - startedAt > 90)
  assert.equal((await call(path)).status, 200)
})

test('a database and a role are found by their names, and an endpoint is disabled by an operation', async (t) => {
  const branch = 'projects/demo/branches/production'
  for (const kind of ['databases', 'roles']) {
    const list = (await call(`/api/2.0/postgres/${branch}/${kind}`)).body[kind]
    const [first] = list as { name: string }[]
    assert.deepEqual((await call(`/api/2.0/postgres/${first!.name}`)).body, first)
    assert.equal((await call(`/api/2.0/postgres/${branch}/${kind}/none`)).status, 404)
  }
  const patch = (disabled: boolean) =>
    call(`/api/2.0/postgres/${primary}?update_mask=spec.disabled`, {
      ...{ method: 'PATCH', body: { spec: { disabled } } },
    })
  t.after(() => patch(false))
  const operation = (await patch(true)).body
  assert.match(String(operation.name), /\/operations\//)
  const { status } = (await call(`/api/2.0/postgres/${primary}`)).body as { status: object }
  assert.equal((status as { disabled?: boolean }).disabled, true)
})
