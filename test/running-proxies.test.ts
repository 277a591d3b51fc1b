/**
 * `status`, `wait`, `shutdown` and `url` find the proxies of their user by themselves, by a file
 * that each leaves while it runs, and believe no file that another user or process may have left.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import http from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { hostname, userInfo } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import { Announcement } from '../src/commands/running/announcement.js'
import { runningProxies } from '../src/commands/running/running-proxies.js'
import { STOPPING } from '../src/observe/readiness.js'
import { cli, type RunningCli, startCli } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { type Ran, temporaryFolder } from './support/proxy.js'

const emulator = await emulatorForTests()

interface User {
  readonly runtime: string
  readonly folder: string
  run(...args: string[]): Promise<Ran>
  /** Resolves once it listens, with its port. */
  start(...args: string[]): Promise<{ proxy: RunningCli; port: string }>
}

/** With no proxy of any other test. */
async function newUser(t: TestContext): Promise<User> {
  const runtime = await temporaryFolder(t)
  const env = { ...emulator.env, XDG_RUNTIME_DIR: runtime }
  return {
    runtime,
    folder: join(runtime, 'lakebase-proxy'),
    run: (...args) => cli(args, { XDG_RUNTIME_DIR: runtime }, runtime),
    async start(...args) {
      const ports = ['--port', '0', '--admin-port', '0']
      const proxy = startCli(t, [...args, ...ports], { env })
      const [, port] = await proxy.saw(/"127\.0\.0\.1:(\d+)"[^\n]*"listening"/)
      return { proxy, port: port! }
    },
  }
}

function place({ runtime }: Pick<User, 'runtime'>) {
  return {
    env: { XDG_RUNTIME_DIR: runtime },
    uid: userInfo().uid,
    machine: {
      ...{ cwd: '/', homeDir: '/nonexistent', hostname: hostname() },
      ...{ platform: process.platform, isTerminal: false },
    },
  }
}

const ADDRESS = {
  host: 'localhost',
  port: 6000,
  database: 'shop',
  userMatters: false,
  sslmode: 'disable' as const,
}
const PROXY = {
  admin: 'http://127.0.0.1:1',
  targets: [{ name: 'a', address: { ...ADDRESS, user: undefined } }],
}

test('status shows every proxy of the user, wherever its ports are', async (t) => {
  const user = await newUser(t)
  const [a, b] = [await user.start('demo-instance'), await user.start('second-instance')]
  const { code, stdout, stderr } = await user.run('status')
  assert.deepEqual([code, stderr], [0, ''])
  assert.match(stdout, /^lakebase-proxy .*, pid \d+\n[\s\S]*\n\nlakebase-proxy .*, pid \d+\n/)
  assert.match(stdout, new RegExp(`\ndemo-instance: [\\s\\S]*127\\.0\\.0\\.1:${a.port}`))
  assert.match(stdout, new RegExp(`\nsecond-instance: [\\s\\S]*127\\.0\\.0\\.1:${b.port}`))
  const json = JSON.parse((await user.run('status', '--json')).stdout)
  assert.deepEqual(
    json.map((each: { targets: { name: string }[] }) => each.targets[0]!.name),
    ['demo-instance', 'second-instance'],
  )
  const one = await user.run('status', 'second-instance')
  assert.doesNotMatch(one.stdout, /demo-instance/)
})

test('a proxy that cannot be asked hides none of the others, nor keeps them running', async (t) => {
  const user = await newUser(t)
  const [a, b] = [await user.start('demo-instance'), await user.start('second-instance')]
  await user.start('projects/demo', '--no-admin')
  const { pid } = a.proxy.child
  a.proxy.child.kill('SIGSTOP')
  const { code, stdout } = await user.run('status')
  assert.equal(code, 1)
  assert.match(stdout, /lakebase-proxy without an answer: demo-instance at/)
  assert.ok(stdout.includes(`it goes on after: kill -CONT ${pid}.`), stdout)
  assert.match(stdout, new RegExp(`\nsecond-instance: [\\s\\S]*127\\.0\\.0\\.1:${b.port}`))
  assert.match(stdout, /lakebase-proxy without an admin port: projects\/demo at/)
  const json = JSON.parse((await user.run('status', '--json')).stdout)
  assert.deepEqual(
    json.map(({ error, targets }: { error?: string; targets: { name: string }[] }) => [
      targets[0]!.name,
      error,
    ]),
    [
      [
        'demo-instance',
        `lakebase-proxy (pid ${pid}) is silent at ${json[0].error?.split(' ').at(-1)}`,
      ],
      ['second-instance', undefined],
      ['projects/demo', 'the running proxy has no admin port to be asked at'],
    ],
  )
  const only = await user.run('status', 'demo-instance')
  assert.equal(only.code, 1)
  assert.match(only.stderr, /is silent at http/)
  const stopped = await user.run('shutdown', '--all')
  assert.equal(stopped.code, 1)
  assert.match(stopped.stderr, /lakebase-proxy has stopped\.[\s\S]*is silent at http/)
  assert.equal((await b.proxy.done).code, 0)
  a.proxy.child.kill('SIGCONT')
})

test('the file is for this user alone, and gone when the proxy has ended', async (t) => {
  const user = await newUser(t)
  const { proxy, port } = await user.start('demo-instance')
  const [name] = readdirSync(user.folder)
  assert.equal(statSync(user.folder).mode & 0o777, 0o700)
  assert.equal(statSync(join(user.folder, name!)).mode & 0o777, 0o600)
  const text = readFileSync(join(user.folder, name!), 'utf8')
  assert.ok(text.includes(port))
  assert.ok(!text.includes(emulator.env.DATABRICKS_TOKEN!))
  proxy.kill('SIGTERM')
  await proxy.done
  assert.deepEqual(readdirSync(user.folder), [])
  const { code, stderr } = await user.run('status', '--admin-port', '1')
  assert.deepEqual([code, /no lakebase-proxy answers/.test(stderr)], [1, true])
})

test('a proxy that was killed is not shown, and its file is cleaned up', async (t) => {
  const user = await newUser(t)
  const killed = await user.start('demo-instance')
  killed.proxy.child.kill('SIGKILL')
  await killed.proxy.done
  assert.equal(readdirSync(user.folder).length, 1)
  const { stdout } = await user.start('second-instance').then(() => user.run('status'))
  assert.doesNotMatch(stdout, /demo-instance/)
  assert.equal(readdirSync(user.folder).length, 1)
})

test('a number that another process has now is not the proxy', async (t) => {
  const user = await newUser(t)
  await Announcement.make(place(user), PROXY)
  assert.equal((await runningProxies(place(user))).length, 1)
  const file = join(user.folder, readdirSync(user.folder)[0]!)
  const written = JSON.parse(readFileSync(file, 'utf8'))
  const change = (process: object): void =>
    writeFileSync(file, JSON.stringify({ ...written, process: { ...written.process, ...process } }))
  change({ host: 'another-machine' })
  assert.deepEqual(await runningProxies(place(user)), [])
  assert.ok(existsSync(file), 'a home that is shared: the other machine cleans up')
  change({ start: '1' })
  assert.deepEqual(await runningProxies(place(user)), [])
  assert.ok(!existsSync(file))
})

test('a file that another user may have written is not believed', {
  skip: process.platform === 'win32' && 'Windows has no file modes',
}, async (t) => {
  const user = await newUser(t)
  await Announcement.make(place(user), PROXY)
  const file = join(user.folder, readdirSync(user.folder)[0]!)
  const believed = async (): Promise<number> => (await runningProxies(place(user))).length

  chmodSync(file, 0o666)
  assert.equal(await believed(), 0)
  chmodSync(file, 0o600)
  chmodSync(user.folder, 0o777)
  assert.equal(await believed(), 0)
  assert.equal(await Announcement.make(place(user), PROXY), undefined)
  chmodSync(user.folder, 0o700)
  assert.equal(await believed(), 1)

  renameSync(file, join(user.runtime, 'elsewhere.json'))
  symlinkSync(join(user.runtime, 'elsewhere.json'), file)
  assert.equal(await believed(), 0)
  const another = { ...place(user), uid: userInfo().uid + 1 }
  assert.equal((await runningProxies(another)).length, 0)
})

test('a runtime folder of another user is passed over for the state folder', async (t) => {
  const user = await newUser(t)
  const home = await temporaryFolder(t)
  chmodSync(user.runtime, 0o777)
  const there = place(user)
  const own = { ...there, machine: { ...there.machine, homeDir: home } }
  await Announcement.make(own, PROXY)
  assert.equal(readdirSync(join(home, '.local/state/lakebase-proxy/running')).length, 1)
  assert.equal((await runningProxies(own)).length, 1)
  assert.equal(await Announcement.make(there, PROXY), undefined, 'a home is not made')
})

test('files that are broken or huge are passed over', async (t) => {
  const user = await newUser(t)
  await Announcement.make(place(user), PROXY)
  for (const [name, text] of [
    ['1.json', '{'],
    ['2.json', '{"targets": 1}'],
    ['3.json', ' '.repeat(300_000)],
  ] as const) {
    writeFileSync(join(user.folder, name), text, { mode: 0o600 })
  }
  mkdirSync(join(user.folder, '4.json'), { mode: 0o700 })
  assert.equal((await runningProxies(place(user))).length, 1)
})

test('with several running, wait and shutdown want to know which; a TARGET or --all says it', async (t) => {
  const user = await newUser(t)
  const started = [await user.start('demo-instance'), await user.start('second-instance')]
  for (const command of ['wait', 'shutdown']) {
    const { code, stderr } = await user.run(command)
    assert.equal(code, 2)
    assert.match(stderr, /2 proxies are running:\n {2}demo-instance at .*\n {2}second-instance at /)
    assert.match(stderr, new RegExp(`Hint: Name one: lakebase-proxy ${command} TARGET.*--all`))
  }
  assert.equal((await user.run('wait', 'second-instance')).code, 0)
  assert.equal((await user.run('wait', '--all')).code, 0)
  const unknown = await user.run('shutdown', 'other')
  assert.match(
    unknown.stderr,
    /no running .* serves "other"\nHint: .*demo-instance, second-instance/,
  )

  assert.equal((await user.run('shutdown', 'demo-instance')).code, 0)
  assert.equal((await started[0]!.proxy.done).code, 0)
  await user.start('demo-instance')
  const { code, stderr } = await user.run('shutdown', '--all')
  assert.deepEqual([code, /2 proxies have stopped/.test(stderr)], [0, true])
  assert.equal((await started[1]!.proxy.done).code, 0)
})

test('a broken .env does not stop the commands that know where to ask', async (t) => {
  const user = await newUser(t)
  writeFileSync(join(user.runtime, '.env'), 'LAKEBASE_PROXY_PORT=nonsense\n')
  const before = await user.run('status')
  assert.deepEqual([before.code, /port must be/.test(before.stderr)], [2, true])
  const { proxy } = await user.start('demo-instance')
  const [, adminPort] = await proxy.saw(/"http:\/\/127\.0\.0\.1:(\d+)"[^\n]*"status page"/)
  for (const args of [['status'], ['status', '--admin-port', adminPort!], ['wait'], ['shutdown']]) {
    const { code, stderr } = await user.run(...args)
    assert.equal(code, 0, `${args}: ${stderr}`)
  }
})

test('an admin port of the settings wins over what runs: it may belong to a proxy yet to be started', async (t) => {
  const user = await newUser(t)
  await user.start('demo-instance')
  writeFileSync(join(user.runtime, '.env'), 'LAKEBASE_PROXY_ADMIN_PORT=1\n')
  const { code, stderr } = await user.run('wait', '--timeout', '1ms')
  assert.deepEqual([code, /no lakebase-proxy answers at .*:1\n/.test(stderr)], [1, true])
})

test('a port that another proxy of the user holds is in use by that, and not by node', async (t) => {
  const user = await newUser(t)
  const { port, proxy } = await user.start('demo-instance')
  const [, adminPort] = await proxy.saw(/"http:\/\/127\.0\.0\.1:(\d+)"[^\n]*"status page"/)
  for (const args of [
    ['second-instance', '--port', port, '--admin-port', '0'],
    ['second-instance', '--port', '0', '--admin-port', adminPort!],
  ]) {
    const second = await startCli(t, args, {
      env: { ...emulator.env, XDG_RUNTIME_DIR: user.runtime },
    }).done
    const by = `by a running lakebase-proxy: demo-instance (pid ${proxy.child.pid})`
    assert.equal(second.code, 2)
    assert.ok(
      second.stderr.includes(`port ${args.includes(port) ? port : adminPort} is in use ${by}`),
    )
    assert.match(second.stderr, /\nHint: Choose another: --(admin-)?port \d+ is free/)
  }
})

test('a program in the place of a proxy that holds the same port elsewhere is named itself', async (t) => {
  const user = await newUser(t)
  const holder = createServer().listen(0, '127.0.0.1')
  t.after(() => holder.close())
  await once(holder, 'listening')
  const { port } = holder.address() as AddressInfo
  await user.start('demo-instance')
  const [name] = readdirSync(user.folder)
  const file = JSON.parse(readFileSync(join(user.folder, name!), 'utf8'))
  file.targets[0].address.port = port
  writeFileSync(join(user.folder, name!), JSON.stringify(file))
  const second = await user.run('start', 'postgresql://u:p@h/d', '--port', `${port}`, '--no-admin')
  assert.match(second.stderr, new RegExp(`port ${port} is in use by .*\\(pid ${process.pid}\\)`))
  assert.doesNotMatch(second.stderr, /running lakebase-proxy/)
})

test('of two that serve the same target, wait and shutdown want to know the admin port', async (t) => {
  const user = await newUser(t)
  await Promise.all([user.start('demo-instance'), user.start('demo-instance')])
  for (const command of ['wait', 'shutdown']) {
    const { code, stderr } = await user.run(command, 'demo-instance')
    assert.equal(code, 2)
    assert.ok(
      stderr.includes(`Hint: Name one: lakebase-proxy ${command} --admin-port PORT;`),
      stderr,
    )
  }
})

test('wait ends at once where the proxy is stopping', async (t) => {
  const user = await newUser(t)
  const server = http.createServer((_, response) => {
    response.writeHead(503).end(JSON.stringify({ ready: false, reasons: [STOPPING] }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  const { code, stderr } = await user.run('wait', '--admin-port', `${port}`, '--timeout', '10m')
  assert.equal(code, 1)
  assert.match(stderr, /lakebase-proxy is stopping\nHint: Start it again/)
})

test('url prints the port that the running proxy got', async (t) => {
  const user = await newUser(t)
  const { port } = await user.start('demo-instance')
  for (const args of [['demo-instance'], []]) {
    const { stdout } = await user.run('url', ...args)
    assert.match(stdout, new RegExp(`^postgresql://any@localhost:${port}/databricks_postgres`))
  }
  const named = await user.run('url', 'demo-instance', '--port', '7000')
  assert.match(named.stdout, /:7000\//, 'a flag says what is meant')
  const other = await user.run('url', 'second-instance')
  assert.match(other.stdout, /:5432\//)
})

test('url prints no address of another workspace as if it were that of the target', async (t) => {
  const user = await newUser(t)
  const { port, proxy } = await user.start('demo-instance')
  const { pid } = proxy.child
  const url = (...args: string[]): Promise<Ran> => user.run('url', 'demo-instance', ...args)
  const own = await url('--databricks-host', emulator.workspaceUrl)
  assert.deepEqual([own.stderr, own.stdout.includes(`:${port}/`)], ['', true])
  const other = ['--databricks-host', 'https://prod.example.com']
  const said = `the running "demo-instance" (pid ${pid}, port ${port}) is of ${emulator.workspaceUrl}, not of https://prod.example.com`
  const elsewhere = await url(...other)
  assert.match(elsewhere.stdout, /:5432\//)
  const notice = `Notice: ${said}; this is the address that a proxy of these settings would have.\n`
  assert.equal(elsewhere.stderr, notice)
  const samePort = await url(...other, '--port', port)
  assert.deepEqual([samePort.code, samePort.stdout], [1, ''])
  assert.ok(samePort.stderr.includes(`${said}, and ${port} is held by one`), samePort.stderr)
  assert.match((await user.run('url', ...other)).stderr, /no target is named/)
})

test('url wants to know which, where two running proxies serve the target', async (t) => {
  const user = await newUser(t)
  const [a, b] = [await user.start('demo-instance'), await user.start('demo-instance')]
  const { code, stderr, stdout } = await user.run('url', 'demo-instance')
  assert.deepEqual([code, stdout], [2, ''])
  for (const { port, proxy } of [a, b]) {
    assert.ok(stderr.includes(`\n  demo-instance at localhost:${port} (pid ${proxy.child.pid})`))
  }
  assert.match(
    stderr,
    /\nHint: Name one by its port: lakebase-proxy url demo-instance --port \d+\n/,
  )
  const named = await user.run('url', 'demo-instance', '--port', b.port)
  assert.deepEqual([named.stderr, named.stdout.includes(`:${b.port}/`)], ['', true])
})

test('url prints no address that leads to another target', async (t) => {
  const user = await newUser(t)
  const { port } = await user.start('demo-instance')
  const { code, stdout, stderr } = await user.run('url', 'dmo-instance', '--port', port)
  assert.deepEqual([code, stdout], [1, ''])
  const held = `no running lakebase-proxy serves "dmo-instance", and ${port} is held by one that serves demo-instance`
  assert.ok(stderr.includes(held), stderr)
  assert.match(
    stderr,
    /Hint: Did you mean "demo-instance"\? Start one that serves it with --port \d+\.\n/,
  )
})

test('status TARGET shows that target alone', async (t) => {
  const user = await newUser(t)
  await user.start('demo-instance', 'second-instance', '--route=on')
  const { stdout } = await user.run('status', 'second-instance')
  assert.match(stdout, /\nsecond-instance: /)
  assert.doesNotMatch(stdout, /\ndemo-instance: /)
})

test('url prints the user that chooses the target at the running proxy, and its database', async (t) => {
  const user = await newUser(t)
  const every = 'projects/demo/branches/*'
  const { port } = await user.start('demo-instance?name=orders&database=shop', every, '--route=on')
  const table: [string[], string][] = [
    [['orders'], `orders@localhost:${port}/shop`],
    [[`${every}`], `projects%2Fdemo%2Fbranches%2FBRANCH@localhost:${port}/databricks_postgres`],
    [
      ['projects/demo/branches/dev'],
      `projects%2Fdemo%2Fbranches%2Fdev@localhost:${port}/databricks_postgres`,
    ],
    [['projects/demo/branches/dev', '--port', port], `branches%2Fdev@localhost:${port}/`],
    [['orders', '--database', 'other'], `orders@localhost:${port}/other`],
    [['projects/many/branches/dev'], 'any@localhost:5432/'],
  ]
  for (const [args, expected] of table) {
    const { stdout, stderr } = await user.run('url', ...args)
    assert.ok(stdout.includes(expected), `${args.join(' ')}: ${stdout}${stderr}`)
  }
  const { code, stderr } = await user.run('url')
  assert.deepEqual([code, stderr.includes(`serve: orders, ${every}. Name one,`)], [2, true], stderr)
})

test('an admin interface at a Unix socket is asked there', async (t) => {
  const user = await newUser(t)
  const admin = join(user.runtime, 'admin.sock')
  const server = http.createServer((request, response) => {
    response.end(JSON.stringify({ path: request.url }))
  })
  server.listen(admin)
  await once(server, 'listening')
  t.after(() => server.close())
  const announcement = await Announcement.make(place(user), { ...PROXY, admin })
  assert.deepEqual(await user.run('wait', 'a'), { code: 0, stdout: '', stderr: '' })
  await announcement!.remove()
  await announcement!.remove()
  rmSync(user.folder, { recursive: true })
})

test('a proxy without an admin port is shown all the same', async (t) => {
  const user = await newUser(t)
  await Announcement.make(place(user), { targets: PROXY.targets })
  const { stdout } = await user.run('status')
  assert.match(stdout, /^lakebase-proxy without an admin port: a at localhost:6000 \(pid \d+, /)
  const { code, stderr } = await user.run('shutdown')
  assert.deepEqual([code, /To stop it: kill \d+\n/.test(stderr)], [2, true])
})

test('a branch is found at the proxy that serves every branch of its project', async (t) => {
  const user = await newUser(t)
  const branch = 'projects/demo/branches/production'
  const every = 'projects/demo/branches/*?name=all'
  const { proxy, port } = await user.start(every, '--route', 'on')
  const { port: second } = await user.start('second-instance')
  assert.equal((await user.run('wait', branch)).code, 0)
  const url = await user.run('url', `${branch}/databases/postgres`, '--format', 'psql')
  assert.equal(
    url.stdout,
    `psql -h localhost -p ${port} -U ${branch}/databases/postgres -d postgres\n`,
  )
  const { stdout } = await user.run('status', `${branch}/endpoints/primary`)
  assert.match(stdout, new RegExp(`127\\.0\\.0\\.1:${port}`))
  assert.doesNotMatch(stdout, new RegExp(`127\\.0\\.0\\.1:${second}`))
  assert.match(
    (await user.run('wait', '--timeout', '1s', 'projects/shop/branches/b')).stderr,
    /serves "projects\/shop/,
  )
  assert.equal((await user.run('shutdown', branch)).code, 0)
  assert.equal((await proxy.done).code, 0)
})
