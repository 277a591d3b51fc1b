/**
 * `doctor`, `status`, `/status`, `url`, the banner and a client that logs in are asked the same
 * questions over many settings: as which role, at which host and port, in which database, with TLS
 * or without? Settings leave config/ as decisions, so that all of them agree.
 */

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import pg from 'pg'

import { banner } from '../src/commands/proxy/banner.js'
import { loadConfig } from '../src/config/resolve/config.js'
import type { SettingName } from '../src/config/schema/table.js'
import { systemClock } from '../src/core/clock.js'
import { silentLog } from '../src/core/log.js'
import { Daemon } from '../src/daemon/daemon.js'
import { workspaceOpener } from '../src/daemon/workspace-opener.js'
import type { ProxyStatus } from '../src/observe/status.js'
import { cliHere } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { freePort } from './support/http.js'
import { uid } from './support/load-config.js'
import { temporaryFolder } from './support/proxy.js'

const emulator = await emulatorForTests({
  nativeRoles: [
    { name: 'app', password: 'app-password', method: 'scram-sha-256' },
    { name: 'legacy', password: 'legacy-password', method: 'password' },
    { name: 'twin', password: 'app-password', method: 'scram-sha-256' },
    // Two roles that are called like keywords of `user`.
    { name: 'client', password: 'client-password', method: 'scram-sha-256' },
    { name: 'identity', password: 'identity-password', method: 'scram-sha-256' },
  ],
})
const ADA = 'ada@example.com'
const HOST = emulator.control.instance('demo-instance').readWriteHost
const BRANCH = 'projects/demo/branches/production'

interface Row {
  readonly target: string
  readonly flags?: Partial<Record<SettingName, string>>
  readonly env?: Readonly<Record<string, string>>
  /** A `--config` file. */
  readonly yaml?: string
  /** As whom `pg` connects; it counts with `user=client` only. */
  readonly typed?: string
  readonly role: string
  /** `client`: everything but the login can name only the role that is most likely. */
  readonly roleOf?: 'client'
  readonly host?: string
  readonly database?: string
  readonly tls?: boolean
}

const byUrl = (name: string, rest = '/databricks_postgres'): string =>
  `postgresql://${name}:${name}-password@${HOST}${rest}`

const ROWS: readonly Row[] = [
  { target: 'demo-instance', role: ADA },
  { target: 'demo-instance?database=postgres', role: ADA, database: 'postgres' },
  { target: 'demo-instance', flags: { database: 'postgres' }, role: ADA, database: 'postgres' },
  { target: 'demo-instance?user=ada%40example.com', role: ADA },
  { target: 'demo-instance', env: { LAKEBASE_PROXY_USER: ADA }, role: ADA },
  { target: 'demo-instance?user=client', typed: ADA, role: ADA, roleOf: 'client' },
  { target: BRANCH, role: ADA },
  { target: BRANCH, flags: { group: 'analysts' }, role: 'analysts' },
  { target: `${BRANCH}?group=analysts`, env: { LAKEBASE_PROXY_USER: ADA }, role: 'analysts' },
  { target: `${BRANCH}?group=analysts&user=analysts`, role: 'analysts' },
  { target: `${BRANCH}/databases/postgres`, role: ADA, database: 'postgres' },
  { target: HOST, role: ADA },
  { target: `postgresql://ada%40example.com@${HOST}/postgres`, role: ADA, database: 'postgres' },
  { target: byUrl('app'), role: 'app' },
  { target: byUrl('legacy', ''), role: 'legacy' },
  { target: byUrl('app', '/postgres'), role: 'app', database: 'postgres' },
  // The role of the URL wins over a flag that is for all targets.
  { target: byUrl('app'), flags: { user: 'legacy', group: 'analysts' }, role: 'app' },
  { target: byUrl('client'), role: 'client' },
  { target: byUrl('identity'), role: 'identity' },
  { target: 'twin', yaml: `targets:\n  - target: ${byUrl('app')}\n    user: twin\n`, role: 'twin' },
  {
    target: 'app',
    yaml: `targets:\n  - target: ${byUrl('app')}\n    user: client\n`,
    typed: 'app',
    role: 'app',
    roleOf: 'client',
  },
  { target: 'demo-instance', flags: { address: '127.0.0.1' }, role: ADA, host: '127.0.0.1' },
  { target: 'demo-instance?address=::1', role: ADA, host: '::1' },
  { target: 'demo-instance?address=127.0.0.2', role: ADA, host: '127.0.0.2' },
  { target: 'demo-instance', env: { LAKEBASE_PROXY_ADDRESS: '::1,127.0.0.1' }, role: ADA },
  {
    target: 'demo-instance',
    flags: { address: '0.0.0.0', 'unsafe-listen': 'true' },
    role: ADA,
  },
  {
    target: 'demo-instance',
    flags: { address: '::', 'unsafe-listen': 'true', 'local-tls': 'auto' },
    role: ADA,
    tls: true,
  },
  { target: 'demo-instance', flags: { 'local-tls': 'auto' }, role: ADA, tls: true },
  {
    target: byUrl('app'),
    flags: { 'local-tls': 'auto', address: '127.0.0.1', database: 'postgres' },
    role: 'app',
    host: '127.0.0.1',
    tls: true,
  },
]

test('all of them agree, over many settings', { concurrency: 8 }, async (t) => {
  assert.ok(ROWS.length >= 20)
  await Promise.all(
    ROWS.map((row, index) => t.test(`${index + 1}: ${wordsOf(row)}`, (one) => agree(one, row))),
  )
})

function wordsOf({ target, flags = {}, env = {}, yaml }: Row): string {
  const settings = Object.entries({ ...flags, ...env }).map(([name, text]) => `${name}=${text}`)
  return [target.replace(/:[^:@/]*@/, '@'), ...settings, yaml?.split('\n')[2] ?? ''].join(' ')
}

/** What one of them says. Left out where it does not say it. */
interface Said {
  readonly role?: string | undefined
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly database?: string | undefined
  readonly tls?: boolean | undefined
}

async function agree(t: TestContext, row: Row): Promise<void> {
  const { given, cwd, port } = await place(t, row)
  const { args, flags, env } = given
  const machine = { cwd, homeDir: cwd, hostname: 'laptop', platform: 'linux', isTerminal: false }
  const targets = row.yaml === undefined ? [row.target] : []
  const { settings, databricksEnv } = await loadConfig({ targets, flags, env, uid, machine })
  const daemon = await Daemon.start({
    settings: { ...settings, admin: { ...settings.admin!, port: 0 } },
    openWorkspace: workspaceOpener({
      ...{ env: databricksEnv, programEnv: {}, homeDir: cwd },
      ...{ clock: systemClock, log: silentLog },
    }),
    stateDir: cwd,
    log: silentLog,
  })
  t.after(() => daemon.close())
  await daemon.targets[0]!.prime()
  const where = { cwd, env }
  const admin = ['--admin-port', new URL(daemon.adminUrl!).port]

  const [url, status, page, doctor] = await Promise.all([
    cliHere(['url', ...args], where),
    cliHere(['status', ...admin], where),
    fetch(`${daemon.adminUrl}/status`).then((answer) => answer.json() as Promise<ProxyStatus>),
    cliHere(['doctor', '--json', ...args, ...admin], where),
  ])
  assert.equal(url.stderr, '')
  const fromUrl = ofUrl(url.stdout, row)
  const answers: Record<string, Said> = {
    url: fromUrl,
    banner: ofText(banner(daemon), row),
    status: ofText(status.stdout, row),
    '/status': ofStatus(page, row),
    doctor: ofDoctor(doctor.stdout, port),
    login: await logIn({ ...fromUrl, role: row.typed }),
  }

  const { role, host = 'localhost', database = 'databricks_postgres', tls = false } = row
  const expected = { role, host, port, database, tls }
  for (const [who, said] of Object.entries(answers)) {
    for (const [question, answer] of Object.entries(said)) {
      if (answer !== undefined) {
        assert.equal(answer, expected[question as keyof Said], `${who}: ${question}`)
      }
    }
  }
}

/** A folder, a port, and the words of a command line. */
async function place(t: TestContext, { target, flags = {}, env = {}, yaml }: Row) {
  const [cwd, port] = await Promise.all([temporaryFolder(t), freePort()])
  if (yaml !== undefined) writeFileSync(join(cwd, 'c.yaml'), yaml, { mode: 0o600 })
  const all = { ...flags, port: `${port}`, ...(yaml === undefined ? {} : { config: 'c.yaml' }) }
  const words = Object.entries(all).map(([name, text]) => `--${name}=${text}`)
  const args = [
    ...(yaml === undefined ? [target] : []),
    ...words.map((word) => word.replace(/=true$/, '')),
  ]
  const given = {
    args,
    flags: new Map(Object.entries(all) as [SettingName, string][]),
    env: { ...emulator.env, ...env },
  }
  return { given, cwd, port }
}

/** It asks no one: of the workspace's identity it can only say that any user will do. */
function ofUrl(text: string, { roleOf }: Row): Said {
  const url = new URL(text.trim())
  const user = decodeURIComponent(url.username)
  return {
    role: user === 'any' || (roleOf === 'client' && user === 'ROLE') ? undefined : user,
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(url.port),
    database: url.pathname.slice(1),
    tls: url.searchParams.get('sslmode') === 'verify-full',
  }
}

/** The banner and `status` are read by people: who, and a line to paste. */
function ofText(text: string, { roleOf }: Row): Said {
  const as = /^ +as +(.*)$/m.exec(text)?.[1]
  assert.equal(as === 'the user that each client names', roleOf === 'client', text)
  return { role: roleOf === 'client' ? undefined : as, ...ofPsql(text) }
}

function ofPsql(text: string): Said {
  const [, host, port, , role, database] =
    /psql -h (\S+) -p (\d+)( -U (\S+))? -d '?(?:dbname=)?([^ '\n]+)/.exec(text) ?? []
  const tls = text.includes('sslmode=verify-full')
  return { host, port: Number(port), database, tls, ...(role === undefined ? {} : { role }) }
}

function ofStatus({ targets: [target] }: ProxyStatus, { roleOf }: Row): Said {
  const { role, roleOfClient, database, port, connect } = target!
  assert.equal(roleOfClient, roleOf === 'client')
  return { ...ofPsql(connect.psql), ...(role === undefined ? {} : { role }), port, database }
}

/** What it found out by logging in itself; and the port that it looked at. */
function ofDoctor(text: string, port: number): Said {
  const steps = JSON.parse(text) as { step: string; outcome: string; text: string }[]
  assert.deepEqual(
    steps.filter(({ outcome }) => outcome === 'failed'),
    [],
  )
  const of = (name: string): string => steps.find(({ step }) => step === name)!.text
  const [, role, database] = /^role (.*), database (.*)$/.exec(of('login')) ?? []
  assert.match(of('local port'), new RegExp(`^${port} is held by a lakebase-proxy`))
  return { role, database, port }
}

async function logIn({ role = 'anyone', host, port, database, tls }: Said): Promise<Said> {
  const ssl = tls ? { rejectUnauthorized: false } : false
  const client = new pg.Client({ host: host!, port: port!, user: role, database: '', ssl })
  await client.connect()
  const { rows } = await client.query('select current_user as role, current_database() as database')
  await client.end()
  assert.equal(rows[0].database, database)
  return { ...rows[0], host, port, tls }
}
