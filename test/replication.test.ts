/** Replication: PostgreSQL's own tools through the proxy, which relays their start-up as it came. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'

import { emulatorForTests, needsPsql } from './support/emulator.js'
import { FakeClock } from './support/fake-clock.js'
import { connectedClient, proxyBefore, psql, run, temporaryFolder } from './support/proxy.js'
import { RawClient } from './support/raw-client.js'

const emulator = await emulatorForTests()
const VERIFY = '/usr/lib/postgresql/15/bin/pg_verifybackup'

const needs = (program: string): false | string => {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' })
    return false
  } catch {
    return `${program} is not installed`
  }
}

test('psql replication=1 identifies the system', { skip: needsPsql }, async (t) => {
  const { port } = await proxyBefore(t, emulator)
  for (const replication of ['1', 'true', 'database']) {
    const conninfo = `host=127.0.0.1 port=${port} replication=${replication} dbname=databricks_postgres`
    const { stdout, stderr } = await psql(conninfo, 'IDENTIFY_SYSTEM')
    const dbname = replication === 'database' ? 'databricks_postgres' : ''
    assert.match(stdout, new RegExp(`^\\d+\\|1\\|[0-9A-F]+/[0-9A-F]+\\|${dbname}\n$`), stderr)
    assert.equal(emulator.control.logins.at(-1)!.parameters.get('replication'), replication)
  }
})

test('pg_basebackup takes a backup that is whole, with the WAL streamed beside it', {
  skip: needs('pg_basebackup'),
}, async (t) => {
  const { port } = await proxyBefore(t, emulator)
  const folder = join(await temporaryFolder(t), 'backup')
  const { code, stderr } = await run('pg_basebackup', [
    ...['-h', '127.0.0.1', '-p', String(port), '-U', 'anybody', '-D', folder],
    ...['--checkpoint=fast', '--wal-method=stream', '--no-sync', '--manifest-checksums=SHA256'],
  ])
  assert.equal(code, 0, stderr)
  assert.ok((await readdir(folder)).includes('backup_manifest'))
  if (needs(VERIFY)) return t.diagnostic(`${VERIFY} is not here: the backup was not verified`)
  const verified = await run(VERIFY, [folder])
  assert.match(verified.stdout, /backup successfully verified/, verified.stderr)
})

test('pg_receivewal streams up to where it was told to', {
  skip: needs('pg_receivewal'),
}, async (t) => {
  const { port } = await proxyBefore(t, emulator)
  const folder = await temporaryFolder(t)
  const connection = ['-h', '127.0.0.1', '-p', String(port), '-U', 'anybody', '-S', 'slot_test']
  const made = await run('pg_receivewal', [...connection, '--create-slot'])
  assert.equal(made.code, 0, made.stderr)
  t.after(() => emulator.control.query("select pg_drop_replication_slot('slot_test')"))

  const client = await connectedClient(t, port)
  await client.query(
    'create table streamed as select g, md5(g::text) from generate_series(1, 1e5) g',
  )
  const [lsn] = (await emulator.control.query('select pg_current_wal_lsn()')).flat()
  const options = ['-D', folder, `--endpos=${lsn}`, '--no-loop']
  const { code, stderr } = await run('pg_receivewal', [...connection, ...options])
  assert.equal(code, 0, stderr)
  assert.ok((await readdir(folder)).some((name) => /^[0-9A-F]{24}/.test(name)))
})

test('a stream that is silent is not taken for an idle session', async (t) => {
  const clock = new FakeClock()
  const { daemon, port } = await proxyBefore(t, emulator, { clock, drainTimeout: '20s' })
  const client = await RawClient.connect(t, port)
  await client.logIn({ user: 'anybody', replication: 'true' })
  client.query('IDENTIFY_SYSTEM')
  const lsn = /[0-9A-F]+\/[0-9A-F]+/.exec((await client.untilReady()).toString('latin1'))![0]
  client.query(`START_REPLICATION PHYSICAL ${lsn}`)
  assert.equal((await client.next()).type, 'W')
  const drained = daemon.drain()
  await clock.advance(19_999)
  assert.equal([...daemon.targets[0]!.listener.sessions].length, 1)
  await clock.advance(1)
  assert.equal(await drained, false)
})
