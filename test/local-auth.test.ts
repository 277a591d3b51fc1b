/** `local-auth=password`: who gets in with the local password, who does not, and what that costs. */

import assert from 'node:assert/strict'
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { once } from 'node:events'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import postgres from 'postgres'

import { settingsFromOptions } from '../src/config/resolve/options.js'
import { emulatorForTests, needsPsql } from './support/emulator.js'
import { FakeClock } from './support/fake-clock.js'
import {
  connectedClient,
  proxyBefore,
  psql,
  type TestProxyOptions,
  temporaryFolder,
} from './support/proxy.js'
import { RawClient } from './support/raw-client.js'
import { connect, readAll } from './support/sockets.js'

const emulator = await emulatorForTests()
const PASSWORD = 'open sesame'

const guarded = (t: TestContext, options: TestProxyOptions = {}) =>
  proxyBefore(t, emulator, { localAuth: 'password', localPassword: PASSWORD, ...options })

test('psql with the password is in, whatever user it names', { skip: needsPsql }, async (t) => {
  const { port } = await guarded(t)
  for (const user of ['ada@example.com', 'anybody', 'postgres']) {
    const conninfo = `host=127.0.0.1 port=${port} user=${user}`
    const { stdout } = await psql(conninfo, 'select current_user', { PGPASSWORD: PASSWORD })
    assert.equal(stdout, 'ada@example.com\n')
  }
})

test('psql with another password is told so, and nothing is dialled for it', {
  skip: needsPsql,
}, async (t) => {
  const { port, log } = await guarded(t)
  const accepted = emulator.control.acceptedCount
  const conninfo = `host=127.0.0.1 port=${port} user=anybody`
  const { code, stderr } = await psql(conninfo, 'select 1', { PGPASSWORD: 'open barley' })
  assert.equal(code, 2)
  assert.match(stderr, /FATAL: {2}password authentication failed/)
  assert.match(stderr, /LAKEBASE_PROXY_LOCAL_PASSWORD/)
  assert.equal(emulator.control.acceptedCount, accepted)
  const { facts } = await log.seen(({ level }) => level === 'warn')
  assert.equal(facts.sqlState, '28P01')
  assert.doesNotMatch(JSON.stringify(log.lines), /open (sesame|barley)/)
})

test('psql without a password goes to ask for one, and that is no failure', {
  skip: needsPsql,
}, async (t) => {
  const { port, log } = await guarded(t)
  const { code, stderr } = await psql(`host=127.0.0.1 port=${port} user=anybody`, 'select 1')
  assert.equal(code, 2)
  assert.match(stderr, /no password supplied/)
  await log.seen(({ facts }) => facts.outcome === 'client left')
  assert.ok(log.lines.every(({ level }) => level !== 'warn'))
})

test('pg and postgres.js log in with it, and get 28P01 without', async (t) => {
  const { port } = await guarded(t)
  const client = await connectedClient(t, port, { password: PASSWORD })
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
  await assert.rejects(connectedClient(t, port, { password: 'wrong' }), { code: '28P01' })

  const sql = postgres({ host: '127.0.0.1', port, user: 'anybody', password: PASSWORD, max: 1 })
  assert.equal((await sql`select 1 as one`)[0]!.one, 1)
  await sql.end()
  const wrong = postgres({ host: '127.0.0.1', port, user: 'a', password: 'wrong', max: 1 })
  await assert.rejects(wrong`select 1`, { code: '28P01' })
  await wrong.end()
})

for (const [set, typed] of [
  ['pässwörd ª\u00a0', 'pässwörd a '], // SASLprep: ª is a plain a, a no-break space a space
  ['pässwörd ª🔑', 'pässwörd ª🔑'], // beyond Unicode 3.2, and so as it is, on both ends
] as const) {
  test(`the password "${set}" is "${typed}" to psql`, { skip: needsPsql }, async (t) => {
    const { port } = await guarded(t, { localPassword: set })
    const conninfo = `host=127.0.0.1 port=${port} user=anybody`
    const { code, stderr } = await psql(conninfo, 'select 1', { PGPASSWORD: typed })
    assert.equal(code, 0, stderr)
  })
}

test('with trust nobody is asked, and a password that is sent along is not looked at', {
  skip: needsPsql,
}, async (t) => {
  const { port } = await proxyBefore(t, emulator)
  const conninfo = `host=127.0.0.1 port=${port} user=anybody`
  const { code } = await psql(conninfo, 'select 1', { PGPASSWORD: 'dapi-something' })
  assert.equal(code, 0)
})

test('channel_binding=require cannot be met, and libpq says so; disable and prefer can', {
  skip: needsPsql,
}, async (t) => {
  const [open, closed] = [await proxyBefore(t, emulator), await guarded(t, { localTls: 'auto' })]
  const env = { PGPASSWORD: PASSWORD }
  for (const port of [open.port, closed.port]) {
    const conninfo = `host=127.0.0.1 port=${port} user=anybody channel_binding=require`
    const { code, stderr } = await psql(conninfo, 'select 1', env)
    assert.equal(code, 2)
    assert.match(stderr, /channel binding/)
  }
  for (const setting of ['disable', 'prefer']) {
    // Over TLS, prefer makes the client say that it could: gs2 "y".
    const conninfo = `host=127.0.0.1 port=${closed.port} user=anybody sslmode=require channel_binding=${setting}`
    const { code, stderr } = await psql(conninfo, 'select 1', env)
    assert.equal(code, 0, stderr)
  }
})

test('keys are derived once: every client meets the same salt, and another nonce', async (t) => {
  const { port } = await guarded(t)
  const [one, other] = [await Scram.begin(t, port), await Scram.begin(t, port)]
  assert.equal(one.salt, other.salt)
  assert.equal(one.iterations, 4096)
  assert.notEqual(one.serverNonce, other.serverNonce)
})

test('after SASLFinal comes one AuthenticationOk, the server’s own', async (t) => {
  const { port } = await guarded(t)
  const scram = await Scram.begin(t, port)
  scram.prove(PASSWORD)
  const codes: number[] = []
  for (;;) {
    const { type, body } = await scram.client.next()
    if (type !== 'R') break
    codes.push(body.readInt32BE(0))
  }
  assert.deepEqual(codes, [12, 0])
})

for (const gs2 of ['n,,', 'y,,', 'n,a=somebody,']) {
  test(`gs2 header "${gs2}" is taken`, async (t) => {
    const { port } = await guarded(t)
    const scram = await Scram.begin(t, port, { gs2 })
    scram.prove(PASSWORD)
    assert.equal((await scram.client.next()).body.readInt32BE(0), 12)
  })
}

test('a right proof of another exchange, or of a changed one, is refused', async (t) => {
  const { port } = await guarded(t)
  for (const change of [
    { nonce: 'another' },
    { channelBinding: 'eSws' },
    { proof: '' },
    { proof: Buffer.alloc(32).toString('base64') },
  ]) {
    const scram = await Scram.begin(t, port)
    scram.prove(PASSWORD, change)
    assert.equal(await scram.refusal(), '28P01', JSON.stringify(change))
  }
})

for (const [what, type, body] of [
  ['a Query', 'Q', 'select 1\0'],
  ['a plain password', 'p', `${PASSWORD}\0`],
  ['channel binding', 'p', sasl('SCRAM-SHA-256', 'p=tls-server-end-point,,n=,r=abc')],
  ['a mechanism that was not offered', 'p', sasl('SCRAM-SHA-256-PLUS', 'n,,n=,r=abc')],
  ['no nonce', 'p', sasl('SCRAM-SHA-256', 'n,,n=')],
  ['a length that lies', 'p', 'SCRAM-SHA-256\0\0\0\0\x7fn,,n=,r=abc'],
  ['nothing', 'p', ''],
  ['more than any password', 'p', Buffer.alloc(100_000)],
] as const) {
  test(`${what} in the place of SCRAM is a protocol violation, and dials nothing`, async (t) => {
    const { port } = await guarded(t)
    const accepted = emulator.control.acceptedCount
    const client = await RawClient.connect(t, port)
    client.startup({ user: 'anybody' })
    assert.equal((await client.next()).body.readInt32BE(0), 10)
    client.send(type, body)
    assert.match(String(await client.untilReady().catch(String)), /C08P01/)
    assert.equal(emulator.control.acceptedCount, accepted)
  })
}

test('who has not given the password takes nobody’s place, and is gone at handshake-timeout', async (t) => {
  const clock = new FakeClock()
  const { port, daemon } = await guarded(t, { clock, maxConnections: 1 })
  const accepted = emulator.control.acceptedCount
  const lingering = await Promise.all(Array.from({ length: 5 }, () => Scram.begin(t, port)))
  assert.equal(daemon.targets[0]!.listener.admitted, 0)
  assert.equal(emulator.control.acceptedCount, accepted)
  await connectedClient(t, port, { password: PASSWORD })
  await clock.advance(10_000)
  for (const scram of lingering) assert.equal(await scram.refusal(), '08P01')
})

test('a password that dribbles in does not move the deadline', async (t) => {
  const clock = new FakeClock()
  const { port } = await guarded(t, { clock })
  const client = await RawClient.connect(t, port)
  client.startup({ user: 'anybody' })
  await client.next()
  const refused = client.untilReady().catch(String)
  for (let second = 1; second <= 9; second++) {
    client.socket.write('p\0\0\0\x7fSCRAM'.charAt(second - 1))
    await clock.advance(1_000)
  }
  await clock.advance(1_000)
  assert.match(String(await refused), /timeout expired/)
})

test('a password file that others can read is refused, and what to type is said', async (t) => {
  const file = join(await temporaryFolder(t), 'password')
  await writeFile(file, `${PASSWORD}\n`)
  const load = () =>
    settingsFromOptions(
      { targets: ['demo-instance'], port: 0, localAuth: 'password', localPasswordFile: file },
      emulator.env,
    )
  for (const mode of [0o644, 0o604, 0o620]) {
    await chmod(file, mode)
    assert.throws(load, (error: Error) => {
      assert.match(String(error), /can be read by others/)
      return /chmod 600/.test(JSON.stringify(error) + String(error))
    })
  }
  await chmod(file, 0o600)
  assert.equal(load().localPassword?.reveal(), PASSWORD)
  assert.doesNotMatch(JSON.stringify(load()), /sesame/)
})

test('a client that hangs up in the middle of SCRAM leaves nothing behind', async (t) => {
  const { port, daemon, log } = await guarded(t)
  const scram = await Scram.begin(t, port)
  scram.client.socket.resetAndDestroy()
  await log.seen(({ facts }) => facts.outcome === 'client left')
  const silent = await connect(port)
  silent.end()
  assert.equal((await readAll(silent)).length, 0)
  assert.deepEqual([...daemon.targets[0]!.listener.sessions], [])
})

function sasl(mechanism: string, response: string): Buffer {
  const head = Buffer.from(`${mechanism}\0----`)
  head.writeInt32BE(response.length, head.length - 4)
  return Buffer.concat([head, Buffer.from(response)])
}

/** The client's side of one exchange, written from RFC 5802 and with nothing of the proxy's own. */
class Scram {
  readonly client: RawClient
  readonly #gs2: string
  readonly #firstBare: string
  readonly #serverFirst: string

  private constructor(client: RawClient, gs2: string, firstBare: string, serverFirst: string) {
    this.client = client
    this.#gs2 = gs2
    this.#firstBare = firstBare
    this.#serverFirst = serverFirst
  }

  static async begin(t: TestContext, port: number, { gs2 = 'n,,' } = {}): Promise<Scram> {
    const client = await RawClient.connect(t, port)
    client.startup({ user: 'anybody' })
    await client.next()
    const firstBare = 'n=*,r=clientnonce'
    client.send('p', sasl('SCRAM-SHA-256', gs2 + firstBare))
    const { body } = await client.next()
    assert.equal(body.readInt32BE(0), 11)
    return new Scram(client, gs2, firstBare, body.toString('utf8', 4))
  }

  get salt(): string {
    return this.#attribute('s')
  }

  get iterations(): number {
    return Number(this.#attribute('i'))
  }

  get serverNonce(): string {
    return this.#attribute('r')
  }

  prove(
    password: string,
    change: { nonce?: string; channelBinding?: string; proof?: string } = {},
  ): void {
    const salted = pbkdf2Sync(
      password,
      Buffer.from(this.salt, 'base64'),
      this.iterations,
      32,
      'sha256',
    )
    const clientKey = createHmac('sha256', salted).update('Client Key').digest()
    const storedKey = createHash('sha256').update(clientKey).digest()
    const binding = change.channelBinding ?? Buffer.from(this.#gs2).toString('base64')
    const finalBare = `c=${binding},r=${change.nonce ?? this.serverNonce}`
    const authMessage = `${this.#firstBare},${this.#serverFirst},${finalBare}`
    const signature = createHmac('sha256', storedKey).update(authMessage).digest()
    const proof = Buffer.from(clientKey.map((byte, i) => byte ^ signature[i]!))
    this.client.send('p', `${finalBare},p=${change.proof ?? proof.toString('base64')}`)
  }

  /** The SQLSTATE of it. */
  async refusal(): Promise<string | undefined> {
    const { type, body } = await this.client.next()
    assert.equal(type, 'E')
    this.client.socket.end()
    if (!this.client.socket.closed) await once(this.client.socket.resume(), 'close')
    return /\0C([0-9A-Z]{5})\0/.exec(body.toString('latin1'))?.[1]
  }

  #attribute(name: string): string {
    return new RegExp(`(?:^|,)${name}=([^,]*)`).exec(this.#serverFirst)![1]!
  }
}
