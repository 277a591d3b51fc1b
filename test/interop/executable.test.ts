/** The single executable, built here and run in an empty folder with no Node.js on PATH. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setImmediate as settle } from 'node:timers/promises'

import { emulatorForTests } from '../support/emulator.js'
import { ask as askHttp } from '../support/http.js'
import { ask } from '../support/started-proxy.js'
import { runTool, scratchFolder } from './installed.js'

const emulator = await emulatorForTests()
await runTool(process.execPath, ['executable/build.mjs'], { cwd: process.cwd() })
const folder = scratchFolder()
const name = process.platform === 'win32' ? 'lakebase-proxy.exe' : 'lakebase-proxy'
const program = join(folder, name)
copyFileSync(join('build/executable', name), program)
const env = { ...emulator.env, PATH: '/nonexistent' }
const run = (...args: string[]) => runTool(program, args, { env, cwd: folder })

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }

test('--version and --help', async (t) => {
  assert.equal(await run('--version'), `${version}\n`)
  assert.match(await run('start', '--help'), /--drain-timeout/)
  t.diagnostic(`${Math.round(statSync(program).size / 1e6)} MB`)
})

test('doctor asks a database', async () => {
  assert.match(await run('doctor', 'demo-instance', '--port', '0'), /PostgreSQL \d+/)
})

test('a command under exec finds the proxy', async () => {
  const print = "console.log(process.env.LAKEBASE_PG_URL.replace(/\\d+/, 'PORT'))"
  const printed = await run('exec', 'demo-instance', '--', process.execPath, '-e', print)
  assert.equal(printed, 'postgresql://any@localhost:PORT/databricks_postgres?sslmode=disable\n')
})

test('the emulator, whose PostgreSQL is not in the executable, says so', async () => {
  await assert.rejects(run('demo'), /the emulator needs PostgreSQL, which is not installed/)
})

test('a login, pretty logs, a YAML file, local TLS, the status page and its files, and a drain', async (t) => {
  const settings = 'local-tls: auto\nlog-format: pretty\n'
  writeFileSync(join(folder, 'proxy.yaml'), settings)
  const args = ['demo-instance', '--config', 'proxy.yaml', '--port', '0', '--admin-port', '0']
  const begun = performance.now()
  const child = spawn(program, args, {
    env: { ...env, HOME: folder },
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  after(() => child.kill('SIGKILL'))
  let text = ''
  child.stderr.on('data', (bytes) => {
    text += String(bytes)
  })
  const said = async (pattern: RegExp): Promise<string> => {
    for (;;) {
      const match = pattern.exec(text)
      if (match !== null) return match[1]!
      assert.equal(child.exitCode, null, text)
      await settle()
    }
  }
  const port = Number(await said(/listening[^\n]*127\.0\.0\.1:(\d+)/))
  t.diagnostic(`${Math.round(performance.now() - begun)} ms from start to listening`)
  const ssl = { rejectUnauthorized: false }
  const { rows } = await ask(port, 'select current_user as name', { ssl })
  assert.equal(rows[0].name, 'ada@example.com')
  const page = await said(/status page[^\n]*(http:\/\/127\.0\.0\.1:\d+)/)
  const files = readdirSync('src/observe/page').filter((file) => file !== 'tsconfig.json')
  for (const file of files) {
    const path = file === 'index.html' ? '/' : `/${file}`
    const { status, body } = await askHttp(page + path)
    assert.equal(status, 200, path)
    assert.equal(body, readFileSync(join('src/observe/page', file), 'utf8'), path)
  }
  for (const path of ['/uplot.js', '/uplot.css', '/metrics', '/status']) {
    assert.equal((await askHttp(page + path)).status, 200, path)
  }
  child.kill('SIGTERM')
  const [code] = await once(child, 'exit')
  assert.equal(code, 0)
})
