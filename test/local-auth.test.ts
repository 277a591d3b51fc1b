/** `local-auth=password`: who gets in with the local password, who does not, and what that costs. */

import assert from 'node:assert/strict'
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { once } from 'node:events'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import postgres from 'postgres'

import { settingsFromOptions } from '../src/config/resolve/options.js'
import { systemClock } from '../src/core/clock.js'
import { silentLog } from '../src/core/log.js'
import { hideKnown, Secret } from '../src/core/secret.js'
import { ClientAuth } from '../src/session/client-auth.js'
import { PasswordAttempts } from '../src/session/password-attempts.js'
import { scramVerifier } from '../src/wire/scram.js'
import { emulatorForTests, needsPsql } from './support/emulator.js'
import { FakeClock, settle } from './support/fake-clock.js'
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

test('psql with the password is let in, as any user', { skip: needsPsql }, async (t) => {
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

test('psql without a password goes to ask for one, and that is not logged as a failure', {
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

test('with trust no client is asked, and a password sent along is ignored', {
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

test('keys are derived once: every client gets the same salt and a nonce of its own', async (t) => {
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

for (const gs2 of ['n,,', 'y,,']) {
  test(`gs2 header "${gs2}" is taken`, async (t) => {
    const { port } = await guarded(t)
    const scram = await Scram.begin(t, port, { gs2 })
    scram.prove(PASSWORD)
    assert.equal((await scram.client.next()).body.readInt32BE(0), 12)
  })
}

test('a user name in SCRAM may be in any encoding, as PostgreSQL takes it', async (t) => {
  const { port } = await guarded(t)
  for (const name of ['J\xfcrgen', 'J\xc3\xbcrgen', '\xff\xfe']) {
    const scram = await Scram.begin(t, port, { name })
    scram.prove(PASSWORD)
    assert.equal((await scram.client.next()).body.readInt32BE(0), 12)
  }
})

for (const [what, first, message] of [
  ['an authorization identity', 'n,a=admin,n=,r=abc', 'client uses authorization identity'],
  ['no name in it', 'y,a=,n=,r=abc', 'client uses authorization identity'],
  ['a mandatory extension', 'n,,m=x,n=,r=abc', 'unsupported SCRAM extension'],
] as const) {
  test(`${what} is refused with 0A000, as PostgreSQL refuses it`, async (t) => {
    const { port } = await guarded(t)
    const client = await RawClient.connect(t, port)
    client.startup({ user: 'anybody' })
    await client.next()
    client.send('p', sasl('SCRAM-SHA-256', first))
    const { type, body } = await client.next()
    assert.equal(type, 'E')
    assert.match(body.toString(), /\0C0A000\0/)
    assert.match(body.toString(), new RegExp(message))
  })
}

test('a proof with one character that is not base64 is refused', async (t) => {
  const { port } = await guarded(t)
  for (const junk of [
    (proof: string) => `${proof}!!`,
    (proof: string) => `${proof}AAAA`,
    (proof: string) => ` ${proof}`,
    (proof: string) => `${proof}\n`,
    (proof: string) => proof.replace(/=$/, ''),
    (proof: string) => proof.replace(/^(.)/, '$1-'),
    (proof: string) => `${proof}\0`,
    (proof: string) => `${proof},x=1`,
  ]) {
    const scram = await Scram.begin(t, port)
    scram.client.send('p', scram.proofOf(PASSWORD, {}, junk))
    assert.equal(await scram.refusal(), '28P01', junk.toString())
  }
})

test('after ten wrong passwords an address has two guesses a second, over any number of connections', async (t) => {
  const clock = new FakeClock()
  const { port } = await guarded(t, { clock })
  const answers: string[] = []
  const guess = async (): Promise<void> => {
    const scram = await Scram.begin(t, port)
    scram.prove('open barley')
    answers.push((await scram.refusal()) ?? '')
  }
  const all = Array.from({ length: 25 }, () => guess().catch((error) => answers.push(error)))
  // 10 at once, 10 in the next 5 seconds; the others are not even checked.
  while (answers.length < 15) await settle()
  assert.equal(answers.filter((code) => code === '28P01').length, 10)
  assert.equal(answers.filter((code) => code === '53300').length, 5)
  for (let checked = 11; checked <= 20; checked++) {
    await clock.advance(500)
    while (answers.length < checked + 5) await settle()
    assert.equal(answers.filter((code) => code === '28P01').length, checked)
  }
  await Promise.all(all)
})

test('wrong passwords from one address do not delay another, and right ones use nothing up', async (t) => {
  const clock = new FakeClock()
  const { port } = await guarded(t, { clock, proxyProtocol: 'on' })
  for (let i = 0; i < 10; i++) {
    const scram = await Scram.begin(t, port, { header: 'PROXY TCP4 192.0.2.1 192.0.2.9 1 2\r\n' })
    scram.prove('open barley')
    assert.equal(await scram.refusal(), '28P01')
  }
  for (let i = 0; i < 20; i++) {
    const scram = await Scram.begin(t, port, { header: 'PROXY TCP4 192.0.2.2 192.0.2.9 1 2\r\n' })
    scram.prove(PASSWORD)
    assert.equal((await scram.client.next()).body.readInt32BE(0), 12)
    scram.client.socket.destroy()
  }
  // The first address waits for its turn, with the right password too, and as an IPv6 address.
  const scram = await Scram.begin(t, port, {
    header: 'PROXY TCP6 0:0:0:0:0:ffff:c000:201 ::9 1 2\r\n',
  })
  scram.prove(PASSWORD)
  const answer = scram.client.next()
  await clock.advance(499)
  assert.equal(scram.client.socket.bytesRead, scram.bytesBeforeProof)
  await clock.advance(1)
  assert.equal((await answer).body.readInt32BE(0), 12)
  scram.client.socket.destroy()
})

test('a user of this machine has no more guesses by way of the many addresses of loopback', {
  skip: process.platform !== 'linux' && 'only Linux has all of 127.0.0.0/8',
}, async (t) => {
  const clock = new FakeClock()
  const { port } = await guarded(t, { clock })
  const answers: (string | undefined)[] = []
  const guess = async (localAddress: string): Promise<void> => {
    const scram = await Scram.begin(t, port, { localAddress })
    scram.prove('open barley')
    answers.push(await scram.refusal())
  }
  const all = Array.from({ length: 25 }, (_, i) => guess(`127.0.${i}.1`))
  while (answers.length < 15) await settle()
  assert.equal(answers.filter((code) => code === '53300').length, 5)
  await clock.advance(5_000)
  await Promise.all(all)
})

test('wrong passwords from more addresses than can be remembered cost no more memory', async () => {
  const clock = new FakeClock()
  const attempts = new PasswordAttempts(clock)
  const wrong = (address: string | undefined) =>
    attempts.check(address, async () => undefined, new AbortController().signal)
  for (let i = 0; i < 12_000; i++) await wrong(`10.0.${i >> 8}.${i & 255}`)
  assert.equal(attempts.size, 10_000)
  // One IPv6 network is one address, however it is written, and so is a mapped IPv4 address.
  const before = attempts.size
  await clock.advance(60_000)
  for (let i = 1; i <= 10; i++) await wrong(i % 2 ? `2001:db8:0:7::${i}` : `2001:DB8::7:0:0:${i}:1`)
  let isDone = false
  const eleventh = wrong('2001:0db8:0000:0007:ffff::1').then(() => {
    isDone = true
  })
  await settle()
  assert.equal(isDone, false)
  await clock.advance(500)
  await eleventh
  assert.equal(attempts.size, before)
  for (let i = 0; i < 10; i++) await wrong(i % 2 ? '::ffff:c000:201' : '192.0.2.1')
  let isMappedDone = false
  const mapped = wrong('0:0:0:0:0:FFFF:192.0.2.1').then(() => {
    isMappedDone = true
  })
  // Two IPv4 addresses are two, also as a load balancer on an IPv6 socket writes them.
  await wrong('::ffff:c000:202')
  await settle()
  assert.equal(isMappedDone, false)
  await clock.advance(500)
  await mapped
})

test('a file holds several passwords, one a line, and is read again within two seconds', async (t) => {
  const clock = new FakeClock()
  const file = join(await temporaryFolder(t), 'passwords')
  const write = (text: string): Promise<void> => writeFile(file, text, { mode: 0o600 })
  await write('old\r\n\nnew\n')
  const { port, log } = await guarded(t, {
    ...{ clock, localPassword: undefined, localPasswordFile: file },
  })
  const isIn = async (password: string): Promise<boolean> => {
    const scram = await Scram.begin(t, port)
    scram.prove(password)
    const { type } = await scram.client.next()
    scram.client.socket.destroy() // no time passes here in which the proxy would give it up
    return type === 'R'
  }
  assert.deepEqual([await isIn('old'), await isIn('new'), await isIn('')], [true, true, false])

  await write('new\n')
  await clock.advance(2_000)
  assert.deepEqual([await isIn('old'), await isIn('new')], [false, true])
  await log.seen(({ message, facts }) => /read again/.test(message) && facts.passwords === 1)

  await chmod(file, 0o644)
  await clock.advance(2_000)
  assert.equal(await isIn('new'), true, 'what was good stays')
  await log.seen(({ facts }) => /can be read by others/.test(String(facts.reason)))

  await chmod(file, 0o600)
  await write('')
  await clock.advance(2_000)
  assert.deepEqual([await isIn('old'), await isIn('new'), await isIn('')], [false, false, false])
  assert.doesNotMatch(JSON.stringify(log.lines), /"(old|new)"/)
})

test('a password that is removed while a client proves it is refused, and one that stays is not', async (t) => {
  const clock = new FakeClock()
  const file = join(await temporaryFolder(t), 'passwords')
  const write = (text: string): Promise<void> => writeFile(file, text, { mode: 0o600 })
  await write('old\nnew\n')
  const { port } = await guarded(t, {
    ...{ clock, localPassword: undefined, localPasswordFile: file },
  })
  const [one, other] = [await Scram.begin(t, port), await Scram.begin(t, port)]
  await write('new\n')
  await clock.advance(2_000)
  one.prove('old')
  const { type, body } = await one.client.next()
  assert.equal(type, 'E')
  assert.match(body.toString(), /C28P01/)
  other.prove('new')
  assert.equal((await other.client.next()).body.readInt32BE(0), 12)
  other.client.socket.destroy()
})

test('a local password is hidden from messages for as long as it is good', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const file = join(await temporaryFolder(t), 'passwords')
  await writeFile(file, 'staple-of-a-horse-1\n', { mode: 0o600 })
  const auths = authsOf(file, 'staple-of-a-horse-2')
  for (let round = 0; round < 20; round++) {
    await scramVerifier(['another']) // by then theirs are derived
    collect()
    await settle()
  }
  for (const each of ['staple-of-a-horse-1', 'staple-of-a-horse-2']) {
    assert.equal(hideKnown(`role ${each} x`, 'whole'), 'role [redacted] x')
  }
  assert.equal(auths.length, 2)
})

/** In a function of its own, which leaves no secret behind in a test's frame. */
function authsOf(file: string, text: string): ClientAuth[] {
  const clock = systemClock
  const options = { attempts: new PasswordAttempts(clock), clock, log: silentLog }
  return [{ file }, new Secret(text)].map((password) => new ClientAuth({ ...options, password }))
}

test('with an empty password file the proxy starts, says so, and no client gets in', async (t) => {
  const file = join(await temporaryFolder(t), 'passwords')
  await writeFile(file, '\n', { mode: 0o600 })
  const { port, log } = await guarded(t, { localPassword: undefined, localPasswordFile: file })
  await log.seen(({ level, message }) => level === 'warn' && /is empty/.test(message))
  await assert.rejects(connectedClient(t, port, { password: 'x' }), { code: '28P01' })
})

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

test('a client without the password takes no place, and is gone at handshake-timeout', async (t) => {
  const clock = new FakeClock()
  const { port, daemon } = await guarded(t, { clock, maxConnections: 1 })
  const accepted = emulator.control.acceptedCount
  const lingering = await Promise.all(Array.from({ length: 5 }, () => Scram.begin(t, port)))
  assert.equal(daemon.targets[0]!.sessions.admitted, 0)
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
  assert.deepEqual(load().localPassword, { file })
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

/** `response` has one character for each byte. */
function sasl(mechanism: string, response: string): Buffer {
  const head = Buffer.from(`${mechanism}\0----`)
  head.writeInt32BE(response.length, head.length - 4)
  return Buffer.concat([head, Buffer.from(response, 'latin1')])
}

interface Change {
  readonly nonce?: string
  readonly channelBinding?: string
  readonly proof?: string
}

/** The client's side of one exchange, written from RFC 5802 and with nothing of the proxy's own. */
class Scram {
  readonly client: RawClient
  readonly #gs2: string
  readonly #firstBare: string
  readonly #serverFirst: string

  readonly bytesBeforeProof: number

  private constructor(client: RawClient, gs2: string, firstBare: string, serverFirst: string) {
    this.bytesBeforeProof = client.socket.bytesRead
    this.client = client
    this.#gs2 = gs2
    this.#firstBare = firstBare
    this.#serverFirst = serverFirst
  }

  static async begin(
    t: TestContext,
    port: number,
    {
      gs2 = 'n,,',
      localAddress,
      header = '',
      name = '*',
    }: { gs2?: string; localAddress?: string; header?: string; name?: string } = {},
  ): Promise<Scram> {
    const client = await RawClient.connect(t, port, localAddress)
    client.socket.write(header)
    client.startup({ user: 'anybody' })
    await client.next()
    const firstBare = `n=${name},r=clientnonce`
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

  prove(password: string, change: Change = {}): void {
    this.client.send('p', this.proofOf(password, change))
  }

  /** The client-final-message; `spell` may write the proof in another way. */
  proofOf(password: string, change: Change, spell = (proof: string): string => proof): string {
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
    const signature = createHmac('sha256', storedKey).update(authMessage, 'latin1').digest()
    const proof = Buffer.from(clientKey.map((byte, i) => byte ^ signature[i]!))
    return `${finalBare},p=${spell(change.proof ?? proof.toString('base64'))}`
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
