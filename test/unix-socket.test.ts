/** `unix-socket`: who can use it, what becomes of old files, and what stands in its way. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, lstat, mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import type { ProxyError } from '../src/core/errors.js'
import { emulatorForTests, needsPsql } from './support/emulator.js'
import { freePort } from './support/http.js'
import { connectedClient, proxyBefore, psql, temporaryFolder } from './support/proxy.js'

const emulator = await emulatorForTests()
const onWindows = process.platform === 'win32' && 'there are no Unix sockets on Windows'

test('psql is in by the folder, as by an address', { skip: needsPsql }, async (t) => {
  const folder = join(await temporaryFolder(t), 'run')
  const { port, daemon, log } = await proxyBefore(t, emulator, { unixSocket: folder })
  const { stdout, stderr } = await psql(`host=${folder} port=${port}`, 'select current_user')
  assert.equal(stdout, 'ada@example.com\n', stderr)
  assert.ok(daemon.targets[0]!.listener.addresses.includes(join(folder, `.s.PGSQL.${port}`)))
  const { facts } = await log.seen(({ message }) => message === 'session ended')
  assert.equal(facts.client, 'unix socket')
})

test('psql is in with the local password there too', { skip: needsPsql }, async (t) => {
  const folder = join(await temporaryFolder(t), 'run')
  const { port } = await proxyBefore(t, emulator, {
    ...{ unixSocket: folder, localAuth: 'password', localPassword: 'secret' },
  })
  const conninfo = `host=${folder} port=${port}`
  assert.equal((await psql(conninfo, 'select 1', { PGPASSWORD: 'secret' })).code, 0)
  assert.equal((await psql(conninfo, 'select 1', { PGPASSWORD: 'wrong' })).code, 2)
})

test('the folder is made for its owner alone, the socket too, and the socket goes with the proxy', {
  skip: onWindows,
}, async (t) => {
  const folder = join(await temporaryFolder(t), 'not', 'yet', 'there')
  const { port, daemon } = await proxyBefore(t, emulator, { unixSocket: folder })
  const path = join(folder, `.s.PGSQL.${port}`)
  assert.equal((await stat(folder)).mode & 0o777, 0o700)
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  await daemon.close()
  await assert.rejects(lstat(path), { code: 'ENOENT' })
})

test('a folder that others can look into is refused, with what to type', {
  skip: onWindows,
}, async (t) => {
  const folder = await temporaryFolder(t)
  for (const mode of [0o755, 0o710, 0o701]) {
    await chmod(folder, mode)
    await refused(t, folder, /is open to other users/, /chmod 700/)
  }
  await chmod(folder, 0o700)
  await proxyBefore(t, emulator, { unixSocket: folder })
})

test('a file that a dead process left behind is replaced', { skip: onWindows }, async (t) => {
  const folder = await temporaryFolder(t)
  const port = await freePort()
  const path = join(folder, `.s.PGSQL.${port}`)
  await leaveSocketBehind(path)
  assert.ok((await lstat(path)).isSocket())
  await proxyBefore(t, emulator, { unixSocket: folder, port })
  await connectedClient(t, port, { host: folder })
})

test('a socket that is in use is left alone, and the error says so', {
  skip: onWindows,
}, async (t) => {
  const folder = await temporaryFolder(t)
  const port = await freePort()
  const path = join(folder, `.s.PGSQL.${port}`)
  const other = net
    .createServer((socket) => {
      socket.on('error', () => {}) // who only knocks
      socket.end('still here')
    })
    .listen(path)
  await once(other, 'listening')
  t.after(() => other.close())
  await refused(t, folder, /is in use/, /--unix-socket/, port)
  const [bytes] = await once(net.connect(path), 'data')
  assert.equal(String(bytes), 'still here')
  await assert.rejects(connectedClient(t, port), { code: 'ECONNREFUSED' }, 'nor is the port kept')
})

test('a file that is not a socket is left alone', { skip: onWindows }, async (t) => {
  const folder = await temporaryFolder(t)
  const port = await freePort()
  const path = join(folder, `.s.PGSQL.${port}`)
  await writeFile(path, 'precious')
  await refused(t, folder, /stands where the Unix socket is to be/, /Remove it/, port)
  assert.equal(await readFile(path, 'utf8'), 'precious')
})

test('another user’s folder, and another user’s file, are refused', {
  skip: notRoot(),
}, async (t) => {
  const UNPRIVILEGED = 65_534
  const folder = await temporaryFolder(t)
  const port = await freePort()
  const path = join(folder, `.s.PGSQL.${port}`)
  await leaveSocketBehind(path)
  await chown(path, UNPRIVILEGED, UNPRIVILEGED)
  await refused(t, folder, /stands where the Unix socket is to be/, /Remove it/, port)
  assert.ok((await lstat(path)).isSocket())
  await chown(folder, UNPRIVILEGED, UNPRIVILEGED)
  await refused(t, folder, /belongs to another user/, /--unix-socket/)
})

test('a link, a file in the place of the folder, and a path that is too long are refused', {
  skip: onWindows,
}, async (t) => {
  const folder = await temporaryFolder(t)
  await symlink(folder, join(folder, 'link'))
  await refused(t, join(folder, 'link'), /is not a folder/, /--unix-socket/)
  await writeFile(join(folder, 'file'), '')
  await refused(t, join(folder, 'file'), /could not make the folder/, /--unix-socket/)
  const long = join(folder, 'd'.repeat(120))
  await assert.rejects(proxyBefore(t, emulator, { unixSocket: long }), /longer than the 103 bytes/)
})

test('two targets share a folder', { skip: onWindows }, async (t) => {
  const folder = join(await temporaryFolder(t), 'run')
  const { daemon } = await proxyBefore(t, emulator, {
    targets: ['demo-instance', 'second-instance'],
    unixSocket: folder,
  })
  for (const { listener } of daemon.targets) {
    const client = await connectedClient(t, listener.port, { host: folder })
    assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
  }
})

test('many proxies may race for a folder that is not there yet', { skip: onWindows }, async (t) => {
  const folder = join(await temporaryFolder(t), 'run')
  await mkdir(join(folder, '..'), { recursive: true })
  const proxies = await Promise.all(
    Array.from({ length: 4 }, () => proxyBefore(t, emulator, { unixSocket: folder })),
  )
  for (const { port } of proxies) await connectedClient(t, port, { host: folder })
})

async function refused(
  t: TestContext,
  unixSocket: string,
  message: RegExp,
  hint: RegExp,
  port = 0,
): Promise<void> {
  await assert.rejects(proxyBefore(t, emulator, { unixSocket, port }), (error: ProxyError) => {
    assert.equal(error.kind, 'config')
    assert.match(error.message, message)
    assert.match(error.hint ?? '', hint)
    return true
  })
}

/** By a process that dies without a word, as by SIGKILL. */
async function leaveSocketBehind(path: string): Promise<void> {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  await once(spawn(process.execPath, ['-e', script]), 'exit')
}

function notRoot(): false | string {
  return process.getuid?.() !== 0 && 'only root can give files away'
}
