/** Workspace tokens: asked for once however many wait, refreshed ahead, kept while that fails. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, open, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import { LinkedAbort } from '../src/core/deadline.js'
import type { ConnectedWorkspace } from '../src/databricks/lakebase/connect-workspace.js'
import { type CommandResult, commandRunner } from '../src/databricks/sign-in/run-command.js'
import { FakeClock, settle } from './support/fake-clock.js'
import { FakePrograms } from './support/fake-programs.js'
import { temporaryFolder } from './support/proxy.js'
import { recordedLog } from './support/recorded-log.js'
import {
  connectTo,
  neverAborted,
  type ScriptedReply,
  ScriptedWorkspace,
  type SeenRequest,
} from './support/scripted-workspace.js'

const MINUTE = 60_000

interface Office {
  readonly server: ScriptedWorkspace
  readonly workspace: ConnectedWorkspace
  readonly clock: FakeClock
  readonly log: ReturnType<typeof recordedLog>
  /** Tokens handed out so far. */
  issued(): number
  /** In place of the next tokens. */
  failWith(reply: ScriptedReply | undefined): void
}

/** A service principal whose tokens live an hour and are called t1, t2, …; Me answers with them. */
async function office(t: TestContext, onApiCall?: (token: string) => ScriptedReply | undefined) {
  let issued = 0
  let failure: ScriptedReply | undefined
  const server = await ScriptedWorkspace.start(t, (request) => {
    if (request.path === '/oidc/v1/token') {
      if (failure !== undefined) return failure
      issued += 1
      const access_token = `t${issued}`
      return { body: { access_token, token_type: 'Bearer', expires_in: 3600 } }
    }
    if (request.path.startsWith('/oidc/')) return discovery(request)
    const token = String(request.headers.authorization).replace('Bearer ', '')
    return onApiCall?.(token) ?? { body: { userName: token } }
  })
  const clock = new FakeClock()
  const log = recordedLog()
  const workspace = await connectTo(t, server.host, {
    clock,
    log,
    budgetMs: 5000,
    env: {
      DATABRICKS_HOST: server.host,
      DATABRICKS_CLIENT_ID: 'app',
      DATABRICKS_CLIENT_SECRET: 'sesame-1',
    },
  })
  const result: Office = {
    server,
    workspace,
    clock,
    log,
    issued: () => issued,
    failWith: (reply) => {
      failure = reply
    },
  }
  return result
}

function discovery(request: SeenRequest): ScriptedReply {
  const issuer = `http://${request.headers.host}/oidc`
  return { body: { issuer, token_endpoint: `${issuer}/v1/token` } }
}

test('a hundred callers at once sign in once', async (t) => {
  const { workspace, server } = await office(t)
  const names = await Promise.all(
    Array.from({ length: 100 }, () => workspace.identity(neverAborted)),
  )
  assert.deepEqual([...new Set(names)], ['t1'])
  assert.equal(server.requests.filter(({ path }) => path === '/oidc/v1/token').length, 1)
})

test('one caller who leaves does not end the sign-in for the others', async (t) => {
  const { workspace } = await office(t)
  const leaving = new LinkedAbort()
  const left = assert.rejects(workspace.identity(leaving.signal), /gone/)
  const stayed = workspace.identity(neverAborted)
  leaving.abort(new Error('gone'))
  await left
  assert.equal(await stayed, 't1')
})

test('a token is kept for 40 minutes of its hour, then replaced in the background', async (t) => {
  const { workspace, clock, issued } = await office(t)
  await workspace.identity(neverAborted)
  await clock.advance(39 * MINUTE)
  assert.deepEqual([await workspace.identity(neverAborted), issued()], ['t1', 1])
  await clock.advance(2 * MINUTE)
  assert.equal(await workspace.identity(neverAborted), 't1')
  while (issued() < 2) await settle()
  while ((await workspace.identity(neverAborted)) === 't1') await settle()
  assert.deepEqual([await workspace.identity(neverAborted), issued()], ['t2', 2])
})

test('the good token is used while its refresh fails, and asked about once a minute', async (t) => {
  const { workspace, clock, log, failWith, server } = await office(t)
  await workspace.identity(neverAborted)
  await clock.advance(41 * MINUTE)
  failWith({ status: 400, body: { error: 'temporarily_unavailable' } })
  const asked = (): number => server.requests.filter(({ path }) => path === '/oidc/v1/token').length
  assert.equal(await workspace.identity(neverAborted), 't1')
  await log.seen(
    ({ message }) => message === 'could not refresh the workspace token ahead of expiry',
  )
  for (let call = 0; call < 5; call += 1) assert.equal(await workspace.identity(neverAborted), 't1')
  assert.equal(asked(), 2)
  failWith(undefined)
  await clock.advance(MINUTE)
  while ((await workspace.identity(neverAborted)) === 't1') await settle()
  assert.equal(asked(), 3)
})

test('after a night asleep the expired token is not used', async (t) => {
  const { workspace, clock } = await office(t)
  await workspace.identity(neverAborted)
  clock.sleep(600 * MINUTE)
  assert.equal(await workspace.identity(neverAborted), 't2')
})

test('the caller gets the error of a failed sign-in, and the next caller tries again', async (t) => {
  const { workspace, failWith } = await office(t)
  failWith({ status: 401, body: { error: 'invalid_client', error_description: 'wrong secret' } })
  await assert.rejects(workspace.identity(neverAborted), {
    kind: 'identity',
    message: /refused the client secret of app: wrong secret/,
  })
  failWith(undefined)
  assert.equal(await workspace.identity(neverAborted), 't1')
})

test('a token that the workspace refuses is replaced once, and no more', async (t) => {
  const { workspace, issued } = await office(t, (token) =>
    token === 't1' ? { status: 401, body: { message: 'revoked' } } : undefined,
  )
  assert.equal(await workspace.identity(neverAborted), 't2')
  assert.equal(issued(), 2)
})

test('when every token is refused, fifty callers cost one forced sign-in', async (t) => {
  const { workspace, clock, issued } = await office(t, () => ({
    status: 401,
    body: { message: 'no' },
  }))
  for (let call = 0; call < 50; call += 1) {
    await assert.rejects(workspace.identity(neverAborted), { kind: 'identity' })
  }
  assert.equal(issued(), 2)
  await clock.advance(MINUTE)
  await assert.rejects(workspace.identity(neverAborted), { kind: 'identity' })
  assert.equal(issued(), 3)
})

test('after the clock was set back, a token that is refused is replaced all the same', async (t) => {
  const { workspace, clock, issued } = await office(t, (token) =>
    ['t1', 't2'].includes(token) ? { status: 401, body: { message: 'revoked' } } : undefined,
  )
  await assert.rejects(workspace.identity(neverAborted), { kind: 'identity' })
  clock.set(-60 * MINUTE)
  await clock.advance(MINUTE)
  assert.equal(await workspace.identity(neverAborted), 't3')
  assert.equal(issued(), 3)
})

test('a personal access token that is refused is not sent twice', async (t) => {
  const server = await ScriptedWorkspace.start(t, () => ({ status: 401 }))
  const workspace = await connectTo(t, server.host)
  await assert.rejects(workspace.identity(neverAborted), { kind: 'identity' })
  assert.equal(server.requests.length, 1)
})

test('an ID token in a file is read again at each refresh', async (t) => {
  const seen: (string | null)[] = []
  const server = await ScriptedWorkspace.start(t, (request) => {
    if (request.path === '/oidc/v1/token') {
      seen.push(new URLSearchParams(request.body).get('subject_token'))
      return { body: { access_token: 'x', token_type: 'Bearer', expires_in: 600 } }
    }
    if (request.path.startsWith('/oidc/')) return discovery(request)
    return { body: { userName: 'app' } }
  })
  const { folder } = await FakePrograms.create(t)
  await writeFile(`${folder}/jwt`, 'first')
  const clock = new FakeClock()
  const workspace = await connectTo(t, server.host, {
    clock,
    env: { DATABRICKS_HOST: server.host, DATABRICKS_OIDC_TOKEN_FILEPATH: `${folder}/jwt` },
  })
  await workspace.identity(neverAborted)
  await writeFile(`${folder}/jwt`, 'second')
  await clock.advance(11 * MINUTE)
  await workspace.identity(neverAborted)
  assert.deepEqual(seen, ['first', 'second'])
})

test('once a way of signing in has worked, it is kept', async (t) => {
  const server = await ScriptedWorkspace.start(t, ({ headers }) => ({
    body: { userName: String(headers.authorization) },
  }))
  const calls: string[] = []
  let loggedIn = false
  const clock = new FakeClock()
  const workspace = await connectTo(t, server.host, {
    clock,
    env: { DATABRICKS_HOST: server.host, DATABRICKS_AZURE_RESOURCE_ID: '/subscriptions/s/x' },
    run: async (command, args) => {
      calls.push(command)
      if (command === 'az') {
        const token = { accessToken: 'az-token', expires_on: clock.now() / 1000 + 3600 }
        return { exitCode: 0, stdout: JSON.stringify(token), stderr: '' }
      }
      if (args[0] === 'version') return { exitCode: 0, stdout: 'Databricks CLI v1.0.0', stderr: '' }
      return loggedIn
        ? { exitCode: 0, stdout: '{"access_token":"cli-token"}', stderr: '' }
        : { exitCode: 1, stdout: '', stderr: 'not logged in' }
    },
  })
  assert.equal(await workspace.identity(neverAborted), 'Bearer az-token')
  loggedIn = true
  await clock.advance(61 * MINUTE)
  calls.length = 0
  assert.equal(await workspace.identity(neverAborted), 'Bearer az-token')
  assert.deepEqual([...new Set(calls)], ['az'])
})

test('on a host that serves an account, the issuer is found through the host metadata', async (t) => {
  const server = await ScriptedWorkspace.start(t, (request) => {
    const origin = `http://${request.headers.host}`
    const account = `${origin}/oidc/accounts/acc-1`
    switch (request.path) {
      case '/.well-known/databricks-config':
        return { body: { oidc_endpoint: `${origin}/oidc/accounts/{account_id}` } }
      case '/oidc/accounts/acc-1/.well-known/oauth-authorization-server':
        return { body: { issuer: account, token_endpoint: `${account}/v1/token` } }
      case '/oidc/accounts/acc-1/v1/token':
        return { body: { access_token: 'acc', token_type: 'Bearer', expires_in: 3600 } }
      case '/api/2.0/preview/scim/v2/Me':
        return { body: { userName: 'app' } }
      default:
        return undefined
    }
  })
  const workspace = await connectTo(t, server.host, {
    env: {
      DATABRICKS_HOST: server.host,
      DATABRICKS_ACCOUNT_ID: 'acc-1',
      DATABRICKS_CLIENT_ID: 'app',
      DATABRICKS_CLIENT_SECRET: 'x',
    },
  })
  assert.equal(await workspace.identity(neverAborted), 'app')
})

test('a host that is not a workspace is refused with that reason', async (t) => {
  const server = await ScriptedWorkspace.start(t, () => ({
    headers: { 'content-type': 'text/html' },
    body: '<html>hello</html>',
  }))
  const workspace = await connectTo(t, server.host, {
    env: { DATABRICKS_HOST: server.host, DATABRICKS_CLIENT_ID: 'a', DATABRICKS_CLIENT_SECRET: 'b' },
  })
  await assert.rejects(workspace.identity(neverAborted), {
    message: /does not describe its OAuth endpoints/,
    hint: 'Check that DATABRICKS_HOST names a Databricks workspace.',
  })
})

test('a token endpoint in plaintext on another machine is refused', async (t) => {
  const server = await ScriptedWorkspace.start(t, ({ headers }) => ({
    body: {
      issuer: `http://${headers.host}/oidc`,
      token_endpoint: 'http://elsewhere.example/v1/token',
    },
  }))
  const workspace = await connectTo(t, server.host, {
    env: { DATABRICKS_HOST: server.host, DATABRICKS_CLIENT_ID: 'a', DATABRICKS_CLIENT_SECRET: 'b' },
  })
  await assert.rejects(workspace.identity(neverAborted), { kind: 'credential', message: /HTTPS/ })
})

test('doctor is told where each setting came from, and no secret', async (t) => {
  const { folder, write } = await FakePrograms.create(t).then((programs) => ({
    folder: programs.folder,
    write: programs.write.bind(programs),
  }))
  await write('.databrickscfg', '[dev]\nhost = http://127.0.0.1:1\ntoken = sesame-file\n')
  const log = recordedLog()
  const workspace = await connectTo(t, 'unused', {
    log,
    homeDir: folder,
    profile: 'dev',
    env: { DATABRICKS_TOKEN: 'sesame-env' },
  })
  const description = workspace.describeSignIn()
  const file = `profile "dev" of ${folder}/.databrickscfg`
  assert.deepEqual(JSON.parse(JSON.stringify(description)), {
    host: 'http://127.0.0.1:1',
    type: 'pat',
    profile: 'dev',
    settings: [
      { name: 'token', value: '[redacted]', source: 'DATABRICKS_TOKEN' },
      { name: 'host', value: 'http://127.0.0.1:1', source: file },
    ],
  })
  assert.deepEqual(
    log.lines.map(({ level, message }) => [level, message]),
    [['warn', `DATABRICKS_TOKEN overrides token of ${file}`]],
  )
})

test('a CLI that hangs is named before the client gives up, and its late token is used', async (t) => {
  const server = await ScriptedWorkspace.start(t, (request) => ({
    body: { userName: String(request.headers.authorization) },
  }))
  const clock = new FakeClock()
  const answers: ((result: CommandResult) => void)[] = []
  const workspace = await connectTo(t, server.host, {
    clock,
    budgetMs: 9_000,
    env: { DATABRICKS_HOST: server.host },
    run: () => new Promise((resolve) => answers.push(resolve)),
  })
  const said = (stdout: string): CommandResult => ({ exitCode: 0, stdout, stderr: '' })
  const asking = assert.rejects(workspace.identity(neverAborted), {
    kind: 'credential',
    message: `the program "databricks auth token --host ${server.host}" did not answer in 9 s`,
    hint: /by hand/,
  })
  while (answers.length < 1) await settle()
  answers[0]!(said('Databricks CLI v0.296.0'))
  while (answers.length < 2) await settle()
  await clock.advance(9_000)
  await asking
  const next = workspace.identity(neverAborted)
  answers[1]!(said('{"access_token":"late","expiry":"2099-01-01T00:00:00Z"}'))
  assert.equal(await next, 'Bearer late')
  assert.equal(answers.length, 2)
})

// Node and cmd.exe look for a program in the working folder of the one to be started, then on the PATH.
test('a CLI is not started in the working folder, which may be a cloned repository', async () => {
  const homeDir = await realpath(tmpdir())
  const args = ['-p', 'process.cwd()']
  // A path is still one from the working folder.
  const relative = path.relative(process.cwd(), process.execPath)
  for (const platform of ['win32', 'linux', 'darwin'] as const) {
    const run = commandRunner({ programEnv: process.env, homeDir, platform })
    for (const name of ['node', relative]) {
      assert.equal((await run(name, args, neverAborted)).stdout.trim(), homeDir, platform)
    }
  }
  for (const notAFolder of [path.join(homeDir, 'gone'), process.execPath, '.', '']) {
    const run = commandRunner({ programEnv: process.env, homeDir: notAFolder, platform: 'linux' })
    assert.equal((await run('node', args, neverAborted)).stdout.trim(), '/', notAFolder)
  }
})

test('modules of a cloned repository are not those of an az that pip installed', async (t) => {
  const [clone, bin] = [await temporaryFolder(t), await temporaryFolder(t)]
  await mkdir(path.join(clone, 'azure', 'cli'), { recursive: true })
  await writeFile(path.join(clone, 'azure', '__init__.py'), '')
  await writeFile(path.join(clone, 'azure', 'cli', '__init__.py'), '')
  await writeFile(path.join(clone, 'azure', 'cli', '__main__.py'), 'print("the clone ran")')
  const az = '#!/bin/sh\nexec python3 -m azure.cli "$@"\n'
  await writeFile(path.join(bin, 'az'), az, { mode: 0o755 })
  const programEnv = { ...process.env, PATH: `${bin}${path.delimiter}${process.env.PATH}` }
  const before = process.cwd()
  process.chdir(clone)
  t.after(() => process.chdir(before))
  const run = commandRunner({ programEnv, homeDir: bin, platform: process.platform })
  const { exitCode, stdout } = await run('az', ['account', 'get-access-token'], neverAborted)
  assert.deepEqual([exitCode, stdout], [1, ''])
})

test('an ID token file that blocks ends a request at its limit, and the file is read again for the next', async (t) => {
  const server = await ScriptedWorkspace.start(t, ({ path: at }) => {
    if (at.includes('.well-known')) {
      return {
        body: { issuer: `${server.host}/oidc`, token_endpoint: `${server.host}/oidc/token` },
      }
    }
    if (at.endsWith('/oidc/token')) {
      return { body: { access_token: 'exchanged', token_type: 'Bearer', expires_in: 3600 } }
    }
    return { body: { userName: 'ada@example.com' } }
  })
  const file = path.join(await temporaryFolder(t), 'token')
  execFileSync('mkfifo', [file])
  const clock = new FakeClock()
  const env = {
    ...{
      DATABRICKS_HOST: server.host,
      DATABRICKS_CLIENT_ID: 'app',
      DATABRICKS_AUTH_TYPE: 'file-oidc',
    },
    DATABRICKS_OIDC_TOKEN_FILEPATH: file,
  }
  const workspace = await connectTo(t, server.host, { env, clock })
  const held = assert.rejects(workspace.identity(neverAborted), { kind: 'credential' })
  await clock.runUntil(held)
  await (await open(file, 'w')).close() // lets the reader of the FIFO go
  await rm(file)
  await writeFile(file, 'id-token')
  assert.equal(await workspace.identity(neverAborted), 'ada@example.com')
})
