/** `doctor` against every kind of breakage: each ends in the one line that names cause and fix. */

import assert from 'node:assert/strict'
import net from 'node:net'
import { beforeEach, test } from 'node:test'

import type { StepResult } from '../src/commands/doctor/report.js'
import { servicePrincipal } from '../src/emulator/inventory.js'
import { cli, cliHere, startCli } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { freePort } from './support/http.js'
import { userWithoutRole } from './support/identities.js'
import { proxyBefore } from './support/proxy.js'

const emulator = await emulatorForTests()
const { control } = emulator
// A port of our own, so that nothing else on this machine is found there.
const PORT = await freePort()
const ENDPOINT = 'projects/demo/branches/production/endpoints/primary'

beforeEach(() => {
  control.clockSkewMs = 0
})

async function doctor(target: string, env: Record<string, string> = {}, ...flags: string[]) {
  const args = ['doctor', target, '--json', '--no-admin', '--port', `${PORT}`, ...flags]
  const { code, stdout, stderr } = await cliHere(args, { env: { ...emulator.env, ...env } })
  const steps = (stdout === '' ? [] : JSON.parse(stdout)) as StepResult[]
  const of = (outcome: string): StepResult[] => steps.filter((step) => step.outcome === outcome)
  return { code, stderr, steps, failed: of('failed'), warnings: of('warning') }
}

test('where all is well every step is ok, and the exit code is 0', async () => {
  const { code, steps } = await doctor('demo-instance')
  assert.deepEqual(
    steps.map(({ step, outcome }) => [step, outcome]),
    [
      'settings',
      'sign-in',
      'workspace',
      'identity',
      'target',
      'credential',
      'DNS',
      'TCP',
      'TLS',
      'login',
      'query',
      'local port',
    ].map((step) => [step, 'ok']),
  )
  assert.equal(code, 0)
  const text = JSON.stringify(steps)
  assert.match(text, /PostgreSQL 15/)
  assert.ok(!text.includes(emulator.env.DATABRICKS_TOKEN!), 'a token is never shown')
})

test('a person reads a short line a step, and the verdict last', async () => {
  const env = { ...emulator.env, LAKEBASE_PROXY_DATABASE: 'databricks_postgres' }
  const { stdout, code } = await cli(['doctor', ENDPOINT, '--port', `${PORT}`], env)
  assert.equal(code, 0)
  const lines = stdout.trimEnd().split('\n')
  const steps = lines.filter((line) => /^ok {7}[A-Za-z -]+ {2}.*\(\d+ ms\)$/.test(line))
  assert.equal(steps.length, 12, stdout)
  for (const line of lines.slice(0, -1)) assert.ok(line.length <= 100, line)
  assert.match(lines[0]!, /settings +\d set; --verbose shows which and where/)
  assert.equal(
    lines.at(-1),
    `All good. Connect with: lakebase-proxy exec ${ENDPOINT} --port ${PORT} -- psql`,
  )
})

test('--verbose shows every setting and where it was set', async () => {
  const { stdout } = await cliHere(['doctor', 'demo-instance', '--verbose', '--port', `${PORT}`], {
    env: { ...emulator.env },
  })
  assert.match(stdout.replace(/\s+/g, ' '), new RegExp(`port=${PORT} \\(--port\\)`))
  assert.match(stdout, /host from DATABRICKS_HOST/)
})

test('a failure is one step, those that need it are one line, and the verdict says it again', async () => {
  const { stdout, code } = await cliHere(['doctor', 'demo-instance'], {
    env: { ...emulator.env, DATABRICKS_TOKEN: 'dapi-wrong' },
  })
  assert.equal(code, 1)
  assert.match(stdout, /\nfailed {3}identity +.*\n(?: +[^→\n]*\n)? +→ /)
  assert.match(stdout, /\nskipped {2}target, credential: not signed in\n/)
  assert.match(stdout, /\n\n1 problem: identity: .*does not accept the sign-in.*\n$/)
  for (const line of stdout.split('\n')) assert.ok(line.length <= 100, line)
})

test('a workspace that does not answer is asked once, and the rest is skipped', async () => {
  const env = { ...emulator.env, DATABRICKS_HOST: 'http://127.0.0.1:1' }
  const { code, steps, failed } = await doctor('demo-instance', env)
  assert.equal(code, 1)
  assert.deepEqual(
    failed.map(({ step }) => step),
    ['workspace'],
  )
  const skipped = steps.filter(({ outcome }) => outcome === 'skipped').map(({ step }) => step)
  assert.deepEqual(skipped.slice(0, 3), ['identity', 'target', 'credential'])
  // Once: a second try would be answered.
  control.failApi('me', { status: 503, errorCode: 'BUSY', message: 'busy' }, 1)
  const busy = await doctor('demo-instance')
  assert.equal(busy.failed[0]?.step, 'identity')
})

test('without a target the sign-in is checked and the rest is skipped', async () => {
  const { stdout, code } = await cliHere(['doctor'], { env: { ...emulator.env } })
  assert.equal(code, 0)
  assert.match(stdout, /\nok {7}identity +signed in as ada@example\.com by pat/)
  assert.match(stdout, /\nskipped {2}target, .*: no target is named\n/)
  assert.match(stdout, /\n\nAll good: the sign-in works\. .*lakebase-proxy doctor TARGET\n$/)
})

test('several wrong settings are a line each, with a line for its hint', async () => {
  const args = ['doctor', 'demo-instance?prot=1', '--sslmode', 'maybe', '--port', 'x']
  const { code, stdout } = await cliHere(args, { env: { ...emulator.env } })
  assert.equal(code, 2)
  assert.match(stdout, /^failed {3}settings +3 settings are wrong \(/)
  for (const flag of ['sslmode', 'port']) {
    assert.match(stdout, new RegExp(`\\n {23}--${flag}: ${flag} `), stdout)
  }
  assert.match(stdout, /\n {23}TARGET "demo-instance" has .*\n {23}→ Did you mean "port"\?\n/)
  assert.match(stdout, /\n1 problem: settings: 3 settings are wrong\n$/)
})

test('a role that --user names and that does not exist is probably a wrong --user', async () => {
  const { failed } = await doctor('demo-instance', {}, '--user', 'stranger')
  assert.match(failed[0]!.text, /role "stranger" does not exist/)
  const hint =
    'Check --user stranger; the identity is ada@example.com (--user identity). Create it '
  assert.ok(failed[0]!.fix?.startsWith(hint), failed[0]!.fix)
})

test('wrong settings are a failed step, and exit code 2', async () => {
  const env = { ...emulator.env, LAKEBASE_PROXY_PORT: 'x' }
  const { stdout, code } = await cliHere(['doctor', 'demo-instance'], { env })
  assert.equal(code, 2)
  assert.match(stdout, /^failed {3}settings +LAKEBASE_PROXY_PORT: port must be /)
  assert.match(stdout, /\n1 problem: settings: .*\n$/)
})

test('the life of a token is told in a unit that fits', async (t) => {
  const { tokenTtlMs } = control.behaviour
  t.after(() => {
    control.behaviour.tokenTtlMs = tokenTtlMs
  })
  const told = async (ttlMs: number): Promise<string | undefined> => {
    control.behaviour.tokenTtlMs = ttlMs
    const { steps } = await doctor('demo-instance')
    return steps.find(({ step }) => step === 'credential')?.text
  }
  assert.match((await told(3_600_000))!, /lives 60 min/)
  assert.match((await told(30_000))!, /lives (29|30) s/)
})

const broken: [
  what: string,
  run: () => ReturnType<typeof doctor>,
  step: string,
  cause: RegExp,
  fix: RegExp,
][] = [
  [
    'no host',
    () => doctor('demo-instance', { DATABRICKS_HOST: '' }),
    'sign-in',
    /host/i,
    /DATABRICKS_HOST/,
  ],
  [
    'a wrong personal access token',
    () => doctor('demo-instance', { DATABRICKS_TOKEN: 'dapi-wrong' }),
    'identity',
    /does not accept the sign-in/,
    /make a new one/,
  ],
  [
    'a wrong client secret',
    () =>
      doctor('demo-instance', {
        DATABRICKS_TOKEN: '',
        DATABRICKS_CLIENT_ID: servicePrincipal.userName,
        DATABRICKS_CLIENT_SECRET: 'wrong',
      }),
    'identity',
    /client/i,
    /secret/i,
  ],
  [
    'an expired workspace token',
    () => {
      control.failApi('me', {
        status: 401,
        errorCode: 'UNAUTHENTICATED',
        message: 'Token is expired',
      })
      return doctor('demo-instance')
    },
    'identity',
    /expired/,
    /make a new one/,
  ],
  [
    'an unknown target',
    () => doctor('demo-instanec'),
    'target',
    /"demo-instanec" does not exist/,
    /demo-instance/,
  ],
  [
    'a stopped instance',
    () => doctor('stopped-instance'),
    'target',
    /STOPPED/,
    /instances start stopped-instance/,
  ],
  [
    'an instance that has no host yet',
    async () => {
      const instance = control.instance('second-instance') as { readWriteHost: string | undefined }
      const { readWriteHost } = instance
      instance.readWriteHost = undefined
      const result = await doctor('second-instance')
      instance.readWriteHost = readWriteHost
      return result
    },
    'target',
    /"second-instance" has no host yet/,
    /try again in a minute/,
  ],
  [
    'DNS that is dead',
    () => doctor('demo-instance', { LAKEBASE_PROXY_RESOLVER: '127.0.0.1:1' }),
    'DNS',
    /could not translate host name/,
    /--hostaddr/,
  ],
  [
    'a closed port',
    () => doctor('demo-instance', { LAKEBASE_PROXY_UPSTREAM_PORT: '1' }),
    'TCP',
    /Connection refused/,
    /network|VPN/,
  ],
  [
    'a certificate for another name',
    async () => {
      await control.showCertificate('wrong-name')
      const result = await doctor('demo-instance')
      await control.showCertificate('right')
      return result
    },
    'TLS',
    /does not match host name/,
    /name/,
  ],
  [
    'a role that does not exist',
    () => doctor(ENDPOINT, { DATABRICKS_TOKEN: userWithoutRole.pat! }),
    'login',
    /role "nora@example\.com" does not exist/,
    /databricks_create_role/,
  ],
]

for (const [what, run, step, cause, fix] of broken) {
  test(`${what}: one line fails, names it, and says what to type`, async () => {
    const { code, failed, stderr } = await run()
    assert.equal(code, 1, stderr)
    assert.equal(failed.length, 1, JSON.stringify(failed))
    assert.equal(failed[0]!.step, step)
    assert.match(failed[0]!.text, cause)
    assert.match(failed[0]!.fix ?? '', fix)
  })
}

test('where the roles are not ours to see, a refused login is joined by a warning that says so', async () => {
  control.failApi('roles', { status: 403, errorCode: 'PERMISSION_DENIED', message: 'no' })
  const { code, failed, warnings } = await doctor(ENDPOINT, {
    DATABRICKS_TOKEN: userWithoutRole.pat!,
  })
  assert.equal(code, 1)
  assert.deepEqual(
    failed.map(({ step }) => step),
    ['login'],
  )
  assert.deepEqual(
    warnings.map(({ step, fix }) => [step, fix]),
    [['roles', 'Ask an administrator whether there is a role "nora@example.com".']],
  )
})

test('a clock two hours off is a warning with its fix, and the rest works all the same', async () => {
  control.clockSkewMs = 2 * 3600_000
  const { code, warnings } = await doctor('demo-instance')
  assert.equal(code, 0)
  assert.deepEqual(
    warnings.map(({ step }) => step),
    ['workspace'],
  )
  assert.match(warnings[0]!.text, /clocks differ by 7(199|200|201) s/)
  assert.match(warnings[0]!.fix ?? '', /timedatectl/)
})

test('with hostaddr DNS is skipped', async () => {
  const { code, steps } = await doctor('demo-instance', {}, '--hostaddr', '127.0.0.1')
  assert.equal(code, 0)
  assert.equal(steps.find(({ step }) => step === 'DNS')?.outcome, 'skipped')
})

test('a static URL needs no workspace', async () => {
  const host = control.instance('demo-instance').readWriteHost
  const { code, steps } = await doctor(`postgresql://app:app-password@${host}/databricks_postgres`)
  assert.equal(code, 0, JSON.stringify(steps))
  assert.equal(steps.find(({ step }) => step === 'workspace')?.outcome, 'skipped')
  assert.equal(steps.find(({ step }) => step === 'query')?.outcome, 'ok')
})

test('a local port that another program holds is a failure that names a free one', async () => {
  const server = net.createServer().listen(PORT, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { failed } = await doctor('demo-instance')
  server.close()
  assert.equal(failed.length, 1)
  assert.match(failed[0]!.text, new RegExp(`port ${PORT} on 127.0.0.1 is in use`))
  assert.match(failed[0]!.fix ?? '', /--port \d+ is free/)
})

test('a local port that a proxy of this user holds is a warning, wherever its admin port is', async (t) => {
  const args = ['demo-instance', '--port', `${PORT}`, '--no-admin']
  const proxy = startCli(t, args, { env: { ...emulator.env } })
  await proxy.saw(/"listening"/)
  const { code, warnings } = await doctor('demo-instance')
  assert.equal(code, 0)
  assert.match(warnings[0]?.text ?? '', /held by a lakebase-proxy that runs: demo-instance \(pid/)
  const { stdout } = await cliHere(['doctor', 'demo-instance', '--port', `${PORT}`], {
    env: { ...emulator.env },
  })
  assert.match(stdout, new RegExp(`\n\nAll good. Connect with: psql -h localhost -p ${PORT} .*\n$`))
  proxy.kill('SIGTERM')
  await proxy.done
})

test('a local port that a running lakebase-proxy holds is a warning', async (t) => {
  const { daemon, port } = await proxyBefore(t, emulator, { adminPort: 0 })
  const adminPort = new URL(daemon.adminUrl!).port
  const args = ['doctor', 'demo-instance', '--json', '--port', `${port}`, '--admin-port', adminPort]
  const { code, stdout } = await cliHere(args, { env: { ...emulator.env } })
  const last = (JSON.parse(stdout) as StepResult[]).at(-1)
  assert.equal(code, 0)
  assert.deepEqual([last?.step, last?.outcome], ['local port', 'warning'])
  assert.match(last?.text ?? '', /held by a lakebase-proxy/)
})
