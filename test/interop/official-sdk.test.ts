/** Databricks' own SDKs against the emulator, and as the way to a token beside the proxy. */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { emulatorForTests } from '../support/emulator.js'
import { proxyForTests } from '../support/started-proxy.js'
import { frontEnv, installed, nodeScript, runTool, scratchFolder } from './installed.js'

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

const cli = installed('bin', 'databricks')
test('the Databricks CLI: psql, database and postgres', { skip: cli.skip }, async (t) => {
  const cwd = scratchFolder()
  const databricks = (...args: string[]) => runTool(cli.path, args, { env, cwd })
  const json = async (...args: string[]): Promise<unknown> =>
    JSON.parse(await databricks(...args, '--output', 'json'))
  t.diagnostic((await databricks('--version')).trim())
  const psql = ['-XAt', '-p', `${emulator.frontPort}`, '-c', 'select current_user']
  for (const target of ['demo-instance', 'projects/demo']) {
    assert.equal(lastLine(await databricks('psql', target, '--', ...psql)), 'ada@example.com')
  }
  const parts = ['--project', 'many', '--branch', 'dev', '--', ...psql]
  assert.equal(lastLine(await databricks('psql', ...parts)), 'ada@example.com')

  const instances = (await json('database', 'list-database-instances')) as { name: string }[]
  assert.ok(instances.some(({ name }) => name === 'demo-instance'))
  await json('database', 'get-database-instance', 'demo-instance')
  const request = { request_id: randomUUID(), instance_names: ['demo-instance'] }
  await json('database', 'generate-database-credential', '--json', JSON.stringify(request))
  await json('database', 'update-database-instance', 'second-instance', 'stopped', '--stopped')

  const projects = (await json('postgres', 'list-projects')) as { name: string }[]
  assert.ok(projects.some(({ name }) => name === 'projects/demo'))
  const production = 'projects/demo/branches/production'
  for (const list of ['list-endpoints', 'list-databases', 'list-roles']) {
    const found = (await json('postgres', list, production)) as unknown[]
    assert.ok(found.length > 0, list)
  }
  await json('postgres', 'generate-database-credential', `${production}/endpoints/primary`)
  const spec = { spec: { source_branch: production, ttl: '7200s' } }
  const branch = ['projects/demo', 'made-by-cli', '--json', JSON.stringify(spec)]
  const made = (await json('postgres', 'create-branch', ...branch)) as { name: string }
  assert.equal(made.name, 'projects/demo/branches/made-by-cli')
  await databricks('postgres', 'delete-branch', made.name)
  assert.equal(
    ((await json('current-user', 'me')) as { userName: string }).userName,
    'ada@example.com',
  )
})

function lastLine(text: string): string | undefined {
  return text.trimEnd().split('\n').at(-1)
}
