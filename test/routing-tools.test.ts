/** One port for many targets, with other people's clients and our own commands. */

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import postgres from 'postgres'

import { banner } from '../src/commands/proxy/banner.js'
import { cli, cliHere, startCli } from './support/cli.js'
import { emulatorForTests, needsPsql } from './support/emulator.js'
import { until } from './support/jumping-clock.js'
import { cancel, connectedClient, proxyBefore, run, temporaryFolder } from './support/proxy.js'

const emulator = await emulatorForTests()
const { control } = emulator
const BRANCH = 'projects/many/branches/dev'
const ON = {
  targets: [{ target: 'demo-instance', name: 'orders' }, 'projects/many/branches/*'],
  route: 'on',
} as const
const branchHost = control.endpoint(`${BRANCH}/endpoints/primary`).host

/** The hosts that were logged in at while `work` ran. */
async function hostsOf(work: () => Promise<void>): Promise<readonly (string | undefined)[]> {
  const before = control.logins.length
  await work()
  return [...new Set(control.logins.slice(before).map(({ host }) => host))]
}

test('postgres.js chooses in its URL and in its options', async (t) => {
  const { port } = await proxyBefore(t, emulator, ON)
  const hosts = await hostsOf(async () => {
    for (const sql of [
      postgres(`postgres://${encodeURIComponent(BRANCH)}@127.0.0.1:${port}/databricks_postgres`),
      postgres({ host: '127.0.0.1', port, user: `alice~${BRANCH}`, database: 'postgres' }),
    ]) {
      await sql`select 1`
      await sql.end()
    }
  })
  assert.deepEqual(hosts, [branchHost])
})

test('libpq takes the choice from its variables, a URI and options', {
  skip: needsPsql,
}, async (t) => {
  const { port } = await proxyBefore(t, emulator, ON)
  const at = { PGHOST: '127.0.0.1', PGPORT: `${port}` }
  const psql = ['-XAtc', 'select 1']
  const hosts = await hostsOf(async () => {
    for (const [args, env] of [
      [psql, { ...at, PGUSER: BRANCH }],
      [psql, { ...at, PGUSER: 'x', PGOPTIONS: `-c lakebase.target=${BRANCH}` }],
      [['-d', `postgresql://${encodeURIComponent(BRANCH)}@127.0.0.1:${port}/`, ...psql], {}],
      [['-d', `postgresql://${BRANCH.replaceAll('/', '%2f')}@127.0.0.1:${port}`, ...psql], {}],
      [['-d', `host=127.0.0.1 port=${port} user='bob~${BRANCH}'`, ...psql], {}],
    ] as const) {
      const { stdout, stderr } = await run('psql', [...args], env)
      assert.deepEqual([stdout, stderr], ['1\n', ''])
    }
  })
  assert.deepEqual(hosts, [branchHost])
})

test('pg_dump and pg_dumpall stay at the target of their user name', {
  skip: needsPsql,
}, async (t) => {
  const { port } = await proxyBefore(t, emulator, ON)
  const at = ['-h', '127.0.0.1', '-p', `${port}`, '-U', BRANCH]
  const hosts = await hostsOf(async () => {
    const dump = await run('pg_dump', [...at, '-s', 'databricks_postgres'])
    assert.match(dump.stdout, /PostgreSQL database dump complete/, dump.stderr)
    // Roles are not for everyone to read; it opens every database that the server names.
    const all = await run('pg_dumpall', [...at, '-s', '--no-role-passwords'])
    for (const name of ['databricks_postgres', 'postgres']) {
      assert.ok(all.stdout.includes(`-- Database "${name}" dump`), all.stderr)
    }
    assert.match(all.stdout, /PostgreSQL database cluster dump/, all.stderr)
  })
  assert.deepEqual(hosts, [branchHost])
})

test('\\c of psql stays at the target for another database, and leaves it for another user name', {
  skip: needsPsql,
}, async (t) => {
  const { port } = await proxyBefore(t, emulator, ON)
  const args = ['-XAtq', '-h', '127.0.0.1', '-p', `${port}`, '-U', BRANCH, '-d', 'template1']
  const told: string[] = []
  const hosts = await hostsOf(async () => {
    const steps = ['\\c postgres', 'select current_database()', '\\c', 'select current_database()']
    const { stdout, stderr } = await run('psql', [
      ...args,
      ...steps.flatMap((step) => ['-c', step]),
    ])
    assert.equal(stderr, '')
    told.push(stdout)
  })
  assert.deepEqual([told, hosts], [['postgres\npostgres\n'], [branchHost]])
  await run('psql', [...args, '-c', '\\c - orders'])
  assert.equal(control.logins.at(-1)!.host, control.instance('demo-instance').readWriteHost)
})

test('Ctrl-C in psql cancels at its branch; a cancel request to another process finds it there', {
  skip: needsPsql,
}, async (t) => {
  const config = join(await temporaryFolder(t), 'lakebase-proxy.yaml')
  writeFileSync(config, 'targets: [demo-instance, projects/many/branches/*]\nroute: on\n')
  const started = async (): Promise<number> => {
    const args = ['start', '--config', config, '--port', '0', '--no-admin']
    const proxy = startCli(t, args, { env: { ...emulator.env } })
    return Number((await proxy.saw(/"addresses":\["127\.0\.0\.1:(\d+)/))[1])
  }
  const [port, otherPort] = [await started(), await started()]
  const sleep = [
    '-XAt',
    '-h',
    '127.0.0.1',
    '-p',
    `${port}`,
    '-U',
    BRANCH,
    '-c',
    'select pg_sleep(60)',
  ]
  const logins = control.logins.length
  const psql = spawn('psql', [...sleep, 'postgres'], { stdio: ['ignore', 'ignore', 'pipe'] })
  let stderr = ''
  psql.stderr.on('data', (bytes) => {
    stderr += String(bytes)
  })
  const ended = once(psql, 'close')
  await until(() => control.logins.length > logins)
  const busy = `select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and state = 'active' and pid <> pg_backend_pid()`
  await until(async () => `${await control.query(busy, 'postgres')}` === '1')
  psql.kill('SIGINT')
  await ended
  assert.match(stderr, /canceling statement due to user request/)
  const client = await connectedClient(t, port, { user: BRANCH, database: 'postgres' })
  await connectedClient(t, otherPort, { user: BRANCH, database: 'postgres' })
  const cancelled = assert.rejects(client.query('select pg_sleep(60)'), { code: '57014' })
  await cancel(otherPort, client)
  await cancelled
})

const JAR = '/usr/share/java/postgresql.jar'
const needsJava = ((): false | string => {
  try {
    execFileSync('java', ['--version'], { stdio: 'ignore' })
    return existsSync(JAR) ? false : 'libpostgresql-jdbc-java is not installed'
  } catch {
    return 'java is not installed'
  }
})()

const PROGRAM = `
import java.sql.*;

public class Route {
  public static void main(String[] args) throws Exception {
    for (String url : args) {
      try (Connection c = DriverManager.getConnection(url)) {
        ResultSet r = c.createStatement().executeQuery("select 1");
        r.next();
        System.out.println(r.getInt(1));
      }
    }
  }
}
`

test('JDBC chooses by user and by options', { skip: needsJava }, async (t) => {
  const { port } = await proxyBefore(t, emulator, ON)
  const program = join(await temporaryFolder(t), 'Route.java')
  writeFileSync(program, PROGRAM)
  const url = `jdbc:postgresql://127.0.0.1:${port}/databricks_postgres?`
  const urls = [
    `${url}user=${BRANCH}`,
    `${url}user=${encodeURIComponent(`bob~${BRANCH}`)}`,
    `${url}user=bob&options=-c%20lakebase.target=${BRANCH}`,
  ]
  const hosts = await hostsOf(async () => {
    const { stdout, stderr } = await run('java', ['-cp', JAR, program, ...urls])
    assert.equal(stdout, '1\n1\n1\n', stderr)
  })
  assert.deepEqual(hosts, [branchHost])
})

test('url prints the user name to use in every form, for a name, a TARGET and a branch', async (t) => {
  const cwd = await temporaryFolder(t)
  writeFileSync(
    join(cwd, 'lakebase-proxy.yaml'),
    'route: on\nport: 6000\ntargets:\n  - target: demo-instance\n    name: orders\n  - projects/many/branches/*\n',
  )
  const url = async (target: string, format: string): Promise<string> => {
    const args = ['url', target, '--format', format, '--config', 'lakebase-proxy.yaml']
    const { code, stdout, stderr } = await cliHere(args, { cwd })
    assert.deepEqual([code, stderr], [0, ''])
    return stdout
  }
  const uri = (user: string): string =>
    `postgresql://${encodeURIComponent(user)}@localhost:6000/databricks_postgres?sslmode=disable\n`
  assert.equal(await url('orders', 'uri'), uri('orders'))
  assert.equal(await url('demo-instance', 'uri'), uri('orders'))
  assert.equal(await url(BRANCH, 'uri'), uri(BRANCH))
  assert.equal(
    await url(BRANCH, 'psql'),
    `psql -h localhost -p 6000 -U ${BRANCH} -d databricks_postgres\n`,
  )
  for (const format of ['env', 'dotenv', 'jdbc', 'sqlalchemy', 'pgservice', 'dbeaver']) {
    assert.match(await url('orders', format), /orders/, format)
    assert.match(
      await url(BRANCH, format),
      /projects(\/|%2F)many(\/|%2F)branches(\/|%2F)dev/,
      format,
    )
  }
})

test('exec serves the target that is named, wherever route would have it', {
  skip: needsPsql,
}, async (t) => {
  const cwd = await temporaryFolder(t)
  const config = join(cwd, 'lakebase-proxy.yaml')
  writeFileSync(
    config,
    'route: required\ntargets:\n  - projects/many/branches/*\n  - target: demo-instance\n    name: orders\n',
    { mode: 0o600 },
  )
  for (const [target, host] of [
    ['orders', control.instance('demo-instance').readWriteHost],
    [BRANCH, branchHost],
  ] as const) {
    const hosts = await hostsOf(async () => {
      const args = ['exec', target, '--config', config, '--', 'psql', '-XAtc', 'select 1']
      const { stdout, stderr } = await cli(args, { ...emulator.env }, cwd)
      assert.deepEqual([stdout, stderr], ['1\n', ''])
    })
    assert.deepEqual(hosts, [host])
  }
})

test('the banner shows for each target the user name to type and the database', async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { ...ON, database: 'shop' })
  const text = banner(daemon)
  for (const [name, user] of [
    ['orders', 'orders'],
    ['projects/many/branches/\\*', 'projects/many/branches/BRANCH'],
  ] as const) {
    const about = new RegExp(
      `  ${name}\\n(?:    .*\\n)*    user      ${user}\\n    database  shop\\n`,
    )
    assert.match(text, about)
  }
})
