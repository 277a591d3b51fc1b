/**
 * The same question, the same request: what Databricks' SDK for Python and the proxy's commands send
 * for the same act, as the workspace receives it: method, path, query, body, and the headers that
 * matter. What differs on purpose is in CONTRIBUTING.md, below the table of tools.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { MAIN } from '../support/cli.js'
import { emulatorForTests } from '../support/emulator.js'
import type { Emulator } from '../support/emulator-control.js'
import { installed, runTool, scratchFolder } from './installed.js'

const emulator = await emulatorForTests()
const python = installed('python', 'bin/python')
type Call = ReturnType<Emulator['control']['calls']>[number]

/** What came in at the workspace meanwhile. */
async function recorded(work: () => Promise<unknown>): Promise<Call[]> {
  const from = emulator.control.calls().length
  await work()
  return emulator.control.calls().slice(from)
}

function request({ method, url, headers, body }: Call): object {
  const type = `${headers['content-type'] ?? ''}`.split(';')[0]
  const isForm = type === 'application/x-www-form-urlencoded'
  const sent = isForm ? Object.fromEntries(new URLSearchParams(body)) : JSON.parse(body || '{}')
  // Each request has its own; and names that the two chose.
  if (typeof sent.request_id === 'string') sent.request_id = 'a UUID'
  const authorization = /^Bearer ey/.test(`${headers.authorization}`)
    ? 'an OAuth token'
    : headers.authorization
  const { pathname, searchParams } = new URL(url, 'http://workspace')
  if (searchParams.has('branch_id')) searchParams.set('branch_id', 'NAME')
  return {
    method,
    path: pathname,
    query: Object.fromEntries(searchParams),
    type,
    sent,
    authorization,
  }
}

function only(calls: readonly Call[], method: string, path: RegExp): object {
  const found = calls.filter((call) => call.method === method && path.test(call.url))
  assert.ok(found.length > 0, `${method} ${path} in ${calls.map(({ url }) => url)}`)
  return request(found[0]!)
}

const acts = [
  ['who am I', 'GET', /\/scim\/v2\/Me$/],
  ['look up an instance', 'GET', /\/database\/instances\/demo-instance$/],
  ['mint for an instance', 'POST', /\/database\/credentials$/],
  ['look up an endpoint', 'GET', /\/endpoints\/primary$/],
  ['mint for an endpoint', 'POST', /\/postgres\/credentials$/],
] as const
const changes = [
  ['start an instance', 'PATCH', /\/database\/instances\/stopped-instance/],
  ['create a branch', 'POST', /\/postgres\/projects\/demo\/branches\?/],
  ['create a synced table, Provisioned', 'POST', /\/database\/synced_tables$/],
  ['show it', 'GET', /\/database\/synced_tables\/main\.sales\.provisioned$/],
  ['delete it', 'DELETE', /\/database\/synced_tables\/main\.sales\.provisioned/],
  ['create a synced table, Autoscaling', 'POST', /\/postgres\/synced_tables\?/],
  ['show it', 'GET', /\/postgres\/synced_tables\/main\.sales\.autoscaling$/],
  ['delete it', 'DELETE', /\/postgres\/synced_tables\/main\.sales\.autoscaling$/],
] as const
const signIn = ['sign in', 'POST', /\/token$/] as const
const githubIdToken = ['ask for an ID token', 'GET', /\/github-id-token/] as const

const production = 'projects/demo/branches/production'
const { DATABRICKS_TOKEN: token = '', ...withoutToken } = emulator.env
const host = withoutToken.DATABRICKS_HOST ?? ''
const principal = { DATABRICKS_CLIENT_ID: '5f1c3c1e-0b7a-4c58-9a51-2d4f6c8e0a13' }
const clientSecret = { DATABRICKS_CLIENT_SECRET: 'dose0000000000000000000000000secret' }
const github = {
  ACTIONS_ID_TOKEN_REQUEST_URL: `${host}/emulator/github-id-token?api-version=2.0`,
  ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'github-actions-request-token',
}
const idToken = await githubToken()
const idTokenFile = join(scratchFolder(), 'id-token')
writeFileSync(idTokenFile, idToken)
const metadata = await metadataService()

const signIns = [
  ['pat', { DATABRICKS_TOKEN: token }, [...acts, ...changes]],
  ['oauth-m2m', { ...principal, ...clientSecret }, [...acts, signIn]],
  ['github-oidc', { ...principal, ...github }, [...acts, githubIdToken, signIn]],
  ['env-oidc', { ...principal, DATABRICKS_OIDC_TOKEN: idToken }, [...acts, signIn]],
  ['file-oidc', { ...principal, DATABRICKS_OIDC_TOKEN_FILEPATH: idTokenFile }, [...acts, signIn]],
  ['metadata-service', { DATABRICKS_METADATA_SERVICE_URL: metadata.url }, acts],
] as const

for (const [type, settings, compared] of signIns) {
  test(`${type}: the proxy asks as the SDK does`, { skip: python.skip }, async () => {
    const cwd = scratchFolder()
    const env = { ...withoutToken, ...settings, DATABRICKS_AUTH_TYPE: type }
    const ours = (...args: string[]) => runTool(process.execPath, [MAIN, ...args], { env, cwd })
    metadata.asked.length = 0
    const proxy = await recorded(async () => {
      await ours('exec', 'demo-instance', '--', 'psql', '-c', 'select 1')
      await ours('exec', `${production}/endpoints/primary`, '--', 'psql', '-c', 'select 1')
      if (type === 'pat') await change(ours)
    })
    const askedByProxy = metadata.asked.splice(0)
    emulator.control.instance('stopped-instance').state = 'STOPPED'
    const args = ['test/interop/python/acts.py', ...(type === 'pat' ? ['changes'] : [])]
    const sdk = await recorded(() => runTool(python.path, args, { env, cwd: process.cwd() }))
    for (const [what, method, path] of compared) {
      assert.deepEqual(only(proxy, method, path), only(sdk, method, path), what)
    }
    assert.equal(askedByProxy.length > 0, type === 'metadata-service')
    assert.deepEqual(new Set(askedByProxy), new Set(metadata.asked))
  })
}

async function change(ours: (...args: string[]) => Promise<string>): Promise<void> {
  await ours('instances', 'start', 'stopped-instance')
  await ours('branches', 'create', 'by-us', '--from', production, '--ttl', '2h')
  const table = ['--source', 'main.sales.orders', '--primary-key', 'id', '--policy', 'snapshot']
  const storage = ['--storage-catalog', 'main', '--storage-schema', 'default']
  for (const [name, target, ...options] of [
    ['main.sales.provisioned', 'demo-instance', '--purge-data'],
    ['main.sales.autoscaling', production],
  ] as const) {
    await ours('synced-tables', 'create', name, ...table, ...storage, '--target', target, '--wait')
    await ours('synced-tables', 'show', name)
    await ours('synced-tables', 'delete', name, ...options)
  }
}

/** What GitHub Actions would give a job, from the emulator. */
async function githubToken(): Promise<string> {
  const headers = { authorization: `Bearer ${github.ACTIONS_ID_TOKEN_REQUEST_TOKEN}` }
  const reply = await fetch(`${github.ACTIONS_ID_TOKEN_REQUEST_URL}&audience=any`, { headers })
  return ((await reply.json()) as { value: string }).value
}

/** A metadata service that gives the user's token; and what it was asked, headers included. */
async function metadataService(): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = []
  const server = createServer(({ method, url, headers }, response) => {
    const version = headers['x-databricks-metadata-version']
    asked.push(`${method} ${url}, version ${version}, host ${headers['x-databricks-host']}`)
    const expiresOn = Math.floor(Date.now() / 1000) + 3600
    response.setHeader('content-type', 'application/json')
    response.end(
      JSON.stringify({ access_token: token, token_type: 'Bearer', expires_on: expiresOn }),
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => server.close())
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  return { url: `http://127.0.0.1:${address.port}/a-path-of-its-own`, asked }
}
