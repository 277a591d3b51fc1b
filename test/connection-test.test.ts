/** `run-connection-test`: a proxy that could serve no client does not listen, and says why. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startCli } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { userWithoutRole } from './support/identities.js'
import { proxyBefore, psql } from './support/proxy.js'

const emulator = await emulatorForTests()
const FLAGS = ['--run-connection-test', '--port', '0', '--admin-port', '0']

test('when every target can be logged in to, it listens and serves', async (t) => {
  const args = ['demo-instance', 'projects/demo', ...FLAGS]
  const proxy = startCli(t, args, { env: { ...emulator.env } })
  const [, port] = await proxy.saw(/"127\.0\.0\.1:(\d+)"[^\n]*"listening"/)
  assert.equal((await psql(`host=localhost port=${port}`, 'select 1')).stdout, '1\n')
  proxy.kill('SIGTERM')
  const { code, stderr } = await proxy.done
  assert.equal(code, 0)
  const tested = stderr.lastIndexOf('connection test passed')
  assert.ok(tested !== -1 && tested < stderr.indexOf('"listening"'), stderr)
})

for (const { what, targets, env, message } of [
  {
    what: 'a target that does not exist',
    targets: ['demo-instance', 'nowhere'],
    env: {},
    message:
      /target "nowhere" failed the connection test: .* does not exist[^\n]*\nHint: There is: /,
  },
  {
    what: 'a role that does not exist',
    targets: ['projects/demo'],
    env: { DATABRICKS_TOKEN: userWithoutRole.pat! },
    message: /target "projects\/demo" failed the connection test: .*\n/,
  },
  {
    what: 'a sign-in that does not work',
    targets: ['demo-instance'],
    env: { DATABRICKS_TOKEN: 'dapi-wrong' },
    message: /target "demo-instance" failed the connection test: .*does not accept the sign-in/,
  },
]) {
  test(`${what}: it ends with 1 and the reason, and never listens`, async (t) => {
    const where = { env: { ...emulator.env, ...env } }
    const { code, stderr } = await startCli(t, [...targets, ...FLAGS], where).done
    assert.equal(code, 1, stderr)
    assert.match(stderr, message)
    assert.doesNotMatch(stderr, /"listening"/)
  })
}

test('a reload that adds a target that fails the test leaves the old settings in force', async (t) => {
  const { daemon, port, settings } = await proxyBefore(t, emulator, { runConnectionTest: true })
  const targets = ['demo-instance', 'nowhere']
  await assert.rejects(daemon.reload(settings({ targets })), /failed the connection test/)
  assert.equal((await psql(`host=localhost port=${port}`, 'select 1')).stdout, '1\n')
  assert.equal(daemon.targets.length, 1)
})
