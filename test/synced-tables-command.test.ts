/** `synced-tables` as a user runs it, for both kinds of Lakebase. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { cliHere } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'

const emulator = await emulatorForTests({ transitionMs: 100 })
const { control } = emulator

function tables(...args: string[]) {
  return cliHere(['synced-tables', ...args], { env: { ...emulator.env } })
}

/** A table of its own name each time. */
function create(target: string, source: string, policy: string, ...more: string[]) {
  number++
  const name = `main.shop.t${number}`
  const args = ['--source', source, '--primary-key', 'id', '--policy', policy, '--target', target]
  return { name, ran: tables('create', name, ...args, ...more) }
}
let number = 0

const INSTANCE = 'demo-instance'
const PROJECT = 'projects/demo'

for (const [target, policy] of [
  [INSTANCE, 'snapshot'],
  [INSTANCE, 'triggered'],
  [INSTANCE, 'continuous'],
  [PROJECT, 'continuous'],
] as const) {
  test(`${policy} at ${target}: made, followed until it is online, shown and deleted`, async () => {
    const { name, ran } = create(target, 'main.sales.orders', policy, '--wait')
    const { code, stdout, stderr } = await ran
    assert.equal(code, 0, stderr)
    assert.match(stderr, new RegExp(`^(${name}: .*, \\d+ s.*\\n){2,}$`))
    assert.match(stdout, /^name +main\.shop\.t\d+\nstate +SYNCED_TABLE_ONLINE_/)
    const shown = await tables('show', name, '--json')
    assert.equal(shown.code, 0)
    const described = JSON.parse(shown.stdout) as Record<string, unknown>
    assert.deepEqual(
      [described.name, described.source, described.policy],
      [name, 'main.sales.orders', policy.toUpperCase()],
    )
    const deleted = await tables('delete', name)
    assert.deepEqual([deleted.code, deleted.stderr], [0, `${name} is deleted.\n`])
    const gone = await tables('show', name)
    assert.equal(gone.code, 1)
    assert.match(gone.stderr, new RegExp(name))
  })
}

test('without --wait it is made, and how to follow it is said', async () => {
  const { name, ran } = create(INSTANCE, 'main.sales.orders', 'snapshot')
  const { code, stdout, stderr } = await ran
  assert.equal(code, 0)
  assert.match(stdout, /^state +SYNCED_TABLE_PROVISIONING/m)
  assert.match(stderr, new RegExp(`lakebase-proxy synced-tables show ${name}`))
})

for (const target of [INSTANCE, PROJECT]) {
  test(`a sync at ${target} that fails ends the wait with 1 and the workspace’s own words`, async () => {
    const { code, stderr } = await create(target, 'main.sales.broken', 'snapshot', '--wait').ran
    assert.equal(code, 1)
    assert.match(stderr, /null value in primary key column "id"/)
  })
}

test('what is wrong with the arguments is 2, and nothing is made', async () => {
  const before = control.callCount('synced-tables')
  const right: Record<string, string> = {
    '--source': 'main.sales.orders',
    '--primary-key': 'id',
    '--policy': 'snapshot',
    '--target': INSTANCE,
  }
  const wrong: [string, Record<string, string | undefined>, RegExp][] = [
    ['orders_synced', {}, /three parts|CATALOG\.SCHEMA\.TABLE/i],
    ['main.shop.x', { '--source': 'orders' }, /three parts|CATALOG\.SCHEMA\.TABLE/i],
    ['main.shop.x', { '--source': undefined }, /--source is missing/],
    ['main.shop.x', { '--primary-key': ',' }, /primary.key/],
    ['main.shop.x', { '--policy': 'triggerd' }, /triggered/],
    ['main.shop.x', { '--policy': undefined }, /--policy is missing/],
  ]
  for (const [name, changed, message] of wrong) {
    const given = Object.entries({ ...right, ...changed }).flatMap(([flag, value]) =>
      value === undefined ? [] : [flag, value],
    )
    const { code, stderr } = await tables('create', name, ...given)
    assert.equal(code, 2, stderr)
    assert.match(stderr, message)
  }
  assert.equal(control.callCount('synced-tables'), before)
})

test('a source without change data feed is refused with the statement that turns it on', async () => {
  const { code, stderr } = await create(INSTANCE, 'main.sales.customers', 'triggered').ran
  assert.notEqual(code, 0)
  assert.match(stderr, /delta\.enableChangeDataFeed = true/i)
})

test('where the API cannot list them, it says what can be asked instead', async () => {
  const { code, stderr } = await tables('list', '--target', INSTANCE)
  assert.equal(code, 1)
  assert.match(stderr, /synced-tables show/)
})
