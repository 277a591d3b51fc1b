/** The process and its signals: how it ends, with which exit code, and when it does not. */

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import type pg from 'pg'

import { MAIN, type RunningCli, startCli } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { freePort } from './support/http.js'
import { connectedClient, temporaryFolder } from './support/proxy.js'
import { connect, readAll } from './support/sockets.js'

const emulator = await emulatorForTests()
const onWindows = process.platform === 'win32' && 'Windows has no such signals'

const start = (t: TestContext, ...args: string[]): RunningCli =>
  startCli(t, ['--port', '0', ...args], { env: { ...emulator.env } })

async function portOf(cli: RunningCli): Promise<number> {
  return Number((await cli.saw(/"127\.0\.0\.1:(\d+)"[^\n]*"listening"/))[1])
}

const ended = (client: pg.Client): Promise<void> =>
  new Promise((resolve) => client.once('end', () => resolve()))

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  const when = signal === 'SIGHUP' ? ', without a config file,' : ''
  test(`${signal}${when} lets idle clients go and busy ones finish: exit code 0`, {
    skip: onWindows,
  }, async (t) => {
    const cli = start(t, 'demo-instance', '--no-admin')
    const port = await portOf(cli)
    const idle = await connectedClient(t, port)
    const busy = await connectedClient(t, port)
    const idleEnded = ended(idle)
    const answer = busy.query("select pg_sleep(2), 'finished' as answer")
    cli.kill(signal)
    await cli.saw(new RegExp(`${signal}: draining`))
    await assert.rejects(connectedClient(t, port), { code: '57P03' })
    await idleEnded
    assert.equal((await answer).rows[0].answer, 'finished')
    assert.equal((await cli.done).code, 0)
    await assert.rejects(connect(port), { code: 'ECONNREFUSED' })
  })
}

test('SIGUSR1 opens no debugger, and changes nothing', { skip: onWindows }, async (t) => {
  const cli = startCli(t, ['--port', '0', 'demo-instance', '--no-admin'], {
    env: { ...emulator.env, NODE_OPTIONS: '--inspect-port=0' },
  })
  const port = await portOf(cli)
  for (let turn = 0; turn < 3; turn++) {
    cli.child.kill('SIGUSR1')
    await connectedClient(t, port)
  }
  cli.kill('SIGTERM')
  const { code, stderr } = await cli.done
  assert.equal(code, 0)
  assert.doesNotMatch(stderr, /debugger/i)
})

/** util-linux's: it runs a command on a terminal of its own. */
function needsScript(): false | string {
  try {
    const version = execFileSync('script', ['--version'], { encoding: 'utf8' })
    return !version.includes('util-linux') && 'script is another one here'
  } catch {
    return 'script is not installed'
  }
}

test('a terminal that is closed is a SIGHUP, and the drain comes to its end without it: exit code 0', {
  skip: needsScript(),
}, async (t) => {
  const folder = await temporaryFolder(t)
  const file = join(folder, 'exit-code')
  const port = await freePort()
  // A shell tells its jobs that the terminal is gone; this one stays to see how they end.
  const command = `"$NODE" "$MAIN" demo-instance --port ${port} --no-admin &
    trap "kill -HUP $!" HUP; wait $!; wait $!; echo $? > ${file}`
  const terminal = spawn('script', ['-q', '-c', command, '/dev/null'], {
    env: { PATH: process.env.PATH, NODE: process.execPath, MAIN, ...emulator.env },
    stdio: ['pipe', 'pipe', 'inherit'],
    cwd: folder,
  })
  t.after(() => terminal.kill('SIGKILL'))
  let shown = ''
  await new Promise<void>((resolve) => {
    terminal.stdout.on('data', (bytes) => {
      shown += String(bytes)
      if (shown.includes(`:${port}`)) resolve()
    })
  })
  const client = await connectedClient(t, port)
  const answer = client.query("select pg_sleep(1), 'finished' as answer")
  terminal.kill('SIGKILL')
  await once(terminal, 'exit')
  assert.equal((await answer).rows[0].answer, 'finished')
  let code = ''
  while (code === '') code = await readFile(file, 'utf8').catch(() => '')
  assert.equal(code, '0\n')
})

for (const [second, exitCode] of [
  ['SIGINT', 130],
  ['SIGTERM', 1],
] as const) {
  test(`a second signal ends it now: exit code ${exitCode} after ${second}`, {
    skip: onWindows,
  }, async (t) => {
    const cli = start(t, 'demo-instance', '--no-admin', '--drain-timeout', '10m')
    const client = await connectedClient(t, await portOf(cli))
    await client.query('begin')
    const over = ended(client)
    cli.kill('SIGINT')
    await cli.saw(/SIGINT: draining/)
    cli.kill(second)
    await over
    assert.equal((await cli.done).code, exitCode)
  })
}

test('a second signal ends a drain-delay, too', { skip: onWindows }, async (t) => {
  const cli = start(t, 'demo-instance', '--no-admin', '--drain-delay', '10m')
  await portOf(cli)
  cli.kill('SIGINT')
  await cli.saw(/SIGINT: draining/)
  cli.kill('SIGINT')
  assert.equal((await cli.done).code, 130)
})

test('readiness is red from the first moment, and drain-delay goes on serving', {
  skip: onWindows,
}, async (t) => {
  const adminPort = String(await freePort())
  const cli = start(t, 'demo-instance', '--admin-port', adminPort, '--drain-delay', '2s')
  const port = await portOf(cli)
  const readiness = async (): Promise<number> =>
    (await fetch(`http://127.0.0.1:${adminPort}/readiness`)).status
  await (await connectedClient(t, port)).query('select 1')
  assert.equal(await readiness(), 200)
  cli.kill('SIGTERM')
  await cli.saw(/SIGTERM: draining/)
  assert.equal(await readiness(), 503)
  const client = await connectedClient(t, port)
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
  await client.end()
  assert.equal((await cli.done).code, 0)
})

test('SIGHUP while it drains changes nothing', { skip: onWindows }, async (t) => {
  const file = join(await temporaryFolder(t), 'config.yaml')
  await writeFile(file, 'no-admin: true\nport: 0\ntargets: [demo-instance]\n')
  const cli = start(t, '--config', file)
  const port = await portOf(cli)
  const client = await connectedClient(t, port)
  await client.query('begin')
  cli.kill('SIGTERM')
  await cli.saw(/SIGTERM: draining/)
  await writeFile(file, 'no-admin: true\nport: 0\ntargets: [second-instance]\n')
  cli.kill('SIGHUP')
  await assert.rejects(connectedClient(t, port), { code: '57P03' })
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
  await client.query('commit')
  const { code, stderr } = await cli.done
  assert.equal(code, 0)
  assert.doesNotMatch(stderr, /second-instance/)
})

/** A FIFO as a file of settings: the start-up stands still until the test has written them. */
async function startingUp(
  t: TestContext,
  variable: 'LAKEBASE_PROXY_CONFIG' | 'LAKEBASE_PROXY_ENV_FILE',
): Promise<{ cli: RunningCli; fifo: string; goOn(settings: string): Promise<void> }> {
  const fifo = join(await temporaryFolder(t), 'settings')
  execFileSync('mkfifo', ['-m', '600', fifo])
  const cli = startCli(t, [], { env: { ...emulator.env, [variable]: fifo } })
  const file = await open(fifo, 'w') // resolves when the program has opened its end
  const goOn = async (settings: string): Promise<void> => {
    await file.writeFile(settings)
    await file.close()
  }
  return { cli, fifo, goOn }
}

const YAML = 'no-admin: true\nport: 0\ntargets: [demo-instance]\n'

test('SIGHUP during start-up reads the settings again when it is over', {
  skip: onWindows,
}, async (t) => {
  const { cli, fifo, goOn } = await startingUp(t, 'LAKEBASE_PROXY_CONFIG')
  cli.kill('SIGHUP')
  await goOn(YAML)
  await portOf(cli)
  await writeFile(fifo, YAML)
  await cli.saw(/settings read again/)
  cli.kill('SIGTERM')
  assert.equal((await cli.done).code, 0)
})

test('SIGHUP during start-up without a config file ends the proxy in order: exit code 0', {
  skip: onWindows,
}, async (t) => {
  const { cli, goOn } = await startingUp(t, 'LAKEBASE_PROXY_ENV_FILE')
  cli.kill('SIGHUP')
  await goOn('LAKEBASE_PROXY_TARGETS=demo-instance\nLAKEBASE_PROXY_PORT=0\n')
  const { code, stderr } = await cli.done
  assert.equal(code, 0, stderr)
  assert.match(stderr, /SIGHUP: draining/)
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} during start-up ends it before it listens: exit code 0`, {
    skip: onWindows,
  }, async (t) => {
    const { cli, goOn } = await startingUp(t, 'LAKEBASE_PROXY_CONFIG')
    cli.kill(signal)
    await goOn(YAML)
    const { code, stderr } = await cli.done
    assert.deepEqual([code, stderr], [0, ''])
  })
}

test('a signal before anybody came, and a client in its handshake, hold nothing up', {
  skip: onWindows,
}, async (t) => {
  const cli = start(t, 'demo-instance', '--no-admin')
  const silent = await connect(await portOf(cli))
  cli.kill('SIGTERM')
  assert.equal((await cli.done).code, 0)
  assert.equal((await readAll(silent)).length, 0)
})
