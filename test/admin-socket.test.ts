/** `admin-socket`: the admin interface on a Unix socket that only its owner can use. */

import assert from 'node:assert/strict'
import { chmod, lstat, stat, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'

import { settingsFromOptions } from '../src/config/resolve/options.js'
import { cliHere, startCli } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { connectedClient, proxyBefore, temporaryFolder } from './support/proxy.js'

const emulator = await emulatorForTests()
const skip = process.platform === 'win32' && 'there are no Unix sockets on Windows'

test('everything the port has is at the socket, in a folder and a file of its owner alone', {
  skip,
}, async (t) => {
  const folder = join(await temporaryFolder(t), 'not', 'yet')
  const path = join(folder, 'admin.sock')
  const { daemon } = await proxyBefore(t, emulator, { adminSocket: path })
  assert.equal(daemon.adminUrl, path)
  assert.equal((await stat(folder)).mode & 0o777, 0o700)
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  for (const file of ['/', '/startup', '/liveness', '/readiness', '/metrics', '/status']) {
    assert.equal((await askSocket(path, file)).status, 200, file)
  }
  const evil = { headers: { host: 'attacker.example' } }
  assert.equal((await askSocket(path, '/status', evil)).status, 403)
  assert.equal((await askSocket(path, '/shutdown', { method: 'POST' })).status, 200)
  assert.equal(await daemon.done, true)
  await assert.rejects(lstat(path), { code: 'ENOENT' })
})

test('status, wait and shutdown reach it, named by a flag, by a variable, or not at all', {
  skip,
}, async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'admin.sock')
  const env = { ...emulator.env, XDG_RUNTIME_DIR: folder }
  const args = ['demo-instance', '--port', '0', '--admin-socket', path]
  const proxy = startCli(t, args, { env })
  assert.equal((await cliHere(['wait', '--admin-socket', path], { env })).code, 0)
  const byVariable = { ...env, LAKEBASE_PROXY_ADMIN_SOCKET: path }
  const { stdout } = await cliHere(['status'], { env: byVariable })
  assert.match(stdout, new RegExp(`\nstatus page ${path}\n`))
  const found = await cliHere(['status', '--json'], { env })
  assert.equal(JSON.parse(found.stdout).targets[0].name, 'demo-instance')
  assert.equal((await cliHere(['shutdown'], { env })).code, 0)
  assert.equal((await proxy.done).code, 0)
})

test('a folder that others can enter, and a file in its place, are refused with what to type', {
  skip,
}, async (t) => {
  const folder = await temporaryFolder(t)
  const path = join(folder, 'admin.sock')
  await chmod(folder, 0o755)
  await assert.rejects(proxyBefore(t, emulator, { adminSocket: path }), {
    message: /is open to other users$/,
    hint: /chmod 700 .*; or choose another with --admin-socket\.$/,
  })
  await chmod(folder, 0o700)
  await writeFile(path, 'mine')
  await assert.rejects(proxyBefore(t, emulator, { adminSocket: path }), {
    message: /stands where the Unix socket is to be$/,
    hint: /--admin-socket/,
  })
})

test('a socket in use is left to its proxy', { skip }, async (t) => {
  const path = join(await temporaryFolder(t), 'admin.sock')
  const { port } = await proxyBefore(t, emulator, { adminSocket: path })
  await assert.rejects(proxyBefore(t, emulator, { adminSocket: path }), {
    message: /is in use$/,
    hint: /another lakebase-proxy running\? Choose another --admin-socket\.$/,
  })
  assert.equal((await askSocket(path, '/liveness')).status, 200)
  await connectedClient(t, port)
})

test('with a setting of the port beside it, each clash is named', () => {
  const refused = (more: object): string => {
    try {
      settingsFromOptions({ targets: ['a'], adminSocket: '/run/me/admin.sock', ...more }, {})
      return ''
    } catch (error) {
      return (error as Error).message
    }
  }
  assert.equal(refused({}), '')
  assert.match(refused({ adminPort: 9090 }), /admin-socket cannot be combined with admin-port/)
  assert.match(refused({ adminAddress: '0.0.0.0' }), /cannot be combined with admin-address/)
  assert.match(refused({ adminHost: 'ops' }), /cannot be combined with admin-host/)
  assert.match(refused({ noAdmin: true }), /cannot be combined with no-admin/)
  assert.match(refused({ adminSocket: `/${'x'.repeat(103)}` }), /longer than the 103 bytes/)
})

function askSocket(
  socketPath: string,
  path: string,
  question: { method?: string; headers?: Record<string, string> } = {},
): Promise<{ status: number | undefined }> {
  const headers = { host: 'localhost', ...question.headers }
  return new Promise((resolve, reject) => {
    const request = http.request({ socketPath, path, agent: false, ...question, headers })
    request.on('error', reject)
    request.on('response', (response) => {
      response.resume().on('end', () => resolve({ status: response.statusCode }))
    })
    request.end()
  })
}
