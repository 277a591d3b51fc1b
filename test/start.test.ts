/** `start` as a process: where it listens, what it logs, how it stops and takes new settings. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'

import type pg from 'pg'

import { MAIN, type RunningCli, startCli, type Where } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { freePort } from './support/http.js'
import { connectedClient, psql, temporaryFolder } from './support/proxy.js'
import { connect, readAll } from './support/sockets.js'

const emulator = await emulatorForTests()
const QUIET_PORTS = ['--port', '0', '--admin-port', '0']

interface Started {
  readonly proxy: RunningCli
  readonly port: number
}

async function started(
  t: TestContext,
  args: readonly string[],
  { cwd, env = {} }: Where = {},
): Promise<Started> {
  const where = { env: { ...emulator.env, ...env }, ...(cwd === undefined ? {} : { cwd }) }
  const proxy = startCli(t, [...args, ...QUIET_PORTS], where)
  const [, port] = await proxy.saw(/"127\.0\.0\.1:(\d+)"[^\n]*"listening"/)
  return { proxy, port: Number(port) }
}

test('it listens, serves, drains on SIGTERM and ends with 0; stdout stays empty', async (t) => {
  const { proxy, port } = await started(t, ['demo-instance'])
  const { stdout } = await psql(`host=localhost port=${port}`, 'select current_user')
  assert.equal(stdout, 'ada@example.com\n')
  proxy.kill('SIGTERM')
  const output = await proxy.done
  assert.deepEqual([output.code, output.stdout], [0, ''])
  for (const line of output.stderr.trim().split('\n')) {
    assert.equal(typeof (JSON.parse(line) as { msg: unknown }).msg, 'string')
  }
})

test('the JSON log has levels as words and ISO times, and warns of unsafe-listen', async (t) => {
  const args = ['demo-instance', '--address', '0.0.0.0', '--unsafe-listen', ...QUIET_PORTS]
  const proxy = startCli(t, args, { env: emulator.env })
  await proxy.saw(/"level":"warn"[^\n]*unsafe-listen is on: clients beyond this machine/)
  const [ready] = await proxy.saw(/\{[^\n]*"msg":"ready"[^\n]*\}/)
  const { level, time, identity, workspace } = JSON.parse(ready!)
  assert.equal(level, 'info')
  assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  assert.equal(identity, 'ada@example.com')
  assert.match(workspace, /^http:\/\/127\.0\.0\.1:/)
  await proxy.saw(/"version":"\d+\.\d+\.\d+"/)
})

test('the log says which free port the status page got', async (t) => {
  const { proxy } = await started(t, ['demo-instance'])
  const [, port] = await proxy.saw(/"http:\/\/127\.0\.0\.1:(\d+)"[^\n]*"status page"/)
  const status = await startCli(t, ['status', '--admin-port', String(port)]).done
  assert.match(status.stdout, /^lakebase-proxy .*\n.*\n\ndemo-instance: /)
})

/** Says which libraries were loaded when the first socket was about to listen. */
const PROBE = `
const { Server } = require('node:net')
const { listen } = Server.prototype
Server.prototype.listen = function (...args) {
  Server.prototype.listen = listen
  const found = Object.keys(require.cache).map((file) => /node_modules.((@[^/]+.)?[^/]+)/.exec(file))
  const names = new Set(found.filter(Boolean).map(([, name]) => name))
  process.stderr.write('loaded: ' + [...names].sort().join(' ') + '\\n')
  return listen.apply(this, args)
}`

test('it listens before it loads what only the workspace, a line of the log or the admin port needs', async (t) => {
  const probe = join(await temporaryFolder(t), 'probe.cjs')
  writeFileSync(probe, PROBE)
  const env = { NODE_OPTIONS: `--require=${probe}` }
  const proxy = startCli(t, ['postgresql://ada:pass@db.example/shop', ...QUIET_PORTS], { env })
  const [, names] = await proxy.saw(/loaded: (.*)\n/)
  assert.equal(names, 'clone commander node-cache pg-protocol')
})

test('a session that is cut short by the drain time-out makes the exit code 1', async (t) => {
  const { proxy, port } = await started(t, ['demo-instance', '--drain-timeout', '200ms'])
  const client = await connectedClient(t, port)
  await client.query('begin')
  proxy.kill('SIGTERM')
  assert.equal((await proxy.done).code, 1)
})

test('a second Ctrl-C does not wait for sessions, and the exit code is 130', async (t) => {
  const { proxy, port } = await started(t, ['demo-instance', '--drain-timeout', '1h'])
  const client = await connectedClient(t, port)
  await client.query('begin')
  proxy.kill('SIGINT')
  await proxy.saw(/SIGINT: draining/)
  proxy.kill('SIGINT')
  assert.equal((await proxy.done).code, 130)
})

test('SIGHUP without a settings file is a closed terminal, and drains', async (t) => {
  const { proxy } = await started(t, ['demo-instance'])
  proxy.kill('SIGHUP')
  assert.equal((await proxy.done).code, 0)
})

test('SIGHUP with a settings file reads it again, and a broken one leaves the old settings', async (t) => {
  const cwd = await temporaryFolder(t)
  const write = (yaml: string): void => writeFileSync(join(cwd, 'c.yaml'), yaml)
  write('targets:\n  - demo-instance\n')
  const { proxy, port } = await started(t, ['--config', 'c.yaml'], { cwd })
  const client = await connectedClient(t, port)

  write('targets:\n  - demo-instance?prot=1\n')
  proxy.kill('SIGHUP')
  await proxy.saw(/old ones stay: c\.yaml:2: TARGET \\"demo-instance\\" has an unknown option/)
  write('targets:\n  - demo-instance\n  - projects/demo\n')
  proxy.kill('SIGHUP')
  await proxy.saw(/settings read again/)

  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
  await client.end()
  proxy.kill('SIGTERM')
  const { code, stderr } = await proxy.done
  assert.equal(code, 0)
  assert.match(stderr, /"hint":"Did you mean \\"port\\"\?"[^\n]*old ones stay/)
  assert.doesNotMatch(stderr, /"stack"/, 'a mistake of the user is not a crash')
})

test('a log that cannot be written, as on a full disk, costs the log and nothing else', {
  skip: !existsSync('/dev/full') && 'there is no /dev/full here',
}, async (t) => {
  const port = await freePort()
  const full = openSync('/dev/full', 'w')
  t.after(() => closeSync(full))
  const args = ['demo-instance', '--port', String(port), '--no-admin', '--log-format', 'json']
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { PATH: process.env.PATH, HOME: '/nonexistent', ...emulator.env },
    stdio: ['ignore', 'ignore', full],
  })
  t.after(() => child.kill('SIGKILL'))
  const exit = once(child, 'exit')
  const connected = (): Promise<pg.Client> =>
    connectedClient(t, port).catch((error) => {
      assert.equal(child.exitCode, null, String(error))
      return connected()
    })
  for (let i = 0; i < 3; i++) {
    const client = await connected()
    assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
    await client.end()
  }
  child.kill('SIGTERM')
  assert.deepEqual(await exit, [0, null])
})

test('a log that is not read holds no client up, and is whole once it is read', async (t) => {
  const port = await freePort()
  const args = ['demo-instance', '--port', String(port), '--no-admin', '--log-format', 'json']
  const child = spawn(process.execPath, [MAIN, ...args, '--log-level', 'debug'], {
    env: { PATH: process.env.PATH, HOME: '/nonexistent', ...emulator.env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  t.after(() => child.kill('SIGKILL'))
  const listening = async (): Promise<Socket> => connect(port).catch(listening)
  ;(await listening()).destroy()
  const noise = 2_000 // of some 200 bytes each: more than the kernel keeps for a reader
  for (let count = 0; count < noise; count += 100) {
    const some = await Promise.all(Array.from({ length: 100 }, () => connect(port)))
    await Promise.all(some.map((socket) => readAll(socket.end('GET / HTTP/1.1'))))
  }
  const client = await connectedClient(t, port)
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
  let heard = 0
  for await (const line of createInterface(child.stderr)) {
    if (JSON.parse(line).reason === 'client spoke HTTP') heard++
    if (heard === noise) child.kill('SIGTERM')
  }
  assert.equal(heard, noise)
})

test('a port that is taken is wrong settings, and says so in one message', async (t) => {
  const holder = createServer()
  await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve))
  t.after(() => holder.close())
  const { port } = holder.address() as { port: number }
  const args = ['demo-instance', '--port', String(port), '--no-admin']
  const { code, stdout, stderr } = await startCli(t, args, { env: { ...emulator.env } }).done
  assert.deepEqual([code, stdout], [2, ''])
  assert.match(stderr, new RegExp(`^lakebase-proxy: port ${port} .*\n`))
})

test('no token and no password is in the log, at its most talkative', async (t) => {
  const { proxy, port } = await started(t, ['demo-instance', '--log-level', 'trace'])
  await psql(`host=localhost port=${port}`, 'select 1')
  proxy.kill('SIGTERM')
  const { stderr } = await proxy.done
  assert.doesNotMatch(stderr, /eyJ|dapi/)
  assert.ok(!stderr.includes(emulator.env.DATABRICKS_TOKEN!))
})

test('an uncaught error is logged as what it is, and ends the process with 1', async (t) => {
  const bug = join(await temporaryFolder(t), 'bug.mjs')
  writeFileSync(bug, "process.on('SIGUSR2', () => { throw new Error('boom') })")
  const env = { NODE_OPTIONS: `--import ${bug}` }
  const { proxy } = await started(t, ['demo-instance'], { env })
  proxy.child.kill('SIGUSR2')
  const { code, stderr } = await proxy.done
  assert.equal(code, 1)
  const last = JSON.parse(stderr.trim().split('\n').at(-1)!) as Record<string, unknown>
  assert.equal(last.msg, 'internal error, which is a bug')
  assert.match(JSON.stringify(last.err), /boom/)
})
