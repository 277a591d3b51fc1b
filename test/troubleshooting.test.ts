/** Each symptom of docs/troubleshooting.md is what people see, as psql or the command prints it. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { type TestContext, test } from 'node:test'

import { startProxy } from '../src/daemon/start-proxy.js'
import { cliHere } from './support/cli.js'
import { emulatorForTests, needsPsql } from './support/emulator.js'
import type { FrontFault } from './support/emulator-faults.js'
import { userWithoutRole } from './support/identities.js'
import { connectedClient, run } from './support/proxy.js'

const emulator = await emulatorForTests()

interface Case {
  /** The heading's words, without those that stand for a name. */
  readonly symptom: string
  readonly target?: string
  readonly env?: Readonly<Record<string, string>>
  readonly conninfo?: string
  readonly fault?: FrontFault
  /** A session that is there already. */
  readonly beside?: boolean
}

const localPassword = {
  LAKEBASE_PROXY_LOCAL_AUTH: 'password',
  LAKEBASE_PROXY_LOCAL_PASSWORD: 'correct-horse',
}
const refuse = (sqlState: string, message: string): FrontFault => ({
  at: 'startup',
  refuse: { severity: 'FATAL', sqlState, message },
})

const CASES: readonly Case[] = [
  {
    symptom: 'password authentication failed for user',
    env: { DATABRICKS_TOKEN: userWithoutRole.pat! },
  },
  { symptom: 'password authentication failed', env: localPassword, conninfo: 'password=x' },
  { symptom: 'fe_sendauth: no password supplied', env: localPassword },
  {
    symptom: 'External authorization failed',
    fault: refuse('28000', 'External authorization failed'),
  },
  {
    symptom: 'role "ada@example.com" does not exist',
    fault: refuse('28000', 'role "ada@example.com" does not exist'),
  },
  {
    symptom: 'server asks for SASL, but tokens are sent as cleartext passwords',
    env: { LAKEBASE_PROXY_USER: 'app' },
  },
  {
    symptom: 'server does not support SSL, but SSL was required',
    conninfo: 'sslmode=require',
  },
  {
    symptom: 'channel binding required, but server authenticated client without channel binding',
    env: { LAKEBASE_PROXY_LOCAL_TLS: 'auto' },
    conninfo: 'sslmode=require channel_binding=require',
  },
  { symptom: 'no way to sign in to', env: { DATABRICKS_TOKEN: '' } },
  { symptom: 'does not accept the sign-in', env: { DATABRICKS_TOKEN: 'dapi-of-another' } },
  { symptom: 'could not reach', env: { DATABRICKS_HOST: 'http://127.0.0.1:9' } },
  { symptom: 'database instance "my-instance" does not exist', target: 'my-instance' },
  { symptom: 'is stopped', target: 'stopped-instance' },
  { symptom: 'database "shop" does not exist', conninfo: 'dbname=shop' },
  {
    symptom: 'could not translate host name',
    env: { LAKEBASE_PROXY_RESOLVER: '127.0.0.1:9' },
  },
  { symptom: 'could not be verified', env: { LAKEBASE_PROXY_SSLROOTCERT: '' } },
  {
    symptom: 'connection to server at "',
    env: { LAKEBASE_PROXY_UPSTREAM_PORT: '9', LAKEBASE_PROXY_CONNECT_TIMEOUT: '1s' },
  },
  {
    symptom: 'sorry, too many clients already',
    env: { LAKEBASE_PROXY_MAX_CONNECTIONS: '1' },
    beside: true,
  },
]

/** Their own tests provoke these. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'connection requires TLS': 'who-may-come-in.test.ts: needs an address beyond this machine',
  'terminating connection due to administrator command': 'drain.test.ts',
}

const page = readFileSync('docs/troubleshooting.md', 'utf8')
/** The quoted words of the headings under "By symptom". */
const headings = [...page.matchAll(/^### (.*)$/gm)].flatMap(([, heading]) =>
  [...heading!.matchAll(/`([^`]+)`/g)].map(([, words]) => words!),
)

test('every symptom in a heading is one that a test provokes', () => {
  const tested = [
    ...CASES.map(({ symptom }) => symptom),
    ...Object.keys(ELSEWHERE),
    ...['Connection refused', 'is in use'],
  ]
  assert.ok(headings.length > 18)
  assert.deepEqual(
    headings.filter((words) => !tested.some((symptom) => words.includes(symptom))),
    [],
  )
  for (const symptom of tested) {
    assert.ok(
      headings.some((words) => words.includes(symptom)),
      symptom,
    )
  }
})

for (const each of CASES) {
  test(`people see: ${each.symptom}`, { skip: needsPsql }, async (t) => {
    const stderr = await stderrOf(t, each)
    assert.ok(stderr.includes(each.symptom), stderr)
  })
}

test('people see: Connection refused, where nothing listens', { skip: needsPsql }, async () => {
  const { stderr } = await run('psql', ['-w', '-d', 'host=127.0.0.1 port=9 dbname=x user=any'])
  assert.match(stderr, /Connection refused/)
})

test('people see: port is in use', async (t) => {
  const holder = createServer().listen(0, '127.0.0.1')
  t.after(() => void holder.close())
  await once(holder, 'listening')
  const { port } = holder.address() as AddressInfo
  const args = ['demo-instance', '--port', String(port), '--address', '127.0.0.1', '--no-admin']
  const { code, stderr } = await cliHere(args, { env: { ...emulator.env } })
  assert.equal(code, 2)
  assert.match(stderr, new RegExp(`port ${port} is in use`))
})

async function stderrOf(t: TestContext, each: Case): Promise<string> {
  if (each.fault !== undefined) emulator.control.failFront(each.fault)
  const proxy = await startProxy({
    targets: [each.target ?? 'demo-instance'],
    port: 0,
    env: { HOME: '/nonexistent', ...emulator.env, ...each.env },
  })
  t.after(() => proxy.close())
  const conninfo = `host=127.0.0.1 port=${proxy.addresses[0]!.port} user=any dbname=databricks_postgres ${each.conninfo ?? ''}`
  if (each.beside) await connectedClient(t, proxy.addresses[0]!.port)
  const { code, stderr } = await run('psql', ['-XAtc', 'select 1', '-w', '-d', conninfo])
  assert.notEqual(code, 0)
  return stderr
}
