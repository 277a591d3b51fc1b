/** What clients of a gateway give is secret: it is nowhere to be read, and gone when it is not used. */

import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import pg from 'pg'

import type { Identity } from '../src/emulator/inventory.js'
import { emulatorForTests } from './support/emulator.js'
import type { GatewayCommand } from './support/gateway-child.js'
import { proxyBefore, temporaryFolder } from './support/proxy.js'

const emulator = await emulatorForTests()
const { control } = emulator

const person: Identity = {
  userName: 'secretive@example.com',
  displayName: 'Secretive',
  kind: 'user',
  pat: `dapi-${randomUUID()}`,
  groups: [],
  hasRole: true,
  projectRight: 'CAN_USE',
}
const application: Identity = {
  ...{ userName: randomUUID(), displayName: 'app', kind: 'service_principal', groups: [] },
  ...{ clientSecret: `dose-${randomUUID()}`, hasRole: true, projectRight: 'CAN_USE' },
}
await control.addIdentities([person, application])

/** Each login, and whether it succeeds. */
function logins(): { user: string; password: string; isIn: boolean }[] {
  const user = person.userName
  return [
    { user, password: person.pat!, isIn: true },
    { user: 'token', password: control.mintWorkspaceToken(person).text, isIn: true },
    { user: application.userName, password: application.clientSecret!, isIn: true },
    { user, password: control.mintToken(person).text, isIn: true },
    { user, password: `dapi-wrong-${randomUUID()}`, isIn: false },
    { user: application.userName, password: `dose-wrong-${randomUUID()}`, isIn: false },
    { user: 'postgres', password: person.pat!, isIn: false },
    { user, password: control.mintToken(person, { lifeMs: -1_000 }).text, isIn: false },
  ]
}

async function logIn(port: number, user: string, password: string): Promise<string | undefined> {
  const client = new pg.Client({
    ...{ host: 'localhost', port, user, password, database: 'databricks_postgres' },
    ssl: { rejectUnauthorized: false },
  })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('select 1')
    return undefined
  } catch (error) {
    return `${error} ${JSON.stringify(error)}`
  } finally {
    await client.end().catch(() => {})
  }
}

/** In any of the forms that it is sent in. */
function partsOf(user: string, password: string): string[] {
  const basic = Buffer.from(`${user}:${password}`).toString('base64')
  // From the middle: the beginning of a base64 text depends on what stands before it.
  return [password.slice(-30), basic.slice(-28, -4)]
}

test('no secret of a client is in the log at any level, a message to a client, the status or metrics', async (t) => {
  const proxy = await proxyBefore(t, emulator, {
    ...{ targets: ['projects/demo'], localAuth: 'databricks', localTls: 'auto', adminPort: 0 },
    logLevel: 'trace',
  })
  const given = logins()
  const told: string[] = []
  for (const { user, password, isIn } of given) {
    const refusal = await logIn(proxy.port, user, password)
    assert.equal(refusal === undefined, isIn, `${user}: ${refusal}`)
    told.push(refusal ?? '')
  }
  const { adminUrl } = proxy.daemon
  for (const path of ['status', 'metrics', '']) {
    told.push(await (await fetch(`${adminUrl}/${path}`)).text())
  }
  const metrics = told.at(-2)!
  assert.doesNotMatch(metrics, /secretive@example\.com/, 'no user name is a label')
  const all = told.join('\n') + JSON.stringify(proxy.log.lines)
  for (const { user, password } of given) {
    for (const part of partsOf(user, password)) assert.equal(all.includes(part), false, part)
  }
})

test('no secret of a client is left in memory after its last use and the end of the cache', async (t) => {
  const gateway = await child(t)
  const given = logins()
  for (const { user, password, isIn } of given) {
    const refusal = await logIn(gateway.port, user, password)
    assert.equal(refusal === undefined, isIn, `${user}: ${refusal}`)
  }
  const [pat] = given
  assert.ok((await gateway.heap()).includes(pat!.password), 'while it is cached, it is there')
  await gateway.tell({ do: 'advance', ms: 16 * 60_000 })
  const left = await gateway.heap()
  for (const { user, password } of given) {
    for (const part of partsOf(user, password)) {
      assert.equal(left.includes(part), false, `${user}: ${part}`)
    }
  }
})

interface Child {
  readonly port: number
  tell(command: GatewayCommand): Promise<void>
  heap(): Promise<string>
}

async function child(t: TestContext): Promise<Child> {
  const folder = await temporaryFolder(t)
  const process = fork(join(import.meta.dirname, 'support/gateway-child.js'), [folder], {
    env: emulator.env as NodeJS.ProcessEnv,
    execArgv: ['--expose-gc'],
  })
  t.after(() => process.kill('SIGKILL'))
  const [port] = (await once(process, 'message')) as [number]
  const tell = async (command: GatewayCommand): Promise<void> => {
    const done = once(process, 'message')
    process.send(command)
    await done
  }
  let count = 0
  return {
    port,
    tell,
    async heap() {
      const file = join(folder, `${count++}.heapsnapshot`)
      await tell({ do: 'snapshot', file })
      return readFile(file, 'latin1')
    },
  }
}
