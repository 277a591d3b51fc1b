/**
 * Drivers of others at a team gateway, with a personal access token saved as the password and the
 * proxy verified in full, as docs/gateway.md tells each; and their choice of a target at a port that
 * serves many, with a cancel through it.
 */

import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { control, emulator, gateway, grace } from '../support/gateway.js'
import { otherUser } from '../support/identities.js'
import { proxyBefore } from '../support/proxy.js'
import { installed, installedOdbc, runTool, scratchFolder, type Tool } from './installed.js'

const PAGE = readFileSync('docs/gateway.md', 'utf8')

/** The setting of a client in the table of docs/gateway.md. */
function settingOf(client: string): string {
  const row = PAGE.split('\n').find((line) => line.startsWith(`| ${client} `))
  const [, setting] = /^\|[^|]*\| `([^`]*)`/.exec(row ?? '') ?? []
  assert.ok(setting !== undefined, `docs/gateway.md tells ${client} what to set`)
  return setting
}

const python = installed('python', 'bin/python')
const pgx = installed('go', 'bin/ask')

interface Driver {
  readonly name: string
  readonly tool: Tool
  /** Prints who it is; with `cancel`, also the SQLSTATE of a query that it cancelled. */
  ask(conninfo: string, env: Record<string, string>, ...cancel: 'cancel'[]): Promise<string>
}

const PSYCOPG = `
import sys, threading
import psycopg

with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    print(connection.execute("select current_user").fetchone()[0])
    if len(sys.argv) > 2:
        threading.Timer(1, connection.cancel).start()
        try:
            connection.execute("select pg_sleep(60)")
        except psycopg.errors.QueryCanceled as error:
            print(error.sqlstate)
        threading.Timer(1, connection.cancel_safe).start()
        try:
            connection.execute("select pg_sleep(61)")
        except psycopg.errors.QueryCanceled as error:
            print(True)
`

const DRIVERS: readonly Driver[] = [
  {
    name: 'psycopg',
    tool: python,
    ask: (conninfo, env, ...cancel) =>
      runTool(python.path, ['-c', PSYCOPG, conninfo, ...cancel], { env, cwd: scratchFolder() }),
  },
  {
    name: 'pgx',
    tool: pgx,
    ask: (conninfo, env, ...cancel) =>
      runTool(pgx.path, [conninfo, ...cancel], { env, cwd: scratchFolder() }),
  },
]

for (const { name, tool, ask } of DRIVERS) {
  test(`${name} logs in to a gateway with a token as its password, as its owner`, {
    skip: tool.skip,
  }, async (t) => {
    const { port, daemon } = await gateway(t)
    const conninfo = settingOf('psql, psycopg, pgx')
      .replace('gateway.example.com', `localhost port=${port}`)
      .replace('ca.pem', daemon.localCaFile!)
    const env = { PGPASSWORD: grace.password }
    assert.equal(await ask(conninfo, env), `${otherUser.userName}\n`)
    const unverified = conninfo.replace(/ sslrootcert=\S+/, '')
    await assert.rejects(ask(unverified, env), /root certificate|unknown authority/)
    await assert.rejects(ask(conninfo, { PGPASSWORD: 'dapi-wrong' }), /28P01|authentication failed/)
  })

  test(`${name} chooses a target in each way, and cancels a query there`, {
    skip: tool.skip,
  }, async (t) => {
    const branch = 'projects/many/branches/dev'
    const { port } = await proxyBefore(t, emulator, {
      targets: [
        'projects/demo',
        { target: 'demo-instance', name: 'orders' },
        'projects/many/branches/*',
      ],
      route: 'on',
    })
    const orders = control.instance('demo-instance').readWriteHost
    const dev = control.endpoint(`${branch}/endpoints/primary`).host
    const at = `host=localhost port=${port} dbname=databricks_postgres sslmode=disable`
    const hostOf = async (choice: string): Promise<string | undefined> => {
      await ask(`${at} ${choice}`, {})
      return control.logins.at(-1)?.host
    }
    for (const [choice, host] of [
      ['user=orders', orders],
      ['user=anyone~orders', orders],
      [`user=${branch}`, dev],
      [`user=anyone~${branch}`, dev],
      ["user=any options='-c lakebase.target=orders'", orders],
      ["user=any options='-clakebase.target=orders'", orders],
      ["user=any options='--lakebase.target=orders'", orders],
      [`user=any options='-c work_mem=8MB -c lakebase.target=${branch}'`, dev],
    ] as const) {
      assert.equal(await hostOf(choice), host, choice)
    }
    await assert.rejects(hostOf('user=anyone~nowhere'), /3D000|nowhere/)
    const cancelled = await ask(`${at} user=anyone~orders`, {}, 'cancel')
    assert.match(cancelled, /\n57014\n[Tt]rue\n$/)
    const asleep =
      "select 1 from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'"
    while ((await control.query(asleep)).length > 0);
  })
}

const odbc = installedOdbc()
test('psqlODBC logs in to a gateway with a token as its password, as its owner', {
  skip: odbc.skip,
}, async (t) => {
  const { port, daemon } = await gateway(t)
  const cwd = scratchFolder()
  const ask = (setting: string, password: string): Promise<string> =>
    runTool('isql', ['-k', '-b', '-v', setting.replace('dapi…', password)], {
      ...{ cwd, input: 'select current_user\n' },
    })
  const setting = settingOf('psqlODBC')
    .replace('gateway.example.com', 'localhost')
    .replace('5432', `${port}`)
    .replace('ca.pem', daemon.localCaFile!)
  assert.match(await ask(setting, grace.password), /grace@example\.com/)
  const byDefault = setting.replace(/;pqopt=.*$/, '')
  await assert.rejects(ask(byDefault, grace.password), /root certificate/)
  mkdirSync(join(cwd, '.postgresql'))
  writeFileSync(join(cwd, '.postgresql', 'root.crt'), readFileSync(daemon.localCaFile!))
  assert.match(await ask(byDefault, grace.password), /grace@example\.com/)
})
