/** Databricks' own SDKs against the emulator, and as the way to a token beside the proxy. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { emulatorForTests } from '../support/emulator.js'
import { proxyForTests } from '../support/started-proxy.js'
import { frontEnv, installed, nodeScript, runTool } from './installed.js'

const emulator = await emulatorForTests({ transitionMs: 200 })
const { port } = await proxyForTests(emulator)
const env = { ...emulator.env, ...frontEnv(emulator), PROXY_PORT: `${port}` }

/** What each SDK's script prints at these steps. */
const lines = [
  'me: ada@example.com',
  'login, provisioned: ada@example.com',
  'started: AVAILABLE',
  'login, autoscaling: ada@example.com',
  'branch made: projects/demo/branches/made-by-sdk READY',
  'synced table, autoscaling: synced_tables/main.sales.orders_autoscaling',
  'through the proxy: ada@example.com',
]

const python = installed('python', 'bin/python')
test('databricks-sdk for Python finds, starts, makes, deletes and logs in', {
  skip: python.skip,
}, async (t) => {
  const printed = await runTool(python.path, ['test/interop/python/official_sdk.py'], {
    env,
    cwd: process.cwd(),
  })
  t.diagnostic(printed.split('\n')[0] ?? '')
  for (const line of lines) assert.ok(printed.split('\n').includes(line), `${line}\n\n${printed}`)
})

const go = installed('go', 'bin/sdk')
test('databricks-sdk-go finds, starts, makes, deletes and logs in', {
  skip: go.skip,
}, async (t) => {
  const printed = await runTool(go.path, [], { env })
  t.diagnostic(printed.split('\n')[0] ?? '')
  for (const line of lines) assert.ok(printed.split('\n').includes(line), `${line}\n\n${printed}`)
})

const node = installed('node', 'node_modules/node/bin/node')
test("Databricks' SDK and driver for Node.js find, make a credential and log in", {
  skip: node.skip,
}, async () => {
  const endpoint = emulator.control.endpoint('projects/demo/branches/production/endpoints/primary')
  const printed = await runTool(node.path, [nodeScript('lakebase-driver.mjs')], {
    env: {
      ...emulator.env,
      ...{ PGPORT: `${emulator.frontPort}`, PGSSLMODE: 'require', PROXY_PORT: `${port}` },
      ...{ PGHOST: endpoint.host, PGDATABASE: 'databricks_postgres' },
      ...{ LAKEBASE_ENDPOINT: endpoint.name, NODE_EXTRA_CA_CERTS: emulator.caFile },
    },
  })
  for (const line of [
    'me: ada@example.com',
    'login, provisioned: ada@example.com',
    'login, autoscaling: ada@example.com',
    'through the proxy: ada@example.com',
  ]) {
    assert.ok(printed.split('\n').includes(line), `${line}\n\n${printed}`)
  }
})
