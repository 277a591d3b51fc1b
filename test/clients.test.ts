/** Other people's clients, unaware: psql and its family, pg, postgres.js, JDBC. */

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'

import postgres from 'postgres'

import { emulatorForTests, needsPsql } from './support/emulator.js'
import { ask, pgClient, proxyForTests, run } from './support/started-proxy.js'

const emulator = await emulatorForTests()
const { port, proxy } = await proxyForTests(emulator, {
  targets: ['demo-instance', 'projects/demo/branches/production/endpoints/primary'],
})
const folder = await mkdtemp(join(tmpdir(), 'lakebase-proxy-clients-'))
after(() => rm(folder, { recursive: true }))

const psql = (...args: string[]) => run(port, 'psql', ['-X', '-At', ...args])
const has = (command: string): boolean => {
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
const needs = (command: string) => (has(command) ? false : `${command} is not installed`)

test('psql with nothing but a host and a port is in, as the identity, in the default database', {
  skip: needsPsql,
}, async () => {
  const { stdout, code, stderr } = await psql('-c', 'select current_user, current_database()')
  assert.deepEqual([stdout, stderr, code], ['ada@example.com|databricks_postgres\n', '', 0])
})

for (const setting of [
  { PGSSLMODE: 'prefer' },
  { PGGSSENCMODE: 'prefer' },
  { PGSSLMODE: 'disable' },
  { PGUSER: 'anyone', PGPASSWORD: 'anything' },
]) {
  test(`psql with ${Object.entries(setting).map((each) => each.join('='))} is in`, {
    skip: needsPsql,
  }, async () => {
    const { stdout } = await run(
      port,
      'psql',
      ['-XAtc', 'select 1'],
      setting as unknown as Record<string, string>,
    )
    assert.equal(stdout, '1\n')
  })
}

test('psql reconnects with \\c, to this database and to another', { skip: needsPsql }, async () => {
  const { stdout } = await psql(
    '-c',
    '\\c',
    '-c',
    '\\c postgres',
    '-c',
    'select current_database()',
  )
  assert.match(stdout, /postgres\n$/)
})

test('a million rows go in and out by \\copy, to the last byte', { skip: needsPsql }, async () => {
  const out = join(folder, 'out.csv')
  const back = join(folder, 'back.csv')
  const made = await psql(
    ...[
      '-c',
      'create table million as select g as id, md5(g::text) as x from generate_series(1, 1000000) g',
    ],
    ...['-c', `\\copy million to ${out}`],
    ...['-c', 'create table again (like million)'],
    ...['-c', `\\copy again from ${out}`],
    ...['-c', `\\copy (select * from again order by id) to ${back}`],
    ...['-c', 'drop table million, again'],
  )
  assert.equal(made.stderr, '')
  const [first, second] = await Promise.all([out, back].map((path) => readFile(path)))
  assert.equal(first!.length, 39_888_896)
  assert.equal(sha256(first!), sha256(second!))
})

test('Ctrl-C in psql cancels the query, and leaves nothing running', {
  skip: needsPsql,
}, async () => {
  const child = spawn('psql', ['-X', '-c', "select pg_sleep(60), 'ctrl-c'"], {
    env: { PATH: process.env.PATH, PGHOST: 'localhost', PGPORT: `${port}` },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let stderr = ''
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  await untilRunning('ctrl-c')
  child.kill('SIGINT')
  const [code] = await once(child, 'close')
  assert.equal(code, 1)
  assert.match(stderr, /canceling statement due to user request/)
})

test('pg: queries, parameters, errors that do not end the session, LISTEN and NOTIFY', async () => {
  const client = pgClient(port)
  await client.connect()
  const { rows } = await client.query('select $1::int + 1 as sum', [41])
  assert.equal(rows[0].sum, 42)
  await assert.rejects(client.query('select 1/0'), { code: '22012' })
  const notified = once(client, 'notification')
  await client.query('listen here')
  await ask(port, "notify here, 'hello'")
  const [{ payload }] = (await notified) as [{ payload: string }]
  assert.equal(payload, 'hello')
  await client.end()
})

test('pg: a cancel request ends the query it is for', async () => {
  const client = pgClient(port)
  await client.connect()
  const sleeping = client.query("select pg_sleep(60), 'pg cancel'")
  await untilRunning('pg cancel')
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number }
  const canceller = pgClient(port) as unknown as { cancel?: unknown; connection: CancelConnection }
  canceller.connection.on('connect', () => canceller.connection.cancel(processID, secretKey))
  canceller.connection.connect(port, '127.0.0.1')
  await assert.rejects(sleeping, { code: '57014' })
  await client.end()
})

interface CancelConnection {
  on(event: 'connect', fn: () => void): void
  connect(port: number, host: string): void
  cancel(processId: number, secretKey: number): void
}

test('postgres.js: a pool, a pipeline, a transaction, and its own cancel', async () => {
  const sql = postgres({ host: '127.0.0.1', port, username: 'anybody', max: 5, onnotice: () => {} })
  const sums = await Promise.all(
    Array.from({ length: 50 }, (_, i) => sql`select ${i}::int + 1 as n`),
  )
  assert.deepEqual(
    sums.map(([row]) => row!.n),
    Array.from({ length: 50 }, (_, i) => i + 1),
  )
  await sql.begin(async (tx) => {
    await tx`create temp table t (x int) on commit drop`
    await tx`insert into t values (1), (2)`
    assert.equal((await tx`select sum(x)::int as s from t`)[0]!.s, 3)
  })
  const sleeping = sql`select pg_sleep(60), 'postgres.js cancel'`
  const outcome = assert.rejects(sleeping.execute(), { code: '57014' })
  await untilRunning('postgres.js cancel')
  sleeping.cancel()
  await outcome
  await sql.end()
})

test('pgbench: sixteen clients', { skip: needs('pgbench') }, async () => {
  const made = await run(port, 'pgbench', ['-i', '-q', 'databricks_postgres'])
  assert.equal(made.code, 0, made.stderr)
  const { stdout, code } = await run(port, 'pgbench', [
    '-S',
    '-c',
    '16',
    '-j',
    '2',
    '-t',
    '100',
    'databricks_postgres',
  ])
  assert.equal(code, 0)
  assert.match(stdout, /number of transactions actually processed: 1600\/1600/)
})

test('pgbench -C: a connection for every transaction', { skip: needs('pgbench') }, async () => {
  const options = ['-n', '-C', '-c', '4', '-j', '2', '-t', '25', '-f', join(folder, 'one.sql')]
  await writeFile(join(folder, 'one.sql'), 'select 1;\n')
  const { stdout, stderr, code } = await run(port, 'pgbench', [...options, 'databricks_postgres'])
  assert.equal(code, 0, stderr)
  assert.match(stdout, /number of transactions actually processed: 100\/100/)
  assert.match(stdout, /number of failed transactions: 0 /)
})

test('pg_dump into psql', { skip: needs('pg_dump') }, async () => {
  await psql(
    '-c',
    'create table dumped as select g, repeat(md5(g::text), 10) as x from generate_series(1, 2000) g',
  )
  const dump = await run(port, 'pg_dump', ['-t', 'dumped', 'databricks_postgres'])
  assert.equal(dump.code, 0, dump.stderr)
  await writeFile(join(folder, 'dump.sql'), dump.stdout)
  await psql('-c', 'alter table dumped rename to original')
  const restored = await psql('-q', '-v', 'ON_ERROR_STOP=1', '-f', join(folder, 'dump.sql'))
  assert.equal(restored.code, 0, restored.stderr)
  const { stdout } = await psql(
    '-c',
    'select count(*) from (table original except table dumped) d',
    '-c',
    'select count(*) from dumped',
  )
  assert.equal(stdout, '0\n2000\n')
})

test('an Autoscaling endpoint is as near as an instance', async () => {
  const { rows } = await ask(proxy.addresses[1]!.port, 'select current_user')
  assert.equal(rows[0].current_user, 'ada@example.com')
})

const JAR = '/usr/share/java/postgresql.jar'
const needsJava = !has('java')
  ? 'java is not installed'
  : existsSync(JAR)
    ? false
    : 'libpostgresql-jdbc-java is not installed'

test('JDBC: queries, a batch, COPY, a cancel', { skip: needsJava }, async () => {
  const program = join(folder, 'Jdbc.java')
  await writeFile(program, JDBC_PROGRAM)
  const url = `jdbc:postgresql://localhost:${port}/databricks_postgres?user=anybody`
  const { stdout, stderr, code } = await run(port, 'java', ['-cp', JAR, program, url])
  assert.equal(code, 0, stderr)
  assert.equal(stdout, 'user ada@example.com\nbatch 1000\ncopied 5000\ncancelled 57014\nafter 1\n')
})

const JDBC_PROGRAM = `
import java.io.StringReader;
import java.sql.*;
import org.postgresql.PGConnection;

public class Jdbc {
  public static void main(String[] args) throws Exception {
    try (Connection c = DriverManager.getConnection(args[0]); Statement s = c.createStatement()) {
      ResultSet r = s.executeQuery("select current_user");
      r.next();
      System.out.println("user " + r.getString(1));
      s.execute("create temp table t (x int, y text)");
      try (PreparedStatement p = c.prepareStatement("insert into t values (?, ?)")) {
        for (int i = 0; i < 1000; i++) { p.setInt(1, i); p.setString(2, "row " + i); p.addBatch(); }
        p.executeBatch();
      }
      r = s.executeQuery("select count(*) from t");
      r.next();
      System.out.println("batch " + r.getInt(1));
      StringBuilder rows = new StringBuilder();
      for (int i = 0; i < 5000; i++) rows.append(i).append("\\tcopied\\n");
      System.out.println("copied " + c.unwrap(PGConnection.class).getCopyAPI().copyIn("copy t from stdin", new StringReader(rows.toString())));
      Thread canceller = new Thread(() -> {
        try (Connection d = DriverManager.getConnection(args[0]); Statement q = d.createStatement()) {
          ResultSet running;
          do {
            running = q.executeQuery("select count(*) from pg_stat_activity where state = 'active' and query like '%jdbc cancel%' and pid <> pg_backend_pid()");
            running.next();
          } while (running.getInt(1) == 0);
          s.cancel();
        } catch (SQLException e) { e.printStackTrace(); }
      });
      canceller.start();
      try { s.execute("select pg_sleep(60), 'jdbc cancel'"); } catch (SQLException e) { System.out.println("cancelled " + e.getSQLState()); }
      canceller.join();
      r = s.executeQuery("select 1");
      r.next();
      System.out.println("after " + r.getInt(1));
    }
  }
}
`

async function untilRunning(mark: string): Promise<void> {
  const sql = `select 1 from pg_stat_activity where state = 'active' and query like '%pg_sleep(60)%${mark}%' and pid <> pg_backend_pid()`
  while ((await emulator.control.query(sql)).length === 0);
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
