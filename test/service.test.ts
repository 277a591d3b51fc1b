/**
 * `service install` and `uninstall` on a home of their own: what is written is read by systemd's
 * own checker and by a property list parser, and nothing stays behind. The service managers
 * themselves are not started here: `run` stands for systemctl and launchctl.
 */

import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { type TestContext, test } from 'node:test'

import fc from 'fast-check'
import { parse } from 'plist'
import { z } from 'zod'

import {
  installService,
  type ProgramResult,
  runProgram,
  type ServiceMachine,
  serviceStatus,
  uninstallService,
} from '../src/commands/service/service.js'
import type { InstallOptions } from '../src/commands/service/spec.js'
import { launchdAgent, type ServiceSpec, systemdUnit } from '../src/commands/service/unit.js'
import { settingsFromOptions } from '../src/config/resolve/options.js'
import { ProxyError } from '../src/core/errors.js'

// What systemd, XML or a shell would read as their own.
// biome-ignore lint/suspicious/noTemplateCurlyInString: it is systemd's, not ours
const HOSTILE = 'a b %h "q" \'s\' $HOME ${PATH} \\n;é'

const settings: InstallOptions['settings'] = {
  targets: [],
  admin: { address: '127.0.0.1', port: 9090, portIsDefault: true, host: undefined },
  drainDelayMs: 0,
  drainTimeoutMs: 30_000,
}

interface Given {
  readonly platform?: string
  readonly environment?: ServiceMachine['env']
  readonly command?: readonly string[]
  readonly run?: ServiceMachine['run']
}

function setUp(context: TestContext, given: Given = {}) {
  const home = mkdtempSync(join(tmpdir(), 'service-'))
  context.after(() => rmSync(home, { recursive: true }))
  const ran: string[] = []
  const printed: string[] = []
  const notices: string[] = []
  const platform = (given.platform ?? 'linux') as NodeJS.Platform
  const whole: ServiceMachine = {
    machine: { cwd: home, homeDir: home, hostname: 'here', platform, isTerminal: false },
    uid: 501,
    env: given.environment ?? {},
    command: given.command ?? [process.execPath, '/opt/lakebase-proxy/main.js'],
    run:
      given.run ??
      (async (program, args) => {
        ran.push([program, ...args].join(' '))
        return { exitCode: 0, stdout: '', stderr: '' }
      }),
    stdout: writerTo(printed),
    stderr: writerTo(notices),
  }
  return { home, machine: whole, ran, printed, notices }
}

function writerTo(texts: string[]): Writable {
  return new Writable({
    decodeStrings: false,
    write(text: string, _, done) {
      texts.push(text)
      done()
    },
  })
}

function specWith(command: readonly string[], args: readonly string[], home: string): ServiceSpec {
  return {
    command,
    args,
    waitArgs: ['wait', '--timeout', '30s'],
    environment: { LAKEBASE_PROXY_DATABASE: HOSTILE, PATH: '/usr/bin' },
    workingDirectory: home,
    stopTimeoutMs: 40_000,
  }
}

test('systemd accepts the unit, with any characters in its paths, arguments and values', (context) => {
  if (spawnSync('systemd-analyze', ['--version']).error !== undefined) {
    context.skip('systemd-analyze is not here: install the package systemd')
    return
  }
  const { home } = setUp(context)
  const directory = join(home, HOSTILE)
  mkdirSync(directory)
  // The checker looks whether the program is there, so a path that is wrongly quoted shows.
  const node = join(home, 'a b %h $HOME;é')
  symlinkSync(process.execPath, node)
  const file = join(home, 'lakebase-proxy.service')
  writeFileSync(
    file,
    systemdUnit(specWith([node, '/opt/main.js'], [HOSTILE, '--quiet'], directory)),
  )
  const { status, stderr } = spawnSync('systemd-analyze', ['--user', 'verify', file], {
    encoding: 'utf8',
    env: { ...process.env, XDG_RUNTIME_DIR: home },
  })
  const about = stderr.split('\n').filter((line) => line.includes('lakebase-proxy.service'))
  assert.deepEqual([status, about], [0, []])
})

test('a unit gives each argument back as it was', () => {
  const word = fc.string({ unit: 'binary', maxLength: 12 }).filter((text) => !text.includes('\0'))
  fc.assert(
    fc.property(fc.array(word), (args) => {
      const unit = systemdUnit(specWith(['/usr/bin/node', '/opt/main.js'], args, '/'))
      const line = /^ExecStart=:(.*)$/m.exec(unit)?.[1] ?? ''
      assert.deepEqual(systemdWords(line), ['/usr/bin/node', '/opt/main.js', 'start', ...args])
    }),
  )
})

/** As systemd.syntax(7) and systemd.unit(5) say a command line is read, for what we write. */
function systemdWords(line: string): string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/gsu)].map(([, quoted, plain]) =>
    (quoted ?? plain ?? '')
      .replace(/\\(?:x([0-9a-f]{2})|(.))/gsu, (_, hex?: string, character?: string) =>
        hex === undefined ? (character ?? '') : String.fromCharCode(Number.parseInt(hex, 16)),
      )
      .replaceAll('%%', '%'),
  )
}

test('the unit starts before it waits, and restarts after a failure but not after wrong usage', () => {
  const unit = systemdUnit(specWith(['/usr/bin/node', '/opt/main.js'], ['my-instance'], '/srv'))
  for (const line of [
    'Type=exec',
    'ExecStart=:/usr/bin/node /opt/main.js start my-instance',
    'ExecStartPost=-:/usr/bin/node /opt/main.js wait --timeout 30s',
    'WorkingDirectory=/srv',
    'Restart=on-failure',
    'RestartPreventExitStatus=2',
    'TimeoutStopSec=40s',
    'WantedBy=default.target',
  ]) {
    assert.ok(unit.split('\n').includes(line), `${line} is missing`)
  }
})

// launchd.plist(5): the keys we use, with the types launchd wants; any other key is an error here.
const AGENT = z.strictObject({
  Label: z.literal('lakebase-proxy'),
  ProgramArguments: z.array(z.string()).min(3),
  WorkingDirectory: z.string().startsWith('/'),
  EnvironmentVariables: z.record(z.string(), z.string()),
  RunAtLoad: z.literal(true),
  KeepAlive: z.strictObject({ SuccessfulExit: z.literal(false) }),
  ThrottleInterval: z.int(),
  ExitTimeOut: z.int().min(30),
  Umask: z.literal(0o077),
  StandardOutPath: z.string().endsWith('.log'),
  StandardErrorPath: z.string().endsWith('.log'),
})

test('a launchd agent is a property list that gives back what was put in', () => {
  const hostile = `${HOSTILE} <key>&amp;\r\n]]>`
  const spec = specWith(['/opt/a b/node', '/opt/main.js'], [hostile], `/Users/${HOSTILE}`)
  const agent = AGENT.parse(parse(launchdAgent({ ...spec, logFile: '/tmp/a&b.log' })))
  assert.deepEqual(agent.ProgramArguments, ['/opt/a b/node', '/opt/main.js', 'start', hostile])
  assert.equal(agent.WorkingDirectory, `/Users/${HOSTILE}`)
  assert.equal(agent.EnvironmentVariables.LAKEBASE_PROXY_DATABASE, HOSTILE)
  assert.equal(agent.StandardErrorPath, '/tmp/a&b.log')
})

test('what a format cannot hold is refused', () => {
  const node = ['/usr/bin/node', '/opt/main.js']
  assert.throws(() => systemdUnit(specWith(node, ['a\0b'], '/')), ProxyError)
  assert.throws(
    () => systemdUnit(specWith(["/opt/it's/node", '/opt/main.js'], [], '/')),
    ProxyError,
  )
  assert.throws(() => systemdUnit(specWith(node, [], '/srv/a\nExecStart=b')), ProxyError)
  const agent = { ...specWith(node, ['\u0007'], '/'), logFile: '/tmp/a.log' }
  assert.throws(() => launchdAgent(agent), ProxyError)
})

for (const platform of ['linux', 'darwin']) {
  test(`on ${platform}, uninstall leaves nothing of what install wrote`, async (context) => {
    const { home, machine, ran } = setUp(context, { platform })
    const options = { args: ['my-instance'], settings, printOnly: false }
    mkdirSync(join(home, 'Library', 'LaunchAgents'), { recursive: true })
    mkdirSync(join(home, '.config'))
    const before = readdirSync(home, { recursive: true }).sort()

    assert.equal(await installService(options, machine), 0)
    // Twice, as one does to change a setting.
    assert.equal(await installService(options, machine), 0)
    const file = readdirSync(home, { recursive: true, encoding: 'utf8' }).find((name) =>
      /lakebase-proxy\.(service|plist)$/.test(name),
    )
    assert.ok(file !== undefined)
    assert.equal(statSync(join(home, file)).mode & 0o777, 0o600)
    assert.match(readFileSync(join(home, file), 'utf8'), /my-instance/)
    assert.match(ran.at(-1) ?? '', /systemctl --user restart|launchctl bootstrap gui\/501/)

    assert.equal(await uninstallService(machine), 0)
    assert.deepEqual(readdirSync(home, { recursive: true }).sort(), before)
    assert.ok(ran.some((line) => /disable --now|bootout/.test(line)))
  })
}

test('--print writes to stdout only', async (context) => {
  const { home, machine, ran, printed } = setUp(context)
  await installService({ args: ['my-instance'], settings, printOnly: true }, machine)
  assert.match(printed.join(''), /^\[Unit\]/)
  assert.deepEqual([readdirSync(home), ran], [[], []])
})

test('the default admin port is pinned, so that wait asks the proxy that was started', async (context) => {
  const { machine, printed } = setUp(context)
  await installService({ args: ['my-instance'], settings, printOnly: true }, machine)
  const wait = 'wait --timeout 30s --admin-address 127.0.0.1 --admin-port 9090'
  assert.match(printed.join(''), /^ExecStart=.* start my-instance --admin-port 9090$/m)
  assert.match(printed.join(''), new RegExp(`^ExecStartPost=.* ${wait}$`, 'm'))
})

test('without an admin port nothing waits', async (context) => {
  const { machine, printed } = setUp(context)
  const without = { ...settings, admin: undefined }
  await installService({ args: ['a', '--no-admin'], settings: without, printOnly: true }, machine)
  assert.doesNotMatch(printed.join(''), /ExecStartPost/)
})

test('variables go into the service, but no secret does, and the user is told', async (context) => {
  const { machine, printed, notices } = setUp(context, {
    environment: {
      DATABRICKS_HOST: 'https://example.cloud.databricks.com',
      DATABRICKS_TOKEN: 'dapi-secret',
      DATABRICKS_CLIENT_SECRET: 'dose-secret',
      LAKEBASE_PROXY_PORT: '6000',
      LAKEBASE_PROXY_LOCAL_PASSWORD: 'local-secret',
      LAKEBASE_PG_URL: 'postgresql://me:url-secret@db.example.com/x',
      HTTPS_PROXY: 'http://me:proxy-secret@proxy:8080',
      https_proxy: 'me:proxy-secret@proxy:8080',
      HTTP_PROXY: 'http://proxy-secret@proxy:8080',
      LAKEBASE_PROXY_TARGETS: 'a postgresql://db.example.com/x?user=me&pass%77ord=query-secret',
      LAKEBASE_ENDPOINT: '',
      UNRELATED: 'x',
    },
  })
  await installService({ args: ['my-instance'], settings, printOnly: true }, machine)
  const unit = printed.join('')
  assert.match(unit, /^Environment=DATABRICKS_HOST=https:\/\/example.cloud.databricks.com$/m)
  assert.match(unit, /^Environment=LAKEBASE_PROXY_PORT=6000$/m)
  assert.doesNotMatch(unit + notices.join(''), /secret|UNRELATED|LAKEBASE_ENDPOINT/)
  assert.match(
    notices.join(''),
    /DATABRICKS_CLIENT_SECRET, DATABRICKS_TOKEN, HTTPS_PROXY, HTTP_PROXY, LAKEBASE_PG_URL, LAKEBASE_PROXY_LOCAL_PASSWORD, LAKEBASE_PROXY_TARGETS, https_proxy/,
  )
})

test('with a profile for every target, the sign-in of the shell stays out of the unit', async (context) => {
  const environment = {
    DATABRICKS_HOST: 'https://other.cloud.databricks.com',
    DATABRICKS_CONFIG_FILE: '/home/me/profiles',
  }
  const unitOf = async (...targets: string[]): Promise<string> => {
    const { machine, printed, notices } = setUp(context, { environment })
    const options = {
      settings: { ...settings, ...settingsFromOptions({ targets }, {}), admin: settings.admin },
      ...{ args: [], printOnly: true },
    }
    await installService(options, machine)
    return [...printed, ...notices].join('\n')
  }
  const unit = await unitOf('dev-db?profile=dev', 'postgresql://ada:pass@db.example/shop')
  assert.doesNotMatch(unit, /other\.cloud/)
  assert.match(unit, /DATABRICKS_CONFIG_FILE=/)
  assert.match(unit, /where the profile says it: DATABRICKS_HOST/)
  assert.match(await unitOf('dev-db?profile=dev', 'other-db'), /DATABRICKS_HOST=https:\/\/other/)
})

test('install says how the service stays when the user logs out', async (context) => {
  const { machine, notices } = setUp(context)
  await installService({ args: ['my-instance'], settings, printOnly: false }, machine)
  assert.match(notices.join('\n'), /stops when you log out; .*loginctl enable-linger/)
})

for (const { reason, machine, args, message } of [
  { reason: 'on Windows', machine: { platform: 'win32' }, args: [], message: /Windows/ },
  {
    reason: "from npx's cache",
    machine: { command: ['/usr/bin/node', '/home/me/.npm/_npx/1/node_modules/x/main.js'] },
    args: [],
    message: /npx/,
  },
  {
    reason: 'with a password among the arguments',
    machine: {},
    args: ['postgresql://me:hunter2@db.example.com/x'],
    message: /^(?!.*hunter2).*password/,
  },
  ...[
    'postgresql://me@db.example.com/x?password=hunter2',
    'postgresql://db.example.com/x?user=me&pass%77ord=hunter2',
    'host=db.example.com password=hunter2',
  ].map((text) => ({
    reason: `with a password in ${text.replace('hunter2', '…')}`,
    machine: {},
    args: ['--targets', `my-instance ${text}`],
    message: /^(?!.*hunter2).*password/,
  })),
]) {
  test(`install is refused ${reason}, with nothing written`, async (context) => {
    const { home, machine: whole, ran } = setUp(context, machine)
    await assert.rejects(installService({ args, settings, printOnly: false }, whole), (error) => {
      assert.ok(error instanceof ProxyError && error.hint !== undefined)
      assert.match(error.message, message)
      return error.kind === 'config'
    })
    assert.deepEqual([readdirSync(home), ran], [[], []])
  })
}

test('a manager that refuses is reported with its own words', async (context) => {
  const { machine, notices } = setUp(context, {
    run: async () => ({ exitCode: 1, stdout: '', stderr: 'Failed to connect to bus\n' }),
  })
  assert.equal(await installService({ args: [], settings, printOnly: false }, machine), 1)
  assert.match(notices.join('\n'), /Failed to connect to bus/)
})

test('uninstall of what is not installed says so and succeeds', async (context) => {
  const { machine, notices } = setUp(context, {
    run: async () => ({ exitCode: 1, stdout: '', stderr: 'does not exist' }),
  })
  assert.equal(await uninstallService(machine), 0)
  assert.match(notices.join('\n'), /not installed/)
})

test('status tells running from stopped and from not installed, for both managers', async (context) => {
  const show = (load: string, active: string) =>
    `LoadState=${load}\nActiveState=${active}\nSubState=x\nMainPID=42\nExecMainStatus=1\nNRestarts=3\n`
  const answer = (stdout: string, exitCode = 0): Promise<ProgramResult> =>
    Promise.resolve({ exitCode, stdout, stderr: '' })
  for (const { platform, run, exitCode, output } of [
    {
      platform: 'linux',
      run: () => answer(show('loaded', 'active')),
      exitCode: 0,
      output: /active.*pid 42/,
    },
    {
      platform: 'linux',
      run: () => answer(show('loaded', 'failed')),
      exitCode: 1,
      output: /failed.*exit code 1.*restarts: 3/,
    },
    {
      platform: 'linux',
      run: () => answer(show('not-found', 'inactive')),
      exitCode: 1,
      output: /not installed/,
    },
    {
      platform: 'darwin',
      run: () => answer('\tstate = running\n\tpid = 7\n'),
      exitCode: 0,
      output: /running, pid 7/,
    },
    { platform: 'darwin', run: () => answer('', 113), exitCode: 1, output: /not installed/ },
  ]) {
    const { machine, printed } = setUp(context, { platform, run })
    assert.equal(await serviceStatus(machine), exitCode)
    assert.match(printed.join(''), output)
  }
})

test('a program that is missing, fails or succeeds is a result each time', async () => {
  assert.equal((await runProgram('/nonexistent/systemctl', [])).exitCode, 127)
  assert.equal((await runProgram(process.execPath, ['-e', 'process.exit(5)'])).exitCode, 5)
  const version = execFileSync(process.execPath, ['--version'], { encoding: 'utf8' })
  const result = await runProgram(process.execPath, ['--version'])
  assert.deepEqual(result, { exitCode: 0, stdout: version, stderr: '' })
})
