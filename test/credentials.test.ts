/** What clients are logged in with, as those change who sign in. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { type ProxyOptions, settingsFromOptions } from '../src/config/resolve/options.js'
import { Secret } from '../src/core/secret.js'
import { TokenCredentials } from '../src/credentials/credentials.js'
import type { Workspace } from '../src/databricks/lakebase/connect-workspace.js'
import { LookUp } from '../src/databricks/lakebase/look-up.js'
import type { LakebaseDatabase, MintOptions } from '../src/databricks/lakebase/workspace.js'
import { FakeClock, settle } from './support/fake-clock.js'
import { neverAborted } from './support/scripted-workspace.js'

const HOUR_MS = 3_600_000
const database = { kind: 'provisioned', name: 'shop' } as LakebaseDatabase

class FakeWorkspace implements Pick<Workspace, 'identity' | 'mintCredential'> {
  who = 'ada@example.com'
  asked = 0
  readonly minted: MintOptions[] = []
  readonly #clock: FakeClock

  constructor(clock: FakeClock) {
    this.#clock = clock
  }

  async identity(): Promise<string> {
    this.asked++
    return this.who
  }

  async mintCredential(_database: LakebaseDatabase, options: MintOptions) {
    this.minted.push(options)
    const token = new Secret(`${this.who} ${this.minted.length}`)
    return { token, expiresAt: this.#clock.now() + HOUR_MS }
  }
}

function signedIn(options: Partial<ProxyOptions> = {}) {
  const clock = new FakeClock()
  const workspace = new FakeWorkspace(clock)
  const credentials = new TokenCredentials({
    target: settingsFromOptions({ targets: ['shop'], ...options }, {}).targets[0]!,
    workspace: workspace as unknown as Workspace,
    identity: new LookUp(() => workspace.identity()),
    database: new LookUp(async () => database),
    clock,
    closing: neverAborted,
  })
  return { clock, workspace, credentials }
}

test('the role is that of the signed-in identity, asked for once with the first token', async () => {
  const { workspace, credentials } = signedIn()
  const logins = await Promise.all([credentials.get(neverAborted), credentials.get(neverAborted)])
  assert.deepEqual(
    logins.map(({ user, method }) => [user, method]),
    Array(2).fill(['ada@example.com', 'token']),
  )
  assert.equal(workspace.asked, 1)
  credentials.close()
})

test('when another person signs in under the same profile, role and token are that person’s', async () => {
  const { clock, workspace, credentials } = signedIn()
  await credentials.get(neverAborted)
  workspace.who = 'grace@example.com'
  await clock.advance(51 * 60_000)
  const { user, password } = await credentials.get(neverAborted)
  assert.deepEqual([user, password.reveal()], ['grace@example.com', 'grace@example.com 2'])
  credentials.close()
})

test('a token refused because another person has signed in gets a successor with that person’s role', async () => {
  const { workspace, credentials } = signedIn()
  const refused = await credentials.get(neverAborted)
  workspace.who = 'grace@example.com'
  await credentials.renew(refused, neverAborted)
  await settle()
  assert.equal((await credentials.get(neverAborted)).user, 'grace@example.com')
  credentials.close()
})

test('while the workspace cannot say who is signed in, the last answer counts', async () => {
  const { clock, workspace, credentials } = signedIn()
  await credentials.get(neverAborted)
  workspace.identity = () => Promise.reject(new Error('out of order'))
  await clock.advance(51 * 60_000)
  assert.equal((await credentials.get(neverAborted)).user, 'ada@example.com')
  assert.equal(workspace.minted.length, 2)
  credentials.close()
})

for (const [options, role] of [
  [{ user: 'client' }, undefined],
  [{ user: 'app' }, 'app'],
  [{ group: 'analysts' }, 'analysts'],
] as const) {
  test(`with ${JSON.stringify(options)} the workspace is not asked who is signed in`, async () => {
    const { workspace, credentials } = signedIn(options)
    assert.equal((await credentials.get(neverAborted)).user, role)
    assert.equal(workspace.asked, 0)
    credentials.close()
  })
}
