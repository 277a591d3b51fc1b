/** The wire to the workspace: what is tried again and what is final, and where a token never goes. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'

import { type CertifiedPair, issueCertificate, makeAuthority } from '../src/core/certificates.js'
import { FakeClock, settle } from './support/fake-clock.js'
import { recordedLog } from './support/recorded-log.js'
import {
  connectTo,
  neverAborted,
  type Script,
  type ScriptedReply,
  ScriptedWorkspace,
} from './support/scripted-workspace.js'

const ME: ScriptedReply = { body: { userName: 'ada@example.com' } }

/** Answers each request with the next of `replies`, the last one for ever. */
function inTurn(...replies: (ScriptedReply | 'reset' | 'silence')[]): Script {
  let at = 0
  return () => replies[Math.min(at++, replies.length - 1)] as ScriptedReply
}

for (const [what, first] of [
  ['429', { status: 429, headers: { 'retry-after': '0' } }],
  ['503', { status: 503, headers: { 'retry-after': '0' } }],
  ['500', { status: 500 }],
  ['502 with a web page', { status: 502, body: '<html>bad gateway</html>' }],
  ['504', { status: 504 }],
  ['a lost connection', 'reset'],
] as const) {
  test(`${what} is tried again`, async (t) => {
    const server = await ScriptedWorkspace.start(t, inTurn(first, first, ME))
    const workspace = await connectTo(t, server.host)
    assert.equal(await workspace.identity(neverAborted), 'ada@example.com')
    assert.equal(server.requests.length, 3)
  })
}

for (const [status, kind, text] of [
  [400, 'identity', /could not ask who is signed in: told so/],
  [401, 'identity', /does not accept the sign-in: told so/],
  [403, 'identity', /not allowed to ask who is signed in: told so/],
  [404, 'target', /could not ask who is signed in: told so/],
  [501, 'identity', /told so/],
] as const) {
  test(`${status} is final, and says why`, async (t) => {
    const body = { error_code: 'X', message: 'told\nso' }
    const server = await ScriptedWorkspace.start(t, () => ({ status, body }))
    const workspace = await connectTo(t, server.host)
    await assert.rejects(workspace.identity(neverAborted), { kind, message: text })
    assert.equal(server.requests.length, 1)
  })
}

test('a refused personal access token leads to where a new one is made', async (t) => {
  const server = await ScriptedWorkspace.start(t, () => ({ status: 401 }))
  const workspace = await connectTo(t, server.host)
  await assert.rejects(workspace.identity(neverAborted), {
    hint: /DATABRICKS_TOKEN.*make a new one/,
  })
})

test('Retry-After is waited for, in seconds and as a date', async (t) => {
  const clock = new FakeClock()
  const date = 'Sun, 01 Mar 2026 12:00:00 GMT'
  const inFive = 'Sun, 01 Mar 2026 12:00:05 GMT'
  const server = await ScriptedWorkspace.start(
    t,
    inTurn(
      { status: 429, headers: { 'retry-after': '7' } },
      { status: 503, headers: { date, 'retry-after': inFive } },
      ME,
    ),
  )
  const log = recordedLog()
  const workspace = await connectTo(t, server.host, { clock, log })
  const asking = workspace.identity(neverAborted)
  await log.seen(({ facts }) => facts.attempt === 1)
  await clock.advance(6_999)
  assert.equal(server.requests.length, 1)
  await clock.advance(1)
  await log.seen(({ facts }) => facts.attempt === 2)
  await clock.advance(4_999)
  assert.equal(server.requests.length, 2)
  await clock.advance(1)
  assert.equal(await asking, 'ada@example.com')
})

test('a Retry-After beyond the budget is not waited for', async (t) => {
  const server = await ScriptedWorkspace.start(t, () => ({
    status: 429,
    headers: { 'retry-after': '3600' },
    body: { error_code: 'REQUEST_LIMIT_EXCEEDED', message: 'slow down' },
  }))
  const workspace = await connectTo(t, server.host)
  await assert.rejects(workspace.identity(neverAborted), {
    message: /limits the rate of requests: slow down/,
  })
  assert.equal(server.requests.length, 1)
})

test('an outage ends with the budget, and says what it was', async (t) => {
  const server = await ScriptedWorkspace.start(t, () => ({
    status: 500,
    body: { error_code: 'INTERNAL_ERROR', message: 'out of order' },
  }))
  const clock = new FakeClock()
  const workspace = await connectTo(t, server.host, { clock, budgetMs: 5000 })
  const ended = assert.rejects(workspace.identity(neverAborted), { message: /out of order/ })
  while (server.requests.length < 3) await settle()
  await clock.advance(5000)
  await ended
})

test('a workspace that never answers is asked again, and given up in time', async (t) => {
  const clock = new FakeClock()
  const server = await ScriptedWorkspace.start(t, inTurn('silence'))
  const options = { clock, attemptMs: 1000, budgetMs: 2500 }
  const workspace = await connectTo(t, server.host, options)
  const asking = workspace.identity(neverAborted)
  asking.catch(() => {})
  for (const requests of [1, 2, 3]) {
    while (server.requests.length < requests) await settle()
    await clock.advance(1000)
  }
  await assert.rejects(asking, { kind: 'credential', message: /did not answer within/ })
})

test('a caller who leaves ends the request, with its own reason', async (t) => {
  const server = await ScriptedWorkspace.start(t, inTurn('silence'))
  const workspace = await connectTo(t, server.host)
  const leaving = new AbortController()
  const asking = workspace.identity(leaving.signal)
  while (server.requests.length === 0) await settle()
  leaving.abort(new Error('gone'))
  await assert.rejects(asking, { message: 'gone' })
})

test('closing ends what is under way, also between two tries', async (t) => {
  const log = recordedLog()
  const server = await ScriptedWorkspace.start(t, () => ({
    status: 429,
    headers: { 'retry-after': '20' },
  }))
  const workspace = await connectTo(t, server.host, { log })
  const ended = assert.rejects(workspace.identity(neverAborted), { kind: 'stopping' })
  await log.seen(({ facts }) => facts.attempt === 1)
  await workspace.close()
  await ended
  await workspace.close()
})

test('a workspace that is not there is an error that names it', async (t) => {
  const server = await ScriptedWorkspace.start(t)
  const { host } = server
  await server.stop()
  await assert.rejects(untilGivenUp(t, host), {
    kind: 'credential',
    message: `could not reach ${new URL(host).host}: connect ECONNREFUSED ${new URL(host).host}`,
  })
})

test('a redirect on the same host is followed, the method and the body kept', async (t) => {
  const server = await ScriptedWorkspace.start(t, ({ path }) =>
    path === '/moved'
      ? { body: { token: 'tok', expiration_time: '2099-01-01T00:00:00Z' } }
      : { status: 308, headers: { location: '/moved' } },
  )
  const workspace = await connectTo(t, server.host)
  const database = await workspace.mintCredential(
    {
      kind: 'provisioned',
      name: 'i',
      uid: undefined,
      readWriteHost: undefined,
      readOnlyHost: undefined,
      state: 'available',
      apiState: 'AVAILABLE',
      branchCreatedAt: undefined,
    },
    {},
    neverAborted,
  )
  assert.equal(database.token.reveal(), 'tok')
  const [first, second] = server.requests
  assert.deepEqual([second!.method, second!.body], ['POST', first!.body])
})

test('a redirect to another host is not followed: no token goes there', async (t) => {
  const stranger = await ScriptedWorkspace.start(t, () => ME)
  const server = await ScriptedWorkspace.start(t, () => ({
    status: 302,
    headers: { location: `${stranger.host}/login` },
  }))
  const workspace = await connectTo(t, server.host)
  await assert.rejects(workspace.identity(neverAborted), {
    message: `could not ask who is signed in: ${server.host} redirects to ${stranger.host}`,
    hint: `If that is your workspace, set DATABRICKS_HOST=${stranger.host}.`,
  })
  assert.equal(stranger.requests.length, 0)
})

test('a redirect that leads in a circle ends', async (t) => {
  const server = await ScriptedWorkspace.start(t, () => ({
    status: 307,
    headers: { location: '/round' },
  }))
  const workspace = await connectTo(t, server.host)
  await assert.rejects(workspace.identity(neverAborted), { message: /redirects to/ })
  assert.ok(server.requests.length < 10)
})

for (const [what, body, text] of [
  [
    'a web page',
    '<!doctype html><title>Sign in</title>',
    /sent a web page where JSON was expected/,
  ],
  ['garbage', 'oops', /sent something else where JSON was expected/],
  ['JSON of another form', { hello: 1 }, /unexpected reply/],
  ['nothing', '', /unexpected reply/],
] as const) {
  test(`${what} in place of an answer is an error that names the host`, async (t) => {
    const server = await ScriptedWorkspace.start(t, () => ({ body }))
    const workspace = await connectTo(t, server.host)
    await assert.rejects(
      workspace.identity(neverAborted),
      (error: Error & { hint?: string; detail?: string }) => {
        assert.match(error.message, text)
        assert.ok([error.message, error.detail, error.hint].join().includes(server.host))
        return true
      },
    )
  })
}

test('a reply without end is cut off', async (t) => {
  const server = await ScriptedWorkspace.start(t, () => ({ body: ' '.repeat(9 * 1024 * 1024) }))
  const workspace = await connectTo(t, server.host)
  await assert.rejects(workspace.identity(neverAborted), { message: /larger than/ })
})

test('an error that repeats a token is told without it', async (t) => {
  const message =
    'token dapi0123456789abcdef0123456789abcdef and eyJhbGciOi.eyJzdWIiOi.c2ln are bad'
  const server = await ScriptedWorkspace.start(t, () => ({ status: 403, body: { message } }))
  const workspace = await connectTo(t, server.host)
  await assert.rejects(workspace.identity(neverAborted), {
    message: 'not allowed to ask who is signed in: token [redacted] and [redacted] are bad',
  })
})

test('a token that no header can hold is refused at once, and not repeated', async (t) => {
  const server = await ScriptedWorkspace.start(t, () => ME)
  for (const token of ['sesame\nline two', 'sesame…', 'ses\u0007ame']) {
    const env = { DATABRICKS_HOST: server.host, DATABRICKS_TOKEN: token }
    const workspace = await connectTo(t, server.host, { env })
    await assert.rejects(workspace.identity(neverAborted), (error: Error) => {
      assert.match(error.message, /^the header authorization for 127\.0\.0\.1:\d+ cannot be sent$/)
      assert.doesNotMatch(JSON.stringify(error), /ses/)
      return true
    })
  }
  assert.equal(server.requests.length, 0)
  const env = { DATABRICKS_HOST: server.host, DATABRICKS_TOKEN: 'sesame\r\n' }
  const trimmed = await connectTo(t, server.host, { env })
  assert.equal(await trimmed.identity(neverAborted), 'ada@example.com')
})

const LIFE = { now: Date.now(), days: 1 }

test('a certificate that cannot be verified is refused before a token is sent', async (t) => {
  const authority = await makeAuthority('unknown', LIFE)
  const { port, seen } = await tlsServer(
    t,
    await issueCertificate(authority, { hosts: ['localhost'], addresses: [] }, LIFE),
  )
  const workspace = await connectTo(t, `https://localhost:${port}`)
  await assert.rejects(workspace.identity(neverAborted), {
    kind: 'credential',
    message: /the certificate of localhost:\d+ could not be verified/,
    hint: /NODE_EXTRA_CA_CERTS/,
  })
  assert.equal(seen.length, 0)
})

test('NODE_EXTRA_CA_CERTS and HTTPS_PROXY lead to a verified workspace behind both', async (t) => {
  const name = 'dbc-1.example.invalid'
  const authority = await makeAuthority('company', LIFE)
  const { port } = await tlsServer(
    t,
    await issueCertificate(authority, { hosts: [name], addresses: [] }, LIFE),
  )
  const proxy = await tunnelProxy(t, port)
  const folder = await mkdtemp(path.join(tmpdir(), 'lakebase-proxy-test-'))
  t.after(() => rm(folder, { recursive: true }))
  await writeFile(path.join(folder, 'ca.pem'), authority.cert)
  const module = new URL('../src/databricks/lakebase/connect-workspace.js', import.meta.url)
  // In a process of its own, for Node reads NODE_EXTRA_CA_CERTS when it starts.
  const script = `
    const { openWorkspace } = await import(${JSON.stringify(module.href)})
    const clock = { now: Date.now, monotonic: () => performance.now(), after: (ms, fn) => { const t = setTimeout(fn, ms); return () => clearTimeout(t) } }
    const quiet = { debug() {}, warn() {} }
    for (const host of ['${name}', 'wrong.example.invalid']) {
      const env = { DATABRICKS_HOST: host, DATABRICKS_TOKEN: 'x', HTTPS_PROXY: '${proxy.url}' }
      const workspace = await openWorkspace({ env, programEnv: env, homeDir: '/', version: '0', clock, log: quiet })
      console.log(await workspace.identity(new AbortController().signal).catch((error) => error.message))
      await workspace.close()
    }`
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--eval', script],
    { env: { NODE_EXTRA_CA_CERTS: path.join(folder, 'ca.pem') }, timeout: 20_000 },
  )
  const [first, second] = stdout.trim().split('\n')
  assert.equal(first, 'ada@example.com')
  assert.match(second!, /the certificate of wrong\.example\.invalid could not be verified/)
  assert.deepEqual(
    proxy.seen.map(({ url }) => url),
    [`${name}:443`, 'wrong.example.invalid:443'],
  )
})

test('HTTPS_PROXY is used, by either spelling, and sees no token', async (t) => {
  for (const variable of ['HTTPS_PROXY', 'https_proxy']) {
    const proxy = await tunnelProxy(t)
    const env = { DATABRICKS_TOKEN: 'sesame', [variable]: proxy.url }
    await assert.rejects(untilGivenUp(t, 'https://dbc-1.example.invalid', env), {
      kind: 'credential',
    })
    assert.equal(proxy.seen[0]?.url, 'dbc-1.example.invalid:443')
    assert.doesNotMatch(JSON.stringify(proxy.seen[0]?.rawHeaders), /sesame/)
  }
})

test('HTTPS_PROXY may leave out the scheme, and wins where the other spelling is empty', async (t) => {
  const proxy = await tunnelProxy(t)
  const address = proxy.url.replace('http://', '')
  const env = { DATABRICKS_TOKEN: 'sesame', HTTPS_PROXY: address, https_proxy: '' }
  await assert.rejects(untilGivenUp(t, 'https://dbc-1.example.invalid', env), {
    kind: 'credential',
  })
  assert.equal(proxy.seen[0]?.url, 'dbc-1.example.invalid:443')
})

test('an HTTPS_PROXY that is not an address is refused, and its password not repeated', async (t) => {
  for (const HTTPS_PROXY of ['http://me:100%sesame@proxy:1', 'ftp://me:sesame@proxy', 'a b']) {
    const env = { DATABRICKS_HOST: 'https://dbc-1.example.invalid', DATABRICKS_TOKEN: 'x' }
    await assert.rejects(
      connectTo(t, 'unused', { env: { ...env, HTTPS_PROXY } }),
      (error: Error & { kind?: string }) => {
        assert.equal(error.kind, 'config')
        assert.match(error.message, /^HTTPS_PROXY is not the address of a proxy$/)
        assert.equal(error.cause, undefined)
        return true
      },
    )
  }
})

const NO_TUNNEL: readonly [what: string, act: (socket: net.Socket) => void, message: RegExp][] = [
  [
    'closes a CONNECT unanswered',
    (socket) => socket.end(),
    /did not open a connection: other side/,
  ],
  ['resets a CONNECT', (socket) => socket.resetAndDestroy(), /did not open a connection: .*RESET/],
  ['answers no HTTP', (socket) => socket.end('SSH-2.0-x\r\n'), /did not open a connection: /],
  ['refuses', (socket) => socket.end('HTTP/1.1 403 No\r\n\r\n'), /refused.*HTTP status 403/],
  ['is overloaded', (socket) => socket.end('HTTP/1.1 503 No\r\n\r\n'), /refused.*status 503/],
  [
    'wants a password',
    (socket) => socket.end('HTTP/1.1 407 Who\r\n\r\n'),
    /asks for a user name and password/,
  ],
  ['closes after 200', (socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n'), /could not reach dbc-1/],
  [
    'resets after 200',
    (socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n', () => socket.resetAndDestroy())
    },
    /could not reach dbc-1/,
  ],
]

for (const [what, act, message] of NO_TUNNEL) {
  test(`a proxy that ${what} gets one connection a try, and the error says so`, async (t) => {
    const proxy = await rawProxy(t, act)
    const env = { DATABRICKS_TOKEN: 'x', HTTPS_PROXY: proxy.url }
    await assert.rejects(untilGivenUp(t, 'https://dbc-1.example.invalid', env), {
      kind: 'credential',
      message,
    })
    // Dialling again without a pause would happen in the next turns of the event loop.
    for (let turn = 0; turn < 50; turn += 1) await settle()
    assert.ok(proxy.connections.length <= 2, `${proxy.connections.length} connections`)
  })
}

test('a proxy that does not answer a CONNECT is left when its time is over', async (t) => {
  const clock = new FakeClock()
  const proxy = await rawProxy(t, () => {})
  const workspace = await connectTo(t, 'unused', {
    clock,
    budgetMs: 1_500,
    attemptMs: 1_000,
    env: {
      DATABRICKS_HOST: 'https://dbc-1.example.invalid',
      DATABRICKS_TOKEN: 'x',
      HTTPS_PROXY: proxy.url,
    },
  })
  const asking = workspace.identity(neverAborted)
  asking.catch(() => {})
  for (const connections of [1, 2]) {
    while (proxy.asked < connections) await settle()
    await clock.advance(900)
  }
  await assert.rejects(asking, { message: /the proxy .* did not open a connection: no answer/ })
  while (proxy.connections.some((socket) => !socket.destroyed)) await settle()
  assert.equal(proxy.connections.length, 2)
})

test('a workspace that closes TLS at once gets one connection a try', async (t) => {
  const server = await rawProxy(t, (socket) => socket.destroy())
  await assert.rejects(untilGivenUp(t, server.url.replace('http:', 'https:')), {
    kind: 'credential',
    message: /could not reach 127\.0\.0\.1/,
  })
  for (let turn = 0; turn < 50; turn += 1) await settle()
  assert.ok(server.connections.length <= 2, `${server.connections.length} connections`)
})

test('a SOCKS proxy is refused by name, unless NO_PROXY exempts the workspace', async (t) => {
  for (const scheme of ['socks', 'socks5', 'socks5h', 'socks4']) {
    const HTTPS_PROXY = `${scheme}://me:sesame@127.0.0.1:1`
    const env = { DATABRICKS_TOKEN: 'x', HTTPS_PROXY }
    await assert.rejects(untilGivenUp(t, 'https://dbc-1.example.invalid', env), {
      kind: 'config',
      message: 'HTTPS_PROXY names a SOCKS proxy, which is not supported',
      hint: /NO_PROXY/,
    })
    const past = { ...env, NO_PROXY: 'dbc-1.example.invalid' }
    await assert.rejects(untilGivenUp(t, 'https://dbc-1.example.invalid', past), {
      message: /could not find the host|could not reach/,
    })
  }
})

test('HTTP_PROXY and ALL_PROXY are not for HTTPS, as in the Databricks CLI', async (t) => {
  const proxy = await tunnelProxy(t)
  const env = { DATABRICKS_TOKEN: 'x', HTTP_PROXY: proxy.url, ALL_PROXY: 'socks5://127.0.0.1:1' }
  await assert.rejects(untilGivenUp(t, 'https://dbc-1.example.invalid', env), {
    kind: 'credential',
  })
  assert.equal(proxy.seen.length, 0)
})

test('NO_PROXY and hosts on this machine go past the proxy', async (t) => {
  const proxy = await tunnelProxy(t)
  const server = await ScriptedWorkspace.start(t, () => ME)
  const local = await connectTo(t, server.host, {
    env: { DATABRICKS_HOST: server.host, DATABRICKS_TOKEN: 'x', HTTPS_PROXY: proxy.url },
  })
  assert.equal(await local.identity(neverAborted), 'ada@example.com')
  const env = { DATABRICKS_TOKEN: 'x', HTTPS_PROXY: proxy.url, NO_PROXY: '.example.invalid' }
  await assert.rejects(untilGivenUp(t, 'https://dbc-1.example.invalid', env), {
    kind: 'credential',
  })
  assert.equal(proxy.seen.length, 0)
})

test('the id of a workspace on a shared host goes with each request', async (t) => {
  const server = await ScriptedWorkspace.start(t, () => ME)
  const workspace = await connectTo(t, server.host, {
    env: { DATABRICKS_HOST: server.host, DATABRICKS_TOKEN: 'x', DATABRICKS_WORKSPACE_ID: '42' },
  })
  await workspace.identity(neverAborted)
  assert.equal(server.requests[0]!.headers['x-databricks-workspace-id'], '42')
})

for (const [where, id, env] of [
  ['?o=', '42', { DATABRICKS_HOST: 'HOST/?o=42' }],
  ['?w=', '42', { DATABRICKS_HOST: 'HOST?w=42' }],
  ['?workspace_id=', '42', { DATABRICKS_HOST: 'HOST/sql?a=acc&workspace_id=42#x' }],
  ['a variable over the URL', '7', { DATABRICKS_HOST: 'HOST/?o=42', DATABRICKS_WORKSPACE_ID: '7' }],
  ['"none"', undefined, { DATABRICKS_HOST: 'HOST', DATABRICKS_WORKSPACE_ID: 'none' }],
  [
    '"none" over the URL',
    undefined,
    { DATABRICKS_HOST: 'HOST/?o=1', DATABRICKS_WORKSPACE_ID: 'none' },
  ],
] as const) {
  test(`the workspace id is ${id}: ${where}`, async (t) => {
    const server = await ScriptedWorkspace.start(t, () => ME)
    const DATABRICKS_HOST = env.DATABRICKS_HOST.replace('HOST', server.host)
    const workspace = await connectTo(t, server.host, {
      env: { ...env, DATABRICKS_HOST, DATABRICKS_TOKEN: 'x' },
    })
    await workspace.identity(neverAborted)
    assert.equal(server.requests[0]!.headers['x-databricks-workspace-id'], id)
  })
}

test('doctor learns how far the clocks are apart', async (t) => {
  const clock = new FakeClock()
  const server = await ScriptedWorkspace.start(t, () => ({
    headers: { date: new Date(7_200_000).toUTCString() },
  }))
  const workspace = await connectTo(t, server.host, { clock })
  const { clockDifferenceMs } = await workspace.reach(neverAborted)
  assert.equal(clockDifferenceMs, 7_200_000)
  assert.equal(server.requests[0]!.headers.authorization, undefined)
})

/** Asks who is signed in, and lets the budget run out after the first try. */
async function untilGivenUp(
  t: TestContext,
  host: string,
  env: Record<string, string> = { DATABRICKS_TOKEN: 'x' },
): Promise<void> {
  const clock = new FakeClock()
  const log = recordedLog()
  const options = { clock, log, env: { DATABRICKS_HOST: host, ...env } }
  const workspace = await connectTo(t, host, options)
  const asking = workspace.identity(neverAborted)
  const over = asking.catch(() => {})
  await Promise.race([log.seen(({ facts }) => facts.attempt === 1), over])
  await clock.advance(30_000)
  await asking
}

/** A proxy that notes each CONNECT; it leads to `port` of this machine, or is refused. */
async function tunnelProxy(
  t: TestContext,
  port?: number,
): Promise<{ url: string; seen: IncomingMessage[] }> {
  const seen: IncomingMessage[] = []
  const server = http.createServer()
  server.on('connect', (request, socket) => {
    seen.push(request)
    socket.on('error', () => {})
    if (port === undefined) return socket.end('HTTP/1.1 403 Forbidden\r\n\r\n')
    const onward = net.connect(port, '127.0.0.1')
    onward.on('error', () => socket.destroy())
    socket.write('HTTP/1.1 200 OK\r\n\r\n')
    socket.pipe(onward).pipe(socket)
    t.after(() => onward.destroy())
  })
  return { url: `http://127.0.0.1:${await listen(t, server)}`, seen }
}

/** A proxy that is sent a whole request, then does `act`. */
async function rawProxy(
  t: TestContext,
  act: (socket: net.Socket) => void,
): Promise<{ url: string; connections: net.Socket[]; asked: number }> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const seen = { url: `http://127.0.0.1:${port}`, connections: [] as net.Socket[], asked: 0 }
  server.on('connection', (socket) => {
    seen.connections.push(socket)
    socket.on('error', () => {})
    socket.once('data', () => {
      seen.asked += 1
      act(socket)
    })
  })
  t.after(() => {
    for (const socket of seen.connections) socket.destroy()
    server.close()
  })
  return seen
}

async function tlsServer(
  t: TestContext,
  certificate: CertifiedPair,
): Promise<{ port: number; seen: IncomingMessage[] }> {
  const seen: IncomingMessage[] = []
  const server = https.createServer({ ...certificate }, (request, response) => {
    seen.push(request)
    response.end(JSON.stringify(ME.body))
  })
  return { port: await listen(t, server), seen }
}

async function listen(t: TestContext, server: http.Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}
