/** What the proxy remembers and tells of itself: samples, events, errors, lines to connect with. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'

import pg from 'pg'

import { ProxyError } from '../src/core/errors.js'
import { createLog } from '../src/core/log.js'
import { demoUser } from '../src/emulator/inventory.js'
import { connectionLines } from '../src/observe/connection-lines.js'
import { Journal } from '../src/observe/journal.js'
import { SESSION_CONNECTED, SESSION_ENDED, sessionLine } from '../src/observe/session-line.js'
import { proxyStatus, type SessionStatus } from '../src/observe/status.js'
import { Tally } from '../src/observe/tally.js'
import type { SessionView } from '../src/session/session-view.js'
import { emulatorForTests, needsPsql } from './support/emulator.js'
import { FakeClock, settle } from './support/fake-clock.js'
import { ask } from './support/http.js'
import { Scrape } from './support/prometheus.js'
import { connectedClient, proxyBefore, run, temporaryFolder } from './support/proxy.js'
import type { LogLine } from './support/recorded-log.js'
import { connect } from './support/sockets.js'

const emulator = await emulatorForTests()
const { control } = emulator

const SAMPLE_MS = 5_000
const MINUTE_MS = 60_000

test('an open page is sent the history, the state every second, and each sample', async (t) => {
  const clock = new FakeClock()
  const { daemon, port } = await proxyBefore(t, emulator, { adminPort: 0, clock })
  const client = await connectedClient(t, port)
  await client.query("select repeat('x', 50000)")
  await clock.advance(SAMPLE_MS)

  const events = await openEvents(t, daemon.adminUrl!)
  const [sample] = JSON.parse(await events.next('history'))
  assert.equal(sample.at, SAMPLE_MS)
  assert.equal(sample.sessions, 1)
  assert.ok(sample.bytesDownPerSecond > 10_000 && sample.bytesDownPerSecond < 10_100)
  assert.deepEqual(
    ['resolve', 'dial', 'tls', 'login'].filter(
      (phase) => typeof sample.connectMs[phase] !== 'number',
    ),
    [],
  )
  const first = JSON.parse(await events.next('status'))
  assert.equal(first.sessions[0].database, 'databricks_postgres')
  assert.ok(first.memoryBytes > 1_000_000)
  assert.equal(first.history, undefined, 'not every second')

  await clock.advance(1_000)
  assert.equal(JSON.parse(await events.next('status')).now, SAMPLE_MS + 1_000)
  await clock.advance(SAMPLE_MS - 1_000)
  const second = JSON.parse(await events.next('sample'))
  assert.deepEqual([second.bytesDownPerSecond, second.connectMs], [0, {}])
})

test('the history holds 15 minutes and no more', async (t) => {
  const clock = new FakeClock()
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0, clock })
  for (let minutes = 0; minutes < 20; minutes++) await clock.advance(MINUTE_MS)
  const { history } = JSON.parse((await ask(`${daemon.adminUrl}/status`)).body)
  assert.equal(history.length, 180)
  assert.equal(history[0].at, 20 * MINUTE_MS - 179 * SAMPLE_MS)
})

test('the 17th page has to wait for another to be closed', async (t) => {
  const { daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const pages = Array.from({ length: 16 }, () => openEvents(t, daemon.adminUrl!))
  const open = await Promise.all(pages)
  // The first as it opens, the second a second later: all at once, and none is left out.
  for (const events of open) await events.next('status')
  for (const events of open) await events.next('status')
  assert.equal((await ask(`${daemon.adminUrl}/events`)).status, 503)
})

test('a session that is still trying shows its last error; the target is degraded until one gets in', async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, { adminPort: 0 })
  const starting = { severity: 'FATAL', sqlState: '57P03', message: 'is waking up' } as const
  control.failFront({ at: 'startup', refuse: starting })
  const connecting = connectedClient(t, port)
  const session = await untilSession(
    daemon.status.bind(daemon),
    (each) => each.lastError !== undefined,
  )
  assert.equal(session.lastError, 'is waking up')
  control.clearFaults()
  await connecting
  assert.equal(daemon.status().targets[0]?.state, 'ready')

  control.failFront({
    at: 'startup',
    refuse: { ...starting, sqlState: '28000', message: 'no role' },
  })
  await assert.rejects(connectedClient(t, port), { code: '28000' })
  const [target] = daemon.status().targets
  assert.deepEqual([target?.state, target?.words], ['degraded', 'no role'])
  assert.equal(daemon.status().ready, true, 'the credential is there')
  control.clearFaults()
  await connectedClient(t, port)
  assert.equal(daemon.status().targets[0]?.state, 'ready')
})

test("a client's own mistake does not degrade the target", async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, {})
  await connectedClient(t, port)
  await assert.rejects(connectedClient(t, port, { database: 'nowhere' }))
  const { targets, errors } = daemon.status()
  assert.equal(targets[0]?.state, 'ready')
  assert.equal(errors[0]?.message, 'database "nowhere" does not exist')
})

test('an upstream that breaks a session off is among the errors', async (t) => {
  const { daemon, port, log } = await proxyBefore(t, emulator, { adminPort: 0 })
  await connectedClient(t, port)
  control.resetConnections()
  await log.seen(({ facts }) => facts.outcome === 'upstream reset')
  const [error] = daemon.status().errors
  assert.equal(error?.kind, 'upstream')
  assert.match(error?.session ?? '', /^[0-9a-f]{8}$/)
  const outcome = { target: 'demo-instance', outcome: 'upstream reset' }
  const scrape = await Scrape.of(daemon.adminUrl!)
  assert.equal(scrape.value('lakebase_proxy_sessions_total', outcome), 1)
})

test('50 groups of equal errors are kept, the latest first', () => {
  const journal = new Journal(new FakeClock())
  for (let i = 0; i < 60; i++) {
    const session = { id: `${i}`, target: `target-${i}`, phase: 'pipe' } as SessionView
    journal.failed(session, new Error('a bug, whose text is not for all to read'))
  }
  assert.equal(journal.failures.length, 50)
  assert.deepEqual([journal.failures[0]?.session, journal.failures[49]?.session], ['59', '10'])
  assert.equal(journal.failures[0]?.message, 'internal proxy error')
})

test('equal errors are counted, with the first time, and with the latest session and detail', async () => {
  const clock = new FakeClock()
  const journal = new Journal(clock)
  const fail = (id: string, target: string, message: string): void => {
    const session = { id, target, phase: 'login' } as SessionView
    journal.failed(session, new ProxyError('dial', message, { detail: `tried by ${id}` }))
  }
  fail('a', 'shop', 'no route')
  await clock.advance(1_000)
  fail('b', 'shop', 'no route')
  fail('c', 'orders', 'no route')
  await clock.advance(1_000)
  fail('d', 'shop', 'another')
  fail('e', 'shop', 'no route')
  assert.deepEqual(
    journal.failures.map(({ session, target, message, count, firstAt, at, detail }) => ({
      ...{ session, target, message, count, firstAt, at, detail },
    })),
    [
      { session: 'e', target: 'shop', message: 'no route', count: 3, firstAt: 0, at: 2_000 },
      { session: 'd', target: 'shop', message: 'another', count: 1, firstAt: 2_000, at: 2_000 },
      { session: 'c', target: 'orders', message: 'no route', count: 1, firstAt: 1_000, at: 1_000 },
    ].map((each) => ({ ...each, detail: `tried by ${each.session}` })),
  )
})

test('a disabled endpoint is unavailable, and a stopped instance that starts by itself says so', async (t) => {
  const disabled = await proxyBefore(t, emulator, {
    targets: ['projects/many/branches/disabled/endpoints/primary'],
  })
  await assert.rejects(connectedClient(t, disabled.port), { code: '28000' })
  const [endpoint] = disabled.daemon.status().targets
  assert.deepEqual([endpoint?.state, endpoint?.startCommand], ['unavailable', undefined])
  assert.match(endpoint?.words ?? '', /is disabled$/)

  const { daemon, log } = await proxyBefore(t, emulator, {
    ...{ targets: ['stopped-instance'], autoStart: true },
  })
  await log.seen(({ message }) => message === 'credential refreshed')
  const [instance] = daemon.status().targets
  assert.deepEqual([instance?.state, instance?.startCommand], ['stopped', undefined])
  assert.match(instance?.words ?? '', /starts when a client connects/)
})

test('what happened before prom-client was loaded is counted too', async (t) => {
  const clock = new FakeClock() // on which that second never comes
  const { daemon, port, log } = await proxyBefore(t, emulator, { adminPort: 0, clock })
  await (await connectedClient(t, port)).end()
  await log.seen(({ facts }) => facts.outcome === 'closed')
  const scrape = await Scrape.of(daemon.adminUrl!)
  const target = 'demo-instance'
  assert.equal(scrape.value('lakebase_proxy_sessions_total', { target, outcome: 'closed' }), 1)
  const phase = { target, phase: 'login' }
  assert.equal(scrape.value('lakebase_proxy_connect_seconds_count', phase), 1)
  const refreshes = { target, outcome: 'succeeded' }
  assert.equal(scrape.value('lakebase_proxy_credential_refreshes_total', refreshes), 1)
})

test('quiet: sessions that end well leave no line, those that fail do', async (t) => {
  const { port, log } = await proxyBefore(t, emulator, { quiet: true })
  await (await connectedClient(t, port)).end()
  const ended = await log.seen(({ facts }) => facts.outcome === 'closed')
  assert.equal(ended.level, 'debug')
  await assert.rejects(connectedClient(t, port, { database: 'nowhere' }))
  const failed = await log.seen(({ message }) => message.includes('does not exist'))
  assert.equal(failed.level, 'warn')
  assert.ok(log.lines.every(({ level }) => ['debug', 'warn'].includes(level)))
})

test('the lines of a session say which backend it has, by which connection, as which role', async (t) => {
  const { port, log } = await proxyBefore(t, emulator)
  const client = await connectedClient(t, port, { application_name: 'app' })
  const { rows } = await client.query('select pg_backend_pid() pid, current_user as role')
  await client.end()
  const ended = await log.seen(({ message }) => message === 'session ended')
  const connected = await log.seen(({ message }) => message === 'session connected')
  for (const { level, facts } of [connected, ended]) {
    assert.equal(level, 'info')
    const { session, upstream, upstream_local_port: local, ...rest } = facts
    assert.match(String(session), /^[0-9a-f]{8}$/)
    assert.match(String(upstream), /^127\.0\.0\.1:\d+$/)
    assert.ok(Number(local) > 0)
    assert.deepEqual(
      [rest.target, rest.user, rest.role, rest.database, rest.application_name, rest.backend_pid],
      ['demo-instance', 'anyone', rows[0].role, 'databricks_postgres', 'app', rows[0].pid],
    )
  }
})

test('in the pretty log a session is one short line at its start and at its end', () => {
  const facts = { session: '5a8f50da', target: 'shop', client: '127.0.0.1:5', user: 'me' }
  const more = { role: 'ada@example.com', database: 'db', application_name: 'psql' }
  const ended = { outcome: 'closed', phasesMs: { login: 74 }, bytesUp: 19, bytesDown: 66_000 }
  const lines: string[] = []
  const stream = { write: (line: string) => lines.push(line) }
  const log = createLog({ level: 'info', format: 'pretty', stream, inWords: sessionLine })
  log.info({ ...facts, ...more, backend_pid: 7 }, SESSION_CONNECTED)
  log.info({ ...facts, ...more, ...ended }, SESSION_ENDED)
  log.info({ target: 'shop' }, 'any other line')
  const words = lines.map((line) => stripVTControlCharacters(line).replace(/^.*?INFO:? /, ''))
  assert.deepEqual(words, [
    'session 5a8f50da connected: psql, role ada@example.com, database db of shop, backend 7\n',
    'session 5a8f50da closed: psql, role ada@example.com, login 74 ms, up 19 B, down 66.0 kB\n',
    'any other line {"target":"shop"}\n',
  ])
})

test('in the pretty log a failure is one sentence on one line, with what to do and no JSON', () => {
  const lines: string[] = []
  const stream = { write: (line: string) => lines.push(line) }
  const log = createLog({ level: 'info', format: 'pretty', stream, inWords: sessionLine })
  const facts = { session: '5a8f50da', target: 'shop', client: '127.0.0.1:5', user: 'me' }
  const failed = {
    phase: 'login',
    kind: 'target',
    sqlState: '3D000',
    hint: 'Name a database\nthat exists.',
  }
  log.warn({ ...facts, application_name: 'psql', ...failed }, 'database "x" does not exist')
  log.warn({ target: 'shop', reason: 'no route', hint: 'Run doctor.' }, 'not ready yet')
  log.warn({ target: 'shop', reason: 'no route', port: 5 }, 'with a fact that the words lack')
  const words = lines.map((line) => stripVTControlCharacters(line).replace(/^.*?WARN:? /, ''))
  assert.deepEqual(words, [
    'session 5a8f50da failed in login: psql, user me: database "x" does not exist (3D000). Name a database that exists.\n',
    'shop: not ready yet: no route. Run doctor.\n',
    'with a fact that the words lack {"target":"shop","reason":"no route","port":5}\n',
  ])
})

test('a status of 500 sessions with the longest texts is what `status` can read, and shows no stranger', () => {
  const clock = new FakeClock()
  const tally = new Tally()
  const text = '\u{1F600}'.repeat(128)
  const session = (id: number, phase: string): SessionView =>
    ({
      ...{ id: `${id}`, target: 'a', client: '127.0.0.1:1', phase, openedAt: 0 },
      ...{ user: text, database: text, applicationName: text },
      ...{ role: text, bytesUp: 0, bytesDown: 0, phaseMs: new Map() },
    }) as unknown as SessionView
  for (let i = 0; i < 600; i++) tally.opened(session(i, 'pipe'))
  for (const phase of ['client-handshake', 'client-auth']) tally.opened(session(900, phase))
  const phase = 'running'
  const proxy = { phase, targets: [], unreadyWhenFull: false, localCaFile: undefined } as const
  const journal = new Journal(clock)
  const status = proxyStatus({ proxy, tally, journal, startedAt: 0, now: 0 })
  assert.deepEqual([status.sessions.length, status.sessionsOmitted], [500, 100])
  assert.ok(status.sessions.every(({ id }) => id !== '900'))
  assert.ok(Buffer.byteLength(JSON.stringify(status)) < 32 * 1024 * 1024)
})

test('the names of a session are cut, and it is listed once its client has proved its password', async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, {
    ...{ localAuth: 'password', localPassword: 'secret' },
  })
  const long = 'x'.repeat(1_000)
  const knocking = await connect(port)
  t.after(() => knocking.destroy())
  const body = Buffer.from(`\0\x03\0\0user\0${long}\0\0`, 'latin1')
  const length = Buffer.alloc(4)
  length.writeInt32BE(body.length + 4)
  knocking.write(Buffer.concat([length, body]))
  const [request] = (await once(knocking, 'data')) as [Buffer]
  assert.equal(request[0], 'R'.charCodeAt(0))
  assert.deepEqual(daemon.status().sessions, [])

  await connectedClient(t, port, { user: long, application_name: long, password: 'secret' })
  const [session] = daemon.status().sessions
  for (const name of [session?.user, session?.applicationName]) {
    assert.ok(name !== undefined && name.length > 60 && name.length < 140, `${name?.length}`)
  }
})

test('a failure is logged once, with its hint, and its session ends with one line', async (t) => {
  const { port, log } = await proxyBefore(t, emulator)
  await assert.rejects(connectedClient(t, port, { database: 'nowhere', application_name: 'app' }))
  const { facts } = await log.seen(({ message }) => message === 'session ended')
  const { session } = facts
  const lines = log.lines.filter((line) => line.facts.session === session)
  assert.deepEqual(
    lines.map(({ level, message }) => [level, message]),
    [
      ['warn', 'database "nowhere" does not exist'],
      ['debug', 'session ended'],
    ],
  )
  assert.match(String(lines[0]?.facts.hint), /^Name a database that exists/)
  assert.match(String(lines[0]?.facts.client), /^127\.0\.0\.1:\d+$/)
  const { target, user, database, application_name: applicationName, outcome } = facts
  assert.deepEqual(
    { target, user, database, applicationName, outcome },
    {
      ...{ target: 'demo-instance', user: 'anyone', database: 'nowhere' },
      ...{ applicationName: 'app', outcome: 'failed' },
    },
  )
  assert.match(String(facts.client), /^127\.0\.0\.1:\d+$/)
  assert.ok('login' in (facts.phasesMs as object))
})

test('a session that its compute ends with 57P01 is logged and shown as that', async (t) => {
  const { port, log, daemon } = await proxyBefore(t, emulator, { adminPort: 0 })
  const client = await connectedClient(t, port)
  const over = new Promise((resolve) => client.once('end', resolve))
  const { processID } = client as typeof client & { processID: number }
  await control.query(`select pg_terminate_backend(${processID})`)
  await over
  const { facts } = await log.seen(({ message }) => message === 'session ended')
  assert.equal(facts.outcome, 'upstream shutdown')
  assert.equal(facts.reason, 'the compute was suspended or restarted')
  const [failure] = daemon.status().errors
  assert.equal(failure?.message, 'the compute was suspended or restarted')
  assert.match(String(failure?.hint), /^Connect again/)
})

test('a failed refresh that no client notices is a warning, and the next success is logged', async (t) => {
  const clock = new FakeClock()
  const { log, daemon } = await proxyBefore(t, emulator, { clock, adminPort: 0 })
  await log.seen(({ message }) => message === 'credential refreshed')
  control.failApi('credentials', { status: 403, errorCode: 'PERMISSION_DENIED', message: 'no' }, 1)
  await clock.advance(49 * MINUTE_MS)
  // By seconds, so that a real answer comes before the clock says that it was late.
  const until = async (text: string): Promise<LogLine> => {
    for (;;) {
      const found = log.lines.find(({ message }) => message.includes(text))
      if (found !== undefined) return found
      await clock.advance(1_000)
      await ask(`${daemon.adminUrl}/liveness`)
    }
  }
  const warning = await until('the held one is still good')
  assert.equal(warning.level, 'warn')
  assert.equal(typeof warning.facts.reason, 'string')
  assert.equal((await until('credential refreshed again')).level, 'info')
})

test('the psql line works as it is, with local TLS and without, for every kind of user', {
  skip: needsPsql,
}, async (t) => {
  const gateway = { localTls: 'auto', localAuth: 'databricks' } as const
  for (const options of [{}, { localTls: 'auto' }, { user: 'client' }, gateway] as const) {
    const { daemon } = await proxyBefore(t, emulator, options)
    // A gateway's clients do not get its own identity, so that it is not asked for.
    while (options !== gateway && daemon.targets[0]?.identity === undefined) await settle()
    const { psql } = daemon.status().targets[0]!.connect
    const env = { PATH: process.env.PATH!, PGPASSWORD: demoUser.pat! }
    const { stdout, stderr } = await run('sh', ['-c', `${psql} -XAtc 'select current_user'`], env)
    assert.equal(stdout, 'ada@example.com\n', `${psql}: ${stderr}`)
  }
})

test('the URL verifies a gateway in full, and node-postgres takes it as it is', async (t) => {
  const stateDir = join(await temporaryFolder(t), 'a state, 100%')
  const gateway = { localTls: 'auto', localAuth: 'databricks', stateDir } as const
  const { daemon } = await proxyBefore(t, emulator, gateway)
  const { uri } = daemon.status().targets[0]!.connect
  assert.match(uri, /sslmode=verify-full&sslrootcert=/)
  const logIn = (connectionString: string) => {
    const withPassword = connectionString.replace('@', `:${demoUser.pat}@`)
    const client = new pg.Client({ connectionString: withPassword })
    return client.connect().then(() => client.end())
  }
  await logIn(uri)
  const other = uri.replace(/&sslrootcert=.*/, '')
  await assert.rejects(logIn(other), /self-signed certificate|unable to verify/)
})

test('lines are right for odd names, addresses and databases', () => {
  const odd = {
    host: '::1',
    port: 1,
    database: "it's $HOME",
    user: 'a b@c',
    userMatters: true,
    sslmode: 'verify-full',
    sslrootcert: '/my state/ca.pem',
  } as const
  const { psql, uri, jdbc, sqlalchemy, dbeaver, fields } = connectionLines(odd)
  assert.equal(
    psql,
    `psql -h ::1 -p 1 -U 'a b@c' -d 'dbname='\\''it\\'\\''s $HOME'\\'' sslmode=verify-full sslrootcert='\\''/my state/ca.pem'\\'''`,
  )
  const tls = 'sslmode=verify-full&sslrootcert=%2Fmy%20state%2Fca.pem'
  const inForm = tls.replace('%20', '+')
  assert.equal(jdbc, `jdbc:postgresql://[::1]:1/it's%20%24HOME?user=a+b%40c&${inForm}`)
  assert.equal(sqlalchemy, `postgresql+psycopg://a%20b%40c@[::1]:1/it's%20%24HOME?${tls}`)
  assert.equal(uri, `postgresql://a%20b%40c@[::1]:1/it's%20%24HOME?${tls}`)
  assert.deepEqual(fields, {
    ...{ host: '::1', port: '1', database: "it's $HOME", username: 'a b@c' },
  })
  assert.match(dbeaver, /^dbeaver -con '.*\|user=a b@c\|/)
  assert.match(dbeaver, /\|prop.sslmode=verify-full\|prop.sslrootcert=\/my state\/ca.pem'$/)
})

/** Server-sent events, by name. */
async function openEvents(
  t: TestContext,
  adminUrl: string,
): Promise<{ next(name: string): Promise<string> }> {
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    const request = http.get(`${adminUrl}/events`, { agent: false }, resolve)
    request.on('error', reject)
  })
  assert.equal(response.headers['content-type'], 'text/event-stream')
  response.on('error', () => {}) // closed with the proxy
  t.after(() => response.destroy())
  const chunks = response.setEncoding('utf8')[Symbol.asyncIterator]()
  let text = ''
  return {
    async next(name) {
      for (;;) {
        const found = new RegExp(`event: ${name}\ndata: (.*)\n\n`).exec(text)
        if (found !== null) {
          text = text.replace(found[0], '')
          return found[1]!
        }
        text += (await chunks.next()).value
      }
    },
  }
}

async function untilSession(
  status: () => { sessions: readonly SessionStatus[] },
  matches: (session: SessionStatus) => boolean,
): Promise<SessionStatus> {
  for (;;) {
    const found = status().sessions.find(matches)
    if (found !== undefined) return found
    await settle()
  }
}
