/** `exec`: one program with a proxy of its own, and nothing left of either afterwards. */

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'

import { startCli, type Where } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { type Ran, temporaryFolder } from './support/proxy.js'

const emulator = await emulatorForTests()
const env = { ...emulator.env }

/** A port without a listener refuses at once. */
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

test('for a database that does not exist the program is not started', async (t) => {
  const args = ['exec', 'dmo-instance', '--', 'sh', '-c', 'echo started']
  const { code, stdout, stderr } = await startCli(t, args, { env }).done
  assert.deepEqual([code, stdout], [1, ''])
  assert.match(
    stderr,
    /^lakebase-proxy: database instance "dmo-instance" does not exist in \S+\nHint: Did you mean demo-instance\?\n$/,
  )
})

test('why the program is refused is told once, by the program', async (t) => {
  const args = ['exec', 'stopped-instance', '--', 'psql', '-Xc', 'select 1']
  const { code, stderr } = await startCli(t, args, { env }).done
  assert.equal(code, 2)
  assert.match(stderr, /^psql: error: .*stopped-instance" is stopped\n/)
})

test("the exit code is the program's", async (t) => {
  const codeOf = async (...words: string[]): Promise<number> =>
    (await startCli(t, ['exec', 'demo-instance', '--', ...words], { env }).done).code
  assert.equal(await codeOf('sh', '-c', 'exit 7'), 7)
  assert.equal(await codeOf('psql', '-Xc', 'select no_such_column'), 1)
  assert.equal(await codeOf('sh', '-c', 'kill -KILL $$'), 137)
})

test('a program that is missing or cannot be run is one clear message, and the exit code of a shell', async (t) => {
  const file = join(await temporaryFolder(t), 'not-executable')
  writeFileSync(file, '#!/bin/sh\n', { mode: 0o600 })
  for (const [program, code, reason] of [
    ['no-such-program', 127, 'no such program'],
    [file, 126, 'permission denied'],
  ] as const) {
    const ran = await startCli(t, ['exec', 'demo-instance', '--', program], { env }).done
    assert.equal(ran.code, code)
    assert.equal(ran.stderr, `lakebase-proxy: cannot run ${program}: ${reason}\n`)
  }
})

test('signals are passed on, and the proxy waits for the program to end', async (t) => {
  const script = "trap 'echo caught; exit 5' TERM; echo ready >&2; while :; do sleep 0.1; done"
  const running = startCli(t, ['exec', 'demo-instance', '--', 'sh', '-c', script], { env })
  await running.saw(/ready/)
  running.kill('SIGTERM')
  const { code, stdout } = await running.done
  assert.deepEqual([code, stdout], [5, 'caught\n'])
})

// https://www.postgresql.org/docs/18/libpq-envars.html, all of it, and two that older ones read.
const LIBPQ_VARIABLES = `
  PGHOST PGSSLNEGOTIATION PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGREQUIREAUTH
  PGCHANNELBINDING PGSERVICE PGSERVICEFILE PGOPTIONS PGAPPNAME PGSSLMODE PGREQUIRESSL
  PGSSLCOMPRESSION PGSSLCERT PGSSLKEY PGSSLCERTMODE PGSSLROOTCERT PGSSLCRL PGSSLCRLDIR PGSSLSNI
  PGREQUIREPEER PGSSLMINPROTOCOLVERSION PGSSLMAXPROTOCOLVERSION PGGSSENCMODE PGKRBSRVNAME PGGSSLIB
  PGGSSDELEGATION PGCONNECT_TIMEOUT PGCLIENTENCODING PGTARGETSESSIONATTRS PGLOADBALANCEHOSTS
  PGMINPROTOCOLVERSION PGMAXPROTOCOLVERSION PGDATESTYLE PGTZ PGGEQO PGSYSCONFDIR PGLOCALEDIR PGREALM`
  .trim()
  .split(/\s+/)
const OURS = ['PGHOST', 'PGPORT', 'PGUSER', 'PGDATABASE', 'PGSSLMODE']
// They say how a session begins or how long to wait, and not where, how or as whom to connect.
const PASSED_ON = [
  ...['PGOPTIONS', 'PGAPPNAME', 'PGCONNECT_TIMEOUT', 'PGCLIENTENCODING'],
  ...['PGDATESTYLE', 'PGTZ', 'PGGEQO', 'PGSYSCONFDIR', 'PGLOCALEDIR'],
]

test('of libpq’s variables the program gets ours and those that cannot contradict them', async (t) => {
  const set = Object.fromEntries(LIBPQ_VARIABLES.map((name) => [name, 'theirs']))
  const args = ['exec', 'demo-instance', '--', 'env']
  const { code, stdout } = await startCli(t, args, { env: { ...env, ...set } }).done
  assert.equal(code, 0)
  const got = stdout.split('\n').filter((line) => line.startsWith('PG'))
  const theirs = got.filter((line) => line.endsWith('=theirs')).map((line) => line.split('=')[0])
  assert.deepEqual(theirs.sort(), PASSED_ON.sort())
  const names = got.map((line) => line.split('=')[0]!)
  assert.deepEqual(names.sort(), [...PASSED_ON, ...OURS].sort())
})

test('psql connects although every variable that leads elsewhere is set', async (t) => {
  const set = Object.fromEntries(
    LIBPQ_VARIABLES.filter((name) => !PASSED_ON.includes(name)).map((name) => [name, 'elsewhere']),
  )
  const args = ['exec', 'demo-instance', '--', 'psql', '-XAtwc', 'select 1']
  const { code, stdout, stderr } = await startCli(t, args, { env: { ...env, ...set } }).done
  assert.deepEqual([code, stdout, stderr], [0, '1\n', ''])
})

test('with local-auth=password the program gets a password of this run, and no secret of ours', async (t) => {
  const where: Where = {
    env: {
      ...env,
      LAKEBASE_PROXY_LOCAL_AUTH: 'password',
      LAKEBASE_PROXY_LOCAL_PASSWORD: 'hunter2',
      LAKEBASE_PROXY_TARGETS: 'postgresql://ada:hunter2@db.example/shop',
      LAKEBASE_PG_URL: 'postgresql://ada:hunter2@db.example/shop',
    },
  }
  const script = "env >&2; psql -XAtwc 'select 1'; PGPASSWORD=hunter2 psql -XAtwc 'select 2'"
  const args = ['exec', 'demo-instance', '--', 'sh', '-c', script]
  const { stdout, stderr } = await startCli(t, args, where).done
  assert.equal(stdout, '1\n', 'the local password itself is not good here')
  assert.doesNotMatch(stderr, /hunter2|LOCAL_PASSWORD=/)
  assert.match(stderr, /^PGPASSWORD=[\w-]{32}$/m)
})

test('it opens a port of its own, no matter which port and admin port the settings name', async (t) => {
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
