/** No token, password or secret of the emulator's is ever written: to the log, the admin port or a client. */

import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { type ProxyOptions, settingsFromOptions } from '../src/config/resolve/options.js'
import { systemClock } from '../src/core/clock.js'
import { createLog } from '../src/core/log.js'
import { redact } from '../src/core/redact.js'
import { hideKnown, Secret } from '../src/core/secret.js'
import { Daemon } from '../src/daemon/daemon.js'
import { workspaceOpener } from '../src/daemon/workspace-opener.js'
import { demoUser } from '../src/emulator/inventory.js'
import { emulatorForTests } from './support/emulator.js'
import { ask } from './support/http.js'
import { connectedClient, temporaryFolder } from './support/proxy.js'

const emulator = await emulatorForTests()
const { control } = emulator

const PAT = `dapi${'0123456789abcdef'.repeat(2)}`
const CLIENT_SECRET = `dose${'fedcba9876543210'.repeat(2)}`

test('every way into the log, at level trace, in both formats', async (t) => {
  for (const format of ['json', 'pretty'] as const) {
    const secrets = new Secrets()
    const { daemon, text } = await loudProxy(t, secrets, format)
    const heard = await everythingThatIsLogged(t, daemon, secrets)
    assert.ok(heard.length >= 6, 'clients are told why')
    const { adminUrl } = daemon
    const shown: string[] = []
    for (const path of ['/status', '/metrics', '/readiness', '/']) {
      shown.push((await ask(`${adminUrl}${path}`)).body)
    }
    shown.push(await firstEvents(`${adminUrl}/events`))
    await daemon.close()
    assert.match(text(), /\[redacted\]/)
    assert.ok(secrets.all.length >= 3)
    for (const secret of secrets.all) {
      assert.ok(!text().includes(secret), `the ${format} log holds ${secret}`)
      assert.ok(!shown.join('').includes(secret), `the admin port shows ${secret}`)
      assert.ok(!heard.join('\n').includes(secret), `a client is told ${secret}`)
    }
  }
})

test('a secret in any field of a line is taken out, however deep', async () => {
  const token = control.mintToken(demoUser).text
  const lines: string[] = []
  const stream = collector(lines)
  const log = createLog({ level: 'trace', format: 'json', stream })
  const bearer = `Bearer ${token}`
  const url = `postgresql://app:hunter2@db.example/x`
  log.info({ token, nested: { headers: { authorization: bearer } }, list: [url] }, `at ${url}`)
  log.error({ err: new Error(`refused ${token}`, { cause: new Error(PAT) }) }, CLIENT_SECRET)
  log.warn({ secret: new Secret('hunter2') }, 'form: client_secret=hunter2&scope=all-apis')
  log.debug({ query: `password='x' token=${token.slice(0, 40)}` })
  const text = lines.join('')
  for (const secret of [token, token.slice(0, 40), PAT, CLIENT_SECRET, 'hunter2']) {
    assert.ok(!text.includes(secret), secret)
  }
  assert.equal(lines.length, 4)
  for (const line of lines) assert.equal(typeof JSON.parse(line), 'object', 'still JSON')
})

test('a text without a secret stays as it is', () => {
  for (const text of [
    'postgresql://app@db.example:5432/x?sslmode=require',
    'could not connect to https://adb-1.example/oidc/v1/token',
    'user ada@example.com of projects/demo/branches/production',
    'eyJ is how a JWT begins; dapi is how a token begins',
    'password authentication failed for user "app"',
    `dbeaver -con 'user=any|savePassword=true'`,
    'For another server: postgresql://user:password@host/database.',
  ]) {
    assert.equal(redact(text), text)
  }
})

class Secrets {
  readonly #all = new Set([PAT, CLIENT_SECRET, emulator.env.DATABRICKS_TOKEN!, 'open-sesame'])

  add(...secrets: string[]): void {
    for (const secret of secrets) this.#all.add(secret)
  }

  get all(): readonly string[] {
    return [...this.#all]
  }
}

/** Logs everything, and tells `secrets` of each credential it is given. */
async function loudProxy(
  t: TestContext,
  secrets: Secrets,
  format: 'json' | 'pretty',
): Promise<{ daemon: Daemon; text: () => string }> {
  const lines: string[] = []
  const stream = collector(lines)
  const log = createLog({ level: 'trace', format, stream })
  const homeDir = await temporaryFolder(t)
  const open = workspaceOpener({
    env: emulator.env,
    programEnv: {},
    homeDir,
    clock: systemClock,
    log,
  })
  const options: ProxyOptions = {
    targets: ['demo-instance', `postgresql://app:app-password@db.example/x`],
    ...{ port: 0, adminPort: 0, localAuth: 'password', localPassword: 'open-sesame' },
  }
  secrets.add('app-password')
  const daemon = await Daemon.start({
    settings: settingsFromOptions(options, emulator.env),
    openWorkspace: async (target) => {
      const workspace = await open(target)
      const mint = workspace.mintCredential.bind(workspace)
      workspace.mintCredential = async (...args) => {
        const credential = await mint(...args)
        secrets.add(credential.token.reveal())
        return credential
      }
      return workspace
    },
    stateDir: homeDir,
    log,
  })
  t.after(() => daemon.close())
  return { daemon, text: () => lines.join('') }
}

/** Each failure once, with tokens in all that a client or a server can say. */
async function everythingThatIsLogged(
  t: TestContext,
  daemon: Daemon,
  secrets: Secrets,
): Promise<string[]> {
  const heard: string[] = []
  const refusal = async (at: number, config: object): Promise<void> => {
    const error = await connectedClient(t, at, config).then(
      () => assert.fail('let in'),
      (e) => e,
    )
    heard.push([error.message, error.detail, error.hint].join(' '))
  }
  const [{ listener }, fixed] = [daemon.targets[0]!, daemon.targets[1]!]
  const { port } = listener
  const password = 'open-sesame'
  const token = control.mintToken(demoUser).text
  secrets.add(token, token.slice(0, 60))
  const refused = { password: token }
  const asName = { password, user: token, application_name: token.slice(0, 60) }
  const asDatabase = { password, database: token.slice(0, 60) }
  const atFixed = { password, database: PAT }

  await (await connectedClient(t, port, { ...asName, database: 'databricks_postgres' })).end()
  for (const config of [refused, asDatabase, { ...asDatabase, user: CLIENT_SECRET }]) {
    await refusal(port, config)
  }
  await refusal(fixed.listener.port, atFixed)

  // The very password and token in use, too: a server that repeats them is not to be trusted with more.
  const held = secrets.all.join(' and ')
  const message = `no: Bearer ${token} and ${PAT}, (open-sesame); ${held}`
  for (const fault of [
    { at: 'password', refuse: { severity: 'FATAL', sqlState: '28P01', message } },
    { at: 'startup', refuse: { severity: 'FATAL', sqlState: '28000', message } },
    { at: 'password', refuse: { severity: 'FATAL', sqlState: '53300', message } },
  ] as const) {
    control.failFront(fault, 1)
    await connectedClient(t, port, { password }).then(
      () => {}, // a spare try had a new token
      (error) => heard.push([error.message, error.detail, error.hint].join(' ')),
    )
  }
  control.clearFaults()
  control.revokeTokens('database')
  control.failApi('credentials', { status: 403, errorCode: 'PERMISSION_DENIED', message }, 1)
  await refusal(port, { password })
  return heard
}

function collector(lines: string[]): Writable {
  return new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk))
      done()
    },
  })
}

/** What an opened status page is told first. */
async function firstEvents(url: string): Promise<string> {
  const response = await fetch(url)
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  while (!text.includes('event: status')) text += (await reader.read()).value ?? ''
  await reader.cancel()
  return text
}

test('one of ten thousand secrets is hidden whole, cut and as a word, and the others are not looked at', (t) => {
  const hexOf = (at: number): string => at.toString(16).padStart(8, '0')
  const long = Array.from(
    { length: 5_000 },
    (_, at) => new Secret(`${'eyJ'.repeat(9)}.${hexOf(at)}`),
  )
  const short = Array.from({ length: 5_000 }, (_, at) => new Secret(hexOf(at * 7919)))
  const reveal = t.mock.method(Secret.prototype, 'reveal')
  const line = `${JSON.stringify({ user: 'ada@example.com', role: 'analysts' })} `.repeat(5)
  assert.equal(hideKnown(line, 'beginning') + hideKnown(line, 'words'), line + line)
  assert.equal(reveal.mock.callCount(), 0)
  const [one, word] = [long.at(-1)!.reveal(), short.at(-1)!.reveal()]
  assert.equal(hideKnown(`${line}${one}.`, 'whole'), `${line}[redacted].`)
  assert.equal(hideKnown(`${line}${word}.`, 'words'), `${line}[redacted].`)
  assert.ok(reveal.mock.callCount() < 100)
  assert.equal(hideKnown(`${line}${one.slice(0, 26)}`, 'beginning'), `${line}[redacted]`)
})
