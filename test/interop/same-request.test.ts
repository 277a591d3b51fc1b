/**
 * The same question, the same request: what Databricks' SDK for Python and the proxy's commands send
 * for the same act, as the workspace receives it: method, path, query, body, and the headers that
 * matter. One thing differs on purpose: the SDK asks /.well-known/databricks-config first and then
 * sends X-Databricks-Workspace-Id always. The proxy sends it where it is set: a workspace's own host
 * says which workspace is meant, and a client waits for one request less.
 */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Emulator } from '../../src/emulator/emulator.js'
import { MAIN } from '../support/cli.js'
import { emulatorForTests } from '../support/emulator.js'
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
  // Of their own for each request; and names that the two chose.
  if (typeof sent.request_id === 'string') sent.request_id = 'a UUID'
  const authorization = /^Bearer ey/.test(`${headers.authorization}`)
    ? 'an OAuth token'
    : headers.authorization
  const path = url.replace(/branch_id=by-\w+/, 'branch_id=NAME')
  return {
    method,
    path,
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
] as const

const endpoint = 'projects/demo/branches/production/endpoints/primary'
const sp = {
  DATABRICKS_CLIENT_ID: '5f1c3c1e-0b7a-4c58-9a51-2d4f6c8e0a13',
  DATABRICKS_CLIENT_SECRET: 'dose0000000000000000000000000secret',
}
const { DATABRICKS_TOKEN: _token, ...withoutToken } = emulator.env
const signIns = [
  ['pat', { ...emulator.env }, [...acts, ...changes]],
  ['oauth-m2m', { ...withoutToken, ...sp }, [...acts, ['sign in', 'POST', /\/token$/]]],
] as const

for (const [type, env, compared] of signIns) {
  test(`${type}: the proxy asks as the SDK does`, { skip: python.skip }, async () => {
    const cwd = scratchFolder()
    const ours = (...args: string[]) => runTool(process.execPath, [MAIN, ...args], { env, cwd })
    const proxy = await recorded(async () => {
      await ours('exec', 'demo-instance', '--', 'psql', '-c', 'select 1')
      await ours('exec', endpoint, '--', 'psql', '-c', 'select 1')
      if (type !== 'pat') return
      await ours('instances', 'start', 'stopped-instance')
      await ours(
        'branches',
        'create',
        'by-us',
        '--from',
        'projects/demo/branches/production',
        '--ttl',
        '2h',
      )
    })
    emulator.control.instance('stopped-instance').state = 'STOPPED'
    const sdk = await recorded(() =>
      runTool(python.path, ['test/interop/python/acts.py'], { env, cwd: process.cwd() }),
    )
    for (const [what, method, path] of compared) {
      assert.deepEqual(only(proxy, method, path), only(sdk, method, path), what)
    }
  })
}
