/** `exec`: one program with a proxy of its own, and nothing left of either afterwards. */

import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'

import { startCli, type Where } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { type Ran, temporaryFolder } from './support/proxy.js'

const emulator = await emulatorForTests()
const env = { ...emulator.env }

/** A port that nobody listens at refuses at once. */
function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  return new Promise((resolve) => {
    socket.on('error', () => resolve(false))
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}

test('the program finds the proxy, logs in as the workspace identity, and leaves no listener behind', async (t) => {
  const script =
    "psql -XAtc 'select current_user' && psql -XAtc 'select 1' \"$LAKEBASE_PG_URL\" && echo $PGPORT"
  const args = ['exec', 'demo-instance', '--', 'sh', '-c', script]
  const { code, stdout, stderr } = await startCli(t, args, { env }).done
  assert.deepEqual([code, stderr], [0, ''])
  const [user, one, port] = stdout.trim().split('\n')
  assert.deepEqual([user, one], ['ada@example.com', '1'])
  assert.equal(await isOpen(Number(port)), false)
})

test("the exit code is the program's", async (t) => {
  const codeOf = async (...words: string[]): Promise<number> =>
    (await startCli(t, ['exec', 'demo-instance', '--', ...words], { env }).done).code
  assert.equal(await codeOf('sh', '-c', 'exit 7'), 7)
  assert.equal(await codeOf('psql', '-Xc', 'select no_such_column'), 1)
  assert.equal(await codeOf('sh', '-c', 'kill -KILL $$'), 137)
})

test('a program that is not there is one clear message', async (t) => {
  const args = ['exec', 'demo-instance', '--', 'no-such-program']
  const { code, stderr } = await startCli(t, args, { env }).done
  assert.equal(code, 1)
  assert.equal(stderr, 'lakebase-proxy: cannot run no-such-program: no such program\n')
})

test('signals are passed on, and the proxy waits for the program to end', async (t) => {
  const script = "trap 'echo caught; exit 5' TERM; echo ready >&2; while :; do sleep 0.1; done"
  const running = startCli(t, ['exec', 'demo-instance', '--', 'sh', '-c', script], { env })
  await running.saw(/ready/)
  running.kill('SIGTERM')
  const { code, stdout } = await running.done
  assert.deepEqual([code, stdout], [5, 'caught\n'])
})

test('what would lead the program past the proxy is not passed on; a local password is', async (t) => {
  const where: Where = {
    env: {
      ...env,
      PGHOSTADDR: '192.0.2.1',
      PGSERVICE: 'elsewhere',
      PGHOST: 'elsewhere',
      PGCHANNELBINDING: 'require',
      LAKEBASE_PROXY_LOCAL_AUTH: 'password',
      LAKEBASE_PROXY_LOCAL_PASSWORD: 'hunter2',
    },
  }
  const args = ['exec', 'demo-instance', '--', 'psql', '-XAtwc', 'select 1']
  const { code, stdout, stderr } = await startCli(t, args, where).done
  assert.deepEqual([code, stdout, stderr], [0, '1\n', ''])
})

test('it opens a port of its own, whatever port and admin port the settings name', async (t) => {
  const settings = {
    LAKEBASE_PROXY_PORT: '5432',
    LAKEBASE_PROXY_UNIX_SOCKET: await temporaryFolder(t),
  }
  const start = (): Promise<Ran> =>
    startCli(t, ['exec', 'demo-instance', '--', 'sh', '-c', 'echo $PGPORT $PGHOST'], {
      env: { ...env, ...settings },
    }).done
  const both = await Promise.all([start(), start()])
  for (const { code, stdout } of both) {
    assert.equal(code, 0)
    assert.match(stdout, /^\d+ localhost\n$/)
    assert.doesNotMatch(stdout, /^5432 /)
  }
})
