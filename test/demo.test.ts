/** `demo` and `emulator`, as run by a user who has just cloned the repository. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { hostname, tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { runDemo } from '../src/commands/proxy/demo.js'
import { runEmulator } from '../src/commands/proxy/emulator.js'
import type { FolderPlace } from '../src/commands/running/running-folder.js'
import { runningProxies } from '../src/commands/running/running-proxies.js'
import { startProxy } from '../src/daemon/start-proxy.js'
import { simpleQuery } from '../src/emulator/simple-query.js'
import { endWhenFailed } from './support/ending.js'
import { temporaryFolder } from './support/proxy.js'

endWhenFailed()

/** Where a command writes, and how a test waits for it to have written. */
class Output {
  text = ''
  #waiting: (() => void)[] = []

  write(text: string): void {
    this.text += text
    for (const look of this.#waiting) look()
  }

  until(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve) => {
      const look = (): void => {
        const match = pattern.exec(this.text)
        if (match !== null) resolve(match)
      }
      this.#waiting.push(look)
      look()
    })
  }
}

const ask = (port: number, sql = 'select current_user', user = 'anyone') =>
  simpleQuery({
    ...{ socket: connect(port, '127.0.0.1'), user, database: 'databricks_postgres' },
    sql,
  })

test('demo --once queries across token expiries, says which token each used, and exits 0', async () => {
  const stdout = new Output()
  const exitCode = await runDemo({ once: true, stdout, signal: new AbortController().signal })
  assert.equal(exitCode, 0, stdout.text)
  const numbers = [...stdout.text.matchAll(/with token (\d+)/g)].map((match) => Number(match[1]))
  assert.deepEqual([...new Set(numbers)], [1, 2, 3, 4])
  assert.doesNotMatch(stdout.text, /eyJ/)
})

test('demo prints the line for psql and the fields for DBeaver, is found, and stays until it is stopped', async (t) => {
  const stdout = new Output()
  const stop = new AbortController()
  const runtime = await temporaryFolder(t)
  const place: FolderPlace = {
    env: { XDG_RUNTIME_DIR: runtime },
    machine: {
      ...{ cwd: '/', homeDir: runtime, hostname: hostname() },
      ...{ platform: process.platform, isTerminal: false },
    },
    uid: userInfo().uid,
  }
  const exitCode = runDemo({ once: false, stdout, signal: stop.signal, place })
  const [, port] = await stdout.until(/psql -h localhost -p (\d+)\n[\s\S]*Ctrl-C/)
  assert.match(stdout.text, /Host {6}localhost/)
  assert.match(stdout.text, new RegExp(`Port {6}${port}`))
  assert.match(stdout.text, /Database {2}databricks_postgres/)
  assert.deepEqual(await ask(Number(port)), [['ada@example.com']])
  const [, atPort, branch] = await stdout.until(
    /own copy of the data[^\n]*\n\n[^\n]*\n {2}psql -h localhost -p (\d+) -U (\S+)/,
  )
  assert.equal(atPort, port)
  const greeting = 'select text from greeting'
  assert.deepEqual(await ask(Number(port), greeting), [['hello from production']])
  assert.deepEqual(await ask(Number(port), greeting, branch), [['hello from the branch']])
  const running = async () =>
    (await runningProxies(place)).flatMap(({ targets }) =>
      targets.map(({ name, address }) => [name, address.port]),
    )
  assert.deepEqual(await running(), [
    ['demo-instance', Number(port)],
    ['projects/demo/branches/feature', Number(port)],
  ])
  stop.abort()
  assert.equal(await exitCode, 0)
  assert.deepEqual(await running(), [])
})

test('emulator prints an environment that a proxy works with', async (t) => {
  const output = await mkdtemp(join(tmpdir(), 'lakebase-test-'))
  t.after(() => rm(output, { recursive: true }))
  const [stdout, stderr, stop] = [new Output(), new Output(), new AbortController()]
  const exitCode = runEmulator({ stdout, stderr, signal: stop.signal, output, tokenTtlMs: 60_000 })
  await stderr.until(/lakebase-proxy demo-instance\n/)
  assert.ok(stderr.text.includes(`lakebase-proxy --env-file ${join(output, '.env')} TARGET\n`))
  const env = Object.fromEntries(
    [...stdout.text.matchAll(/^export (\w+)='(.*)'$/gm)].map((match) => [match[1]!, match[2]!]),
  )
  assert.equal(Object.keys(env).length, stdout.text.trim().split('\n').length)
  const written = await readFile(join(output, '.env'), 'utf8')
  assert.match(written, new RegExp(`^DATABRICKS_HOST=${env.DATABRICKS_HOST}$`, 'm'))
  assert.match(written, new RegExp(`^LAKEBASE_PROXY_SSLROOTCERT=${join(output, 'ca.pem')}$`, 'm'))

  const proxy = await startProxy({ targets: ['projects/demo'], port: 0, env })
  assert.deepEqual(await ask(proxy.addresses[0]!.port), [['ada@example.com']])
  await proxy.close()
  stop.abort()
  assert.equal(await exitCode, 0)
})

test('a folder that cannot be written to is one clear message, before anything starts', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'lakebase-test-'))
  t.after(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'file'), '')
  const table = {
    [join(folder, 'file')]: 'not a directory',
    [join(folder, 'file/x')]: 'not a directory',
    [join(folder, 'none/x')]: 'the folder that it is in does not exist',
  }
  for (const [output, why] of Object.entries(table)) {
    const [stdout, stderr] = [new Output(), new Output()]
    const { signal } = new AbortController()
    await assert.rejects(runEmulator({ stdout, stderr, signal, output }), {
      kind: 'config',
      message: `--output: cannot write to ${output}: ${why}`,
    })
    assert.equal(stdout.text, '')
  }
})

test('a port that is taken is one clear message', async (t) => {
  const holder = createServer().listen(0, '127.0.0.1')
  t.after(() => void holder.close())
  await once(holder, 'listening')
  const { port } = holder.address() as AddressInfo
  const quiet = { stdout: new Output(), stderr: new Output(), signal: new AbortController().signal }
  // The middle one of three.
  await assert.rejects(runEmulator({ ...quiet, port: port - 1 }), {
    kind: 'config',
    message: `port ${port} is in use`,
    hint: /--port/,
  })
})
