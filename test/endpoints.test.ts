/** Where a target leads, as the workspace's answers about it change. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { type ProxyOptions, settingsFromOptions } from '../src/config/resolve/options.js'
import { ProxyError } from '../src/core/errors.js'
import { LookUp } from '../src/databricks/lakebase/look-up.js'
import type { LakebaseDatabase } from '../src/databricks/lakebase/workspace.js'
import { Endpoints } from '../src/endpoints/endpoints.js'
import { FakeClock } from './support/fake-clock.js'
import { neverAborted } from './support/scripted-workspace.js'

interface Scene {
  readonly endpoints: Endpoints
  /** What the workspace says from now on. */
  says(answer: Partial<LakebaseDatabase> | ProxyError): void
  /** How often it was asked. */
  readonly asked: number
  /** What DNS says from now on. */
  resolves(answer: readonly string[] | ProxyError): void
}

const instance: LakebaseDatabase = {
  kind: 'provisioned',
  name: 'shop',
  uid: undefined,
  readWriteHost: 'instance-1.database.example.com',
  readOnlyHost: undefined,
  state: 'available',
  apiState: 'AVAILABLE',
  branchCreatedAt: undefined,
}

function scene(options: Partial<ProxyOptions> = {}): Scene {
  let answer: Partial<LakebaseDatabase> | ProxyError = {}
  let addresses: readonly string[] | ProxyError = ['127.0.0.1']
  let asked = 0
  const settings = settingsFromOptions({ targets: ['shop'], ...options }, {})
  const endpoints = new Endpoints({
    target: settings.targets[0]!,
    clock: new FakeClock(),
    resolver: {
      async resolve() {
        if (addresses instanceof ProxyError) throw addresses
        return addresses
      },
      forget() {},
    },
    database: new LookUp(async () => {
      asked++
      if (answer instanceof ProxyError) throw answer
      return { ...instance, ...answer }
    }),
  })
  return {
    endpoints,
    says: (next) => {
      answer = next
    },
    resolves: (next) => {
      addresses = next
    },
    get asked() {
      return asked
    },
  }
}

const unreachable = new ProxyError('credential', 'workspace did not answer')
const gone = new ProxyError('target', 'database instance "shop" does not exist')

async function hostNow({ endpoints }: Scene): Promise<string> {
  return (await endpoints.resolve(neverAborted)).host
}

test('the workspace is asked once, and not for each connection', async () => {
  const shop = scene()
  await hostNow(shop)
  await hostNow(shop)
  assert.equal(shop.asked, 1)
})

test('an instance that is being created has no host yet, and serves as soon as it has one', async () => {
  const shop = scene()
  shop.says({ state: 'starting', apiState: 'STARTING', readWriteHost: undefined })
  await assert.rejects(hostNow(shop), { kind: 'starting', message: '"shop" has no host yet' })
  shop.says({})
  assert.equal(await hostNow(shop), 'instance-1.database.example.com')
})

test('a read-only host that is enabled later is found without a restart', async () => {
  const shop = scene({ readOnly: true })
  await assert.rejects(hostNow(shop), { kind: 'target', message: '"shop" has no read-only host' })
  shop.says({ readOnlyHost: 'instance-ro-1.database.example.com' })
  assert.equal(await hostNow(shop), 'instance-ro-1.database.example.com')
})

test('where the workspace said so a moment ago, it is not asked a second time for the same client', async () => {
  const shop = scene()
  shop.says({ state: 'stopped', apiState: 'STOPPED' })
  await assert.rejects(hostNow(shop), { kind: 'stopped' })
  assert.equal(shop.asked, 1)
})

test('after a dial that failed the workspace is asked again, and the old answer stays while it is silent', async () => {
  const shop = scene()
  const endpoint = await shop.endpoints.resolve(neverAborted)
  shop.endpoints.dialled(endpoint, '127.0.0.1', false)
  shop.says(unreachable)
  assert.equal(await hostNow(shop), 'instance-1.database.example.com')
  shop.endpoints.dialled(endpoint, '127.0.0.1', false)
  shop.says({ readWriteHost: 'instance-2.database.example.com' })
  assert.equal(await hostNow(shop), 'instance-2.database.example.com')
})

test('a host that no longer resolves may have been replaced: the next client asks where it is', async () => {
  const shop = scene()
  shop.resolves(new ProxyError('resolve', 'could not translate host name'))
  await assert.rejects(hostNow(shop), { kind: 'resolve' })
  shop.says({ readWriteHost: 'instance-2.database.example.com' })
  shop.resolves(['127.0.0.1'])
  assert.equal(await hostNow(shop), 'instance-2.database.example.com')
})

test('an instance that was deleted is told of as gone, not dialled for ever', async () => {
  const shop = scene()
  const endpoint = await shop.endpoints.resolve(neverAborted)
  shop.endpoints.dialled(endpoint, '127.0.0.1', false)
  shop.says(gone)
  await assert.rejects(hostNow(shop), gone)
})

test('a dead address comes last until it answers again', async () => {
  const shop = scene()
  shop.resolves(['192.0.2.1', '192.0.2.2'])
  const endpoint = await shop.endpoints.resolve(neverAborted)
  shop.endpoints.dialled(endpoint, '192.0.2.1', false)
  const later = await shop.endpoints.resolve(neverAborted)
  assert.deepEqual(later.addresses, ['192.0.2.2', '192.0.2.1'])
  shop.endpoints.dialled(later, '192.0.2.1', true)
  const last = await shop.endpoints.resolve(neverAborted)
  assert.deepEqual(last.addresses, ['192.0.2.1', '192.0.2.2'])
})
