/** The settings of the library: the names of the table in camelCase, and the same checks. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { type ProxyOptions, settingsFromOptions } from '../src/config/resolve/options.js'
import { ProxyError } from '../src/core/errors.js'
import type { Secret } from '../src/core/secret.js'

function refusal(options: object, env: Record<string, string> = {}): string {
  try {
    settingsFromOptions(options as ProxyOptions, env)
  } catch (error) {
    assert.ok(error instanceof ProxyError && error.kind === 'config', String(error))
    return `${error.message}\n${error.hint ?? ''}`
  }
  assert.fail('the options were taken')
}

test('options are typed values, or the texts a user would write', () => {
  const { targets, ...settings } = settingsFromOptions(
    {
      targets: ['a', { target: 'b', port: 6000, readOnly: true, idleTimeout: 500 }],
      address: ['127.0.0.1'],
      idleTimeout: '5m',
      resolver: ['1.1.1.1', '9.9.9.9:53'],
      localAuth: 'password',
      localPassword: 'hunter2',
    },
    {},
  )
  const [a, b] = targets
  assert.deepEqual(
    [a!.name, a!.listen.port, a!.readOnly, a!.idleTimeoutMs],
    ['a', 5432, false, 300_000],
  )
  assert.deepEqual([b!.name, b!.listen.port, b!.readOnly, b!.idleTimeoutMs], ['b', 6000, true, 500])
  assert.deepEqual(b!.listen.addresses, ['127.0.0.1'])
  assert.deepEqual(settings.resolver, ['1.1.1.1', '9.9.9.9:53'])
  assert.equal((settings.localPassword as Secret).reveal(), 'hunter2')
})

test('options win over the variables that were handed in', () => {
  const env = { LAKEBASE_PROXY_DATABASE: 'from-env', LAKEBASE_PROXY_USER: 'from-env' }
  const { targets } = settingsFromOptions({ targets: ['a'], database: 'mine' }, env)
  assert.deepEqual(
    [targets[0]!.database, targets[0]!.login],
    ['mine', { as: 'role', name: 'from-env' }],
  )
})

test('there is no admin port unless an option asks for one', () => {
  assert.equal(settingsFromOptions({ targets: ['a'] }, {}).admin, undefined)
  const env = { LAKEBASE_PROXY_ADMIN_PORT: '9999' }
  assert.equal(settingsFromOptions({ targets: ['a'] }, env).admin, undefined)
  const { admin } = settingsFromOptions({ targets: ['a'], adminPort: 0 }, {})
  assert.ok(admin !== undefined && 'port' in admin && admin.port === 0)
  const socket = settingsFromOptions({ targets: ['a'], adminSocket: '/run/me/admin.sock' }, {})
  assert.deepEqual(socket.admin, { socket: '/run/me/admin.sock' })
})

test('all that is wrong is told at once, by the names of the options', () => {
  const text = refusal(
    { targets: [{ target: 'a', drainTimeout: '1s' }], prot: 1, tokenTtl: '2h', port: 70_000 },
    { LAKEBASE_PROXY_QUIET: 'perhaps' },
  )
  for (const expected of [
    /prot: is not an option\n {4}Did you mean "port"/,
    /tokenTtl: token-ttl must be from 5m to 1h/,
    /\n {2}port must be a whole number/,
    /targets: drainTimeout: drain-timeout is a setting of the whole proxy/,
    /LAKEBASE_PROXY_QUIET: quiet must be/,
  ]) {
    assert.match(text, expected)
  }
  assert.match(refusal({ targets: [] }), /no target is named/)
  assert.match(refusal({ targets: ['a'], config: 'c.yaml' }), /config: is not an option/)
})
