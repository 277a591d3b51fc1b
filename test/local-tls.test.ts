/** `local-tls`: what is shown to clients that want TLS, where its keys are, and what is refused. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import {
  chmod,
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import tls from 'node:tls'

import type pg from 'pg'

import type { ProxyError } from '../src/core/errors.js'
import { readExactly } from '../src/wire/byte-reader.js'
import { emulatorForTests, needsPsql } from './support/emulator.js'
import { FakeClock } from './support/fake-clock.js'
import { otherUser } from './support/identities.js'
import { connectedClient, proxyBefore, psql, run, temporaryFolder } from './support/proxy.js'
import { RawClient } from './support/raw-client.js'
import { connect, readAll } from './support/sockets.js'

const emulator = await emulatorForTests()

const DAY_MS = 24 * 60 * 60_000
const JAR = '/usr/share/java/postgresql.jar'
const sslRequest = Buffer.from('0000000804d2162f', 'hex')

test('psql with sslmode=require is in, and so is one that wants no TLS', {
  skip: needsPsql,
}, async (t) => {
  const { port } = await proxyBefore(t, emulator, { localTls: 'auto' })
  for (const sslmode of ['require', 'prefer', 'allow', 'disable']) {
    const { code, stderr } = await psql(
      `host=127.0.0.1 port=${port} sslmode=${sslmode}`,
      'select 1',
    )
    assert.equal(code, 0, stderr)
  }
})

test('psql with sslmode=verify-full is in with the CA that is named, and with no other', {
  skip: needsPsql,
}, async (t) => {
  const { port, daemon } = await proxyBefore(t, emulator, { localTls: 'auto' })
  const conninfo = (host: string, ca: string): string =>
    `host=${host} port=${port} sslmode=verify-full sslrootcert=${ca}`
  for (const host of ['localhost', '127.0.0.1']) {
    const { code, stderr } = await psql(conninfo(host, daemon.localCaFile!), 'select 1')
    assert.equal(code, 0, stderr)
  }
  const other = await psql(conninfo('localhost', emulator.caFile), 'select 1')
  assert.match(other.stderr, /certificate verify failed/)
})

test('a client that does not take the certificate is one line in the log, with the reason', {
  skip: needsPsql,
}, async (t) => {
  const { port, log } = await proxyBefore(t, emulator, { localTls: 'auto' })
  const conninfo = `host=localhost port=${port} sslmode=verify-full sslrootcert=${emulator.caFile}`
  await psql(conninfo, 'select 1')
  const { facts } = await log.seen(({ message }) => message === 'session ended')
  assert.equal(facts.outcome, 'no startup packet')
  assert.match(String(facts.reason), /^TLS with the client failed: .*unknown ca/i)
})

test('the path of the CA is said at the start', async (t) => {
  const { daemon, log } = await proxyBefore(t, emulator, { localTls: 'auto' })
  const { facts } = await log.seen(({ message }) => /local TLS/.test(message))
  assert.equal(facts.sslrootcert, daemon.localCaFile)
})

test('an idle client is told 57P01 over TLS, and then reads an end', async (t) => {
  const clock = new FakeClock()
  const { port, daemon } = await proxyBefore(t, emulator, { localTls: 'auto', clock })
  const client = new RawClient(await tlsTo(t, port))
  await client.logIn({ user: 'anybody' })
  const rest = readAll(client.socket)
  const drained = daemon.drain()
  let isOver = false
  const over = drained.then(() => {
    isOver = true
  })
  while (!isOver) await clock.advance(250)
  await over
  assert.match((await rest).toString(), /^E.*C57P01/s)
  assert.equal(client.socket.errored, null)
  assert.equal(await drained, true)
})

test('JDBC with sslmode=require is in', { skip: needsJava() }, async (t) => {
  const { port } = await proxyBefore(t, emulator, { localTls: 'auto' })
  const program = join(await temporaryFolder(t), 'Encrypted.java')
  await writeFile(program, JDBC_PROGRAM)
  const url = `jdbc:postgresql://localhost:${port}/databricks_postgres?user=anybody&sslmode=require`
  const { stdout, stderr } = await run('java', ['-Xshare:auto', '-cp', JAR, program, url])
  assert.equal(stdout, 'ada@example.com 100000 57014\n', stderr)
})

test('JDBC logs in with a token saved as the password, the proxy verified in full', {
  skip: needsJava(),
}, async (t) => {
  const { port, daemon } = await proxyBefore(t, emulator, {
    ...{ targets: ['projects/demo'], localAuth: 'databricks', localTls: 'auto' },
  })
  const program = join(await temporaryFolder(t), 'Encrypted.java')
  await writeFile(program, JDBC_PROGRAM)
  const login = `user=token&password=${otherUser.pat}`
  const trust = `sslmode=verify-full&sslrootcert=${daemon.localCaFile}`
  const url = `jdbc:postgresql://localhost:${port}/databricks_postgres?${login}&${trust}`
  const { stdout, stderr } = await run('java', ['-Xshare:auto', '-cp', JAR, program, url])
  assert.equal(stdout, `${otherUser.userName} 100000 57014\n`, stderr)
})

test('a million bytes each way over TLS are the same bytes', async (t) => {
  const { port } = await proxyBefore(t, emulator, { localTls: 'auto' })
  const client = await connectedClient(t, port, { ssl: { rejectUnauthorized: false } })
  const text = 'x1y2'.repeat(250_000)
  const { rows } = await client.query('select md5($1) as sum, $1 as text', [text])
  assert.equal(rows[0].text, text)
  await client.end()
})

test('a CancelRequest over TLS is carried on', async (t) => {
  const { port } = await proxyBefore(t, emulator, { localTls: 'auto' })
  const client = await connectedClient(t, port)
  const cancelled = assert.rejects(client.query('select pg_sleep(60)'), { code: '57014' })
  const { processID, secretKey } = client as pg.Client & { processID: number; secretKey: number }
  const request = Buffer.from('0000001004d2162e0000000000000000', 'hex')
  request.writeInt32BE(processID, 8)
  request.writeInt32BE(secretKey, 12)
  const secured = await tlsTo(t, port)
  secured.end(request)
  await cancelled
})

test('keys are for their owner alone, in a folder that is', { skip: onWindows() }, async (t) => {
  const stateDir = join(await temporaryFolder(t), 'deep', 'state')
  await mkdir(stateDir, { recursive: true, mode: 0o755 })
  await proxyBefore(t, emulator, { localTls: 'auto', stateDir })
  assert.equal((await stat(stateDir)).mode & 0o777, 0o700)
  const files = await readdir(stateDir)
  assert.deepEqual(files.sort(), ['local-ca-key.pem', 'local-ca.pem', 'local-server.pem'])
  for (const file of files)
    assert.equal((await stat(join(stateDir, file))).mode & 0o777, 0o600, file)
  assert.doesNotMatch(await readFile(join(stateDir, 'local-ca.pem'), 'utf8'), /PRIVATE/)
})

test('a second start shows the same certificate; two that start at once agree on one CA', async (t) => {
  const stateDir = await temporaryFolder(t)
  const proxies = await Promise.all(
    Array.from({ length: 4 }, () => proxyBefore(t, emulator, { localTls: 'auto', stateDir })),
  )
  const ca = new X509Certificate(await readFile(proxies[0]!.daemon.localCaFile!))
  for (const { port } of proxies) {
    const { peer } = await shown(t, port)
    assert.ok(peer.verify(ca.publicKey))
  }
  const later = await proxyBefore(t, emulator, { localTls: 'auto', stateDir })
  const again = await proxyBefore(t, emulator, { localTls: 'auto', stateDir })
  const [one, other] = [await shown(t, later.port), await shown(t, again.port)]
  assert.equal(one.peer.fingerprint256, other.peer.fingerprint256)
})

test('a certificate is renewed a month before its end, while clients come and go', async (t) => {
  const clock = new FakeClock()
  const { port, daemon } = await proxyBefore(t, emulator, { localTls: 'auto', clock })
  const before = (await shown(t, port)).peer
  assert.equal(Date.parse(before.validTo), 90 * DAY_MS)
  const ca = await readFile(daemon.localCaFile!, 'utf8')

  await clock.advance(59 * DAY_MS)
  assert.equal((await shown(t, port)).peer.fingerprint256, before.fingerprint256)
  await clock.advance(3 * DAY_MS)
  const after = await until(async () => {
    const { peer } = await shown(t, port)
    return peer.fingerprint256 === before.fingerprint256 ? undefined : peer
  })
  assert.ok(Date.parse(after.validTo) >= (60 + 90) * DAY_MS)
  assert.ok(after.verify(new X509Certificate(ca).publicKey))
  assert.equal(await readFile(daemon.localCaFile!, 'utf8'), ca)
})

test('a certificate is good for the addresses that are listened at', async (t) => {
  const address = outsideAddress()
  if (address === undefined) return t.skip('this machine has only loopback addresses')
  for (const listened of [address, '0.0.0.0']) {
    const { port } = await proxyBefore(t, emulator, {
      ...{ address: listened, localTls: 'auto', localAuth: 'password', localPassword: 'secret' },
    })
    assert.equal((await shown(t, port, address)).peer.checkIP(address), address)
  }
})

test('a state folder that cannot be used is an error that says what to do', async (t) => {
  const file = join(await temporaryFolder(t), 'file')
  await writeFile(file, '')
  await assert.rejects(
    proxyBefore(t, emulator, { localTls: 'auto', stateDir: join(file, 'state') }),
    (error: ProxyError) => error.kind === 'config' && /XDG_STATE_HOME/.test(error.hint ?? ''),
  )
})

test('damaged and half-written files are made again', async (t) => {
  const stateDir = await temporaryFolder(t)
  for (const damage of [
    '',
    'noise',
    '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
  ]) {
    for (const file of ['local-ca-key.pem', 'local-ca.pem', 'local-server.pem']) {
      await writeFile(join(stateDir, file), damage)
      const { port, daemon } = await proxyBefore(t, emulator, { localTls: 'auto', stateDir })
      const ca = new X509Certificate(await readFile(daemon.localCaFile!))
      assert.ok((await shown(t, port)).peer.verify(ca.publicKey), `${file}: ${damage}`)
    }
  }
})

test('a CA that is there and cannot be read is an error, and is not replaced', {
  skip: onWindows(),
}, async (t) => {
  const stateDir = await temporaryFolder(t)
  const path = join(stateDir, 'local-ca-key.pem')
  await symlink(path, path) // ELOOP: no user can read that, not even root
  await assert.rejects(
    proxyBefore(t, emulator, { localTls: 'auto', stateDir }),
    (error: ProxyError) => error.kind === 'config' && /ELOOP/.test(error.message),
  )
  assert.ok((await lstat(path)).isSymbolicLink())
})

test('the user’s own certificate is shown, and a replaced one within a second or two; half a pair changes nothing', async (t) => {
  const clock = new FakeClock()
  const folder = await temporaryFolder(t)
  const [first, second] = [await ownCertificate(t, 'first'), await ownCertificate(t, 'second')]
  const [cert, key] = [join(folder, 'tls.crt'), join(folder, 'tls.key')]
  const install = async (from: { cert: string; key: string }): Promise<void> => {
    await copyFile(from.cert, cert)
    await copyFile(from.key, key)
    await chmod(key, 0o600)
  }
  await install(first)
  const { port, daemon, log } = await proxyBefore(t, emulator, {
    ...{ clock, localTlsCert: cert, localTlsKey: key },
  })
  assert.equal(daemon.localCaFile, undefined)
  assert.match((await shown(t, port)).peer.subjectAltName!, /first/)

  const isShown = async (name: RegExp, why?: string): Promise<void> => {
    await clock.advance(1_000)
    assert.match((await shown(t, port)).peer.subjectAltName!, name, why)
  }
  await copyFile(second.cert, cert)
  await isShown(/first/, 'the key is of the old one')
  await log.seen(({ message }) => /^local certificate not read again/.test(message))
  await writeFile(key, 'half a ke')
  await isShown(/first/, 'the key is not whole')
  await rm(cert)
  await isShown(/first/, 'there is no certificate')
  await install(second)
  await isShown(/second/)
  await log.seen(({ message }) => message === 'local certificate read again')
  await install(first)
  await isShown(/first/)
})

test('a reload shows a renewed certificate at once, and is refused with one that does not work', async (t) => {
  const own = await ownCertificate(t, 'first')
  const { port, daemon, settings } = await proxyBefore(t, emulator, {
    ...{ localTlsCert: own.cert, localTlsKey: own.key },
  })
  const [target] = daemon.targets
  const renewed = await ownCertificate(t, 'second')
  await copyFile(renewed.cert, own.cert)
  await assert.rejects(daemon.reload(settings()), /do not work/)
  assert.match((await shown(t, port)).peer.subjectAltName!, /first/)
  await copyFile(renewed.key, own.key)
  await daemon.reload(settings())
  assert.match((await shown(t, port)).peer.subjectAltName!, /second/)
  assert.equal(daemon.targets[0], target, 'no target changes for it')
})

test('a key that others can read, and one that is not the certificate’s, are refused', async (t) => {
  const [own, other] = [await ownCertificate(t, 'own'), await ownCertificate(t, 'other')]
  const open = (cert: string, key: string) =>
    proxyBefore(t, emulator, { localTlsCert: cert, localTlsKey: key })
  await assert.rejects(open(own.cert, other.key), /do not work/)
  await chmod(own.key, 0o644)
  await assert.rejects(open(own.cert, own.key), /can be read by others/)
})

test('what is stuffed after SSLRequest is refused, and TLS is not begun', async (t) => {
  const { port } = await proxyBefore(t, emulator, { localTls: 'auto' })
  const client = await RawClient.connect(t, port)
  const stuffed = Buffer.from('user\0mallory\0\0')
  const startup = Buffer.concat([Buffer.from('0000001600030000', 'hex'), stuffed])
  client.socket.write(Buffer.concat([sslRequest, startup]))
  const answer = (await readAll(client.socket)).toString('latin1')
  assert.match(answer, /^E.*C08P01\0Mreceived unencrypted data after SSL request\0/s)
})

test('a TLS hello without SSLRequest, where local TLS is off, is closed without a byte and logged', async (t) => {
  const { port, log } = await proxyBefore(t, emulator)
  const secured = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
  await new Promise((resolve) => secured.on('error', resolve).on('close', resolve))
  assert.equal(secured.bytesRead, 0)
  const { facts } = await log.seen(({ message }) => message === 'session ended')
  assert.match(String(facts.reason), /sslnegotiation=postgres.*--local-tls=auto/)
  const ends = log.lines.filter(({ message }) => message === 'session ended')
  assert.deepEqual([ends.length, ends[0]!.level], [1, 'info'])
})

/** As libpq with `sslnegotiation=direct`; undefined: no ALPN extension. */
async function directTls(
  t: TestContext,
  port: number,
  ALPNProtocols?: string[],
): Promise<tls.TLSSocket> {
  const alpn = ALPNProtocols === undefined ? {} : { ALPNProtocols }
  const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...alpn })
  socket.on('error', () => {})
  t.after(() => socket.destroy())
  await new Promise((resolve) => socket.once('secureConnect', resolve).once('close', resolve))
  return socket
}

for (const offered of [['postgresql'], ['h2', 'postgresql']]) {
  test(`direct TLS that offers ${offered.join(' and ')} is served`, async (t) => {
    const { port } = await proxyBefore(t, emulator, { localTls: 'auto' })
    const socket = await directTls(t, port, offered)
    assert.equal(socket.alpnProtocol, 'postgresql')
    const client = new RawClient(socket)
    await client.logIn({ user: 'anybody' })
    client.query("select 'direct' as answer")
    assert.match(String(await client.untilReady()), /direct/)
  })
}

test('direct TLS without the ALPN extension is closed once TLS stands, as PostgreSQL does', async (t) => {
  const { port, log } = await proxyBefore(t, emulator, { localTls: 'auto' })
  const socket = await directTls(t, port)
  assert.equal(socket.authorized || socket.encrypted, true)
  new RawClient(socket).startup({ user: 'anybody' })
  assert.equal((await readAll(socket)).length, 0)
  const { facts } = await log.seen(({ message }) => message === 'session ended')
  assert.match(String(facts.reason), /^received direct SSL connection request without ALPN/)
})

test('a client whose ALPN offers other protocols is refused in the handshake, direct or not', async (t) => {
  const { port, log } = await proxyBefore(t, emulator, { localTls: 'auto' })
  const direct = await directTls(t, port, ['h2'])
  assert.equal(direct.errored !== null || direct.destroyed, true)
  await log.seen(({ facts }) => /^TLS with the client failed: /.test(String(facts.reason)))
  await assert.rejects(negotiatedTls(t, port, ['h2']), /no.application.protocol/i)
  assert.equal((await negotiatedTls(t, port, ['postgresql'])).alpnProtocol, 'postgresql')
  assert.equal((await negotiatedTls(t, port)).alpnProtocol, false)
})

test('SSLRequest and GSSENCRequest inside direct TLS are answered N, and the client goes on', async (t) => {
  const { port } = await proxyBefore(t, emulator, { localTls: 'auto' })
  const socket = await directTls(t, port, ['postgresql'])
  for (const request of ['0000000804d2162f', '0000000804d21630']) {
    socket.write(Buffer.from(request, 'hex'))
    assert.equal(String(await readExactly(socket, 1, new AbortController().signal)), 'N')
  }
  await new RawClient(socket).logIn({ user: 'anybody' })
})

test('a TLS hello after a refused GSSENCRequest is not taken for a start-up packet', async (t) => {
  const { port } = await proxyBefore(t, emulator, { localTls: 'auto' })
  const client = await RawClient.connect(t, port)
  client.socket.write(Buffer.from('0000000804d21630', 'hex'))
  assert.equal(String(await readExactly(client.socket, 1, new AbortController().signal)), 'N')
  const secured = tls.connect({
    ...{ socket: client.socket, rejectUnauthorized: false, ALPNProtocols: ['postgresql'] },
  })
  secured.on('error', () => {})
  await new Promise((resolve) => secured.once('close', resolve))
  assert.equal(secured.getPeerX509Certificate(), undefined)
})

test('direct TLS that is begun and not finished ends at handshake-timeout', async (t) => {
  const clock = new FakeClock()
  const { port } = await proxyBefore(t, emulator, { localTls: 'auto', clock })
  const client = await RawClient.connect(t, port)
  const closed = readAll(client.socket)
  for (const byte of Buffer.from('160301020001000102', 'hex')) {
    client.socket.write(Buffer.from([byte]))
    await clock.advance(1_000)
  }
  await clock.advance(1_000)
  assert.equal((await closed).length, 0)
})

test('a client that wants TLS from a proxy without it is one line in the log, with what to do', {
  skip: needsPsql,
}, async (t) => {
  const { port, log } = await proxyBefore(t, emulator)
  const { stderr } = await psql(`host=127.0.0.1 port=${port} sslmode=require`, 'select 1')
  assert.match(stderr, /server does not support SSL/)
  const { facts } = await log.seen(({ message }) => message === 'session ended')
  assert.match(String(facts.reason), /sslmode=disable .*--local-tls=auto/)
})

test('TLS that is begun and not finished ends at handshake-timeout, however it dribbles', async (t) => {
  const clock = new FakeClock()
  const { port } = await proxyBefore(t, emulator, { localTls: 'auto', clock })
  const client = await RawClient.connect(t, port)
  client.socket.write(sslRequest)
  assert.equal(String(await readExactly(client.socket, 1, new AbortController().signal)), 'S')
  const closed = readAll(client.socket)
  for (const byte of Buffer.from('160301020001000102', 'hex')) {
    await clock.advance(1_000)
    client.socket.write(Buffer.from([byte]))
  }
  await clock.advance(1_000)
  assert.equal((await closed).length, 0)
})

test('from beyond this machine only over TLS, and with the password', {
  skip: needsPsql,
}, async (t) => {
  const address = outsideAddress()
  if (address === undefined) return t.skip('this machine has only loopback addresses')
  const listening = {
    address: '0.0.0.0',
    localAuth: 'password',
    localPassword: 'open sesame',
  } as const
  await assert.rejects(proxyBefore(t, emulator, listening), /let other machines in/)
  const { port } = await proxyBefore(t, emulator, { ...listening, localTls: 'auto' })
  const ask = (host: string, sslmode: string, password = 'open sesame') =>
    psql(`host=${host} port=${port} sslmode=${sslmode}`, 'select 1', { PGPASSWORD: password })

  const inClear = await ask(address, 'disable')
  assert.match(inClear.stderr, /FATAL: {2}connection requires TLS/)
  assert.match(inClear.stderr, /sslmode=require/)
  assert.equal((await ask(address, 'require')).code, 0)
  assert.match((await ask(address, 'require', 'wrong')).stderr, /password authentication failed/)
  assert.equal((await ask('127.0.0.1', 'disable')).code, 0, 'loopback needs no TLS')
})

test('unsafe-listen lets every client in, as it says', { skip: needsPsql }, async (t) => {
  const address = outsideAddress()
  if (address === undefined) return t.skip('this machine has only loopback addresses')
  await assert.rejects(proxyBefore(t, emulator, { address }), (error: ProxyError) =>
    /unsafe-listen/.test(error.hint ?? ''),
  )
  const { port } = await proxyBefore(t, emulator, { address, unsafeListen: true })
  assert.equal((await psql(`host=${address} port=${port} sslmode=disable`, 'select 1')).code, 0)
})

async function tlsTo(t: TestContext, port: number, host?: string): Promise<tls.TLSSocket> {
  const socket = await connect(port, host)
  t.after(() => socket.destroy())
  socket.write(sslRequest)
  await new Promise((resolve) => socket.once('readable', resolve))
  assert.equal(String(socket.read(1)), 'S')
  const secured = tls.connect({ socket, rejectUnauthorized: false })
  secured.on('error', () => {})
  await new Promise((resolve) => secured.once('secureConnect', resolve))
  return secured
}

/** After SSLRequest, as libpq 17 and pgjdbc do it. */
async function negotiatedTls(
  t: TestContext,
  port: number,
  ALPNProtocols: string[] = [],
): Promise<tls.TLSSocket> {
  const socket = await connect(port)
  t.after(() => socket.destroy())
  socket.write(sslRequest)
  assert.equal(String(await readExactly(socket, 1, new AbortController().signal)), 'S')
  const alpn = ALPNProtocols.length === 0 ? {} : { ALPNProtocols }
  const secured = tls.connect({ socket, rejectUnauthorized: false, ...alpn })
  await new Promise((resolve, reject) =>
    secured.once('secureConnect', resolve).once('error', reject),
  )
  return secured
}

async function shown(
  t: TestContext,
  port: number,
  host?: string,
): Promise<{ peer: X509Certificate }> {
  const secured = await tlsTo(t, port, host)
  const peer = secured.getPeerX509Certificate()!
  secured.destroy()
  return { peer }
}

async function until<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
  }
}

async function ownCertificate(
  t: TestContext,
  name: string,
): Promise<{ cert: string; key: string }> {
  const { issueCertificate, makeAuthority } = await import('../src/core/certificates.js')
  const life = { now: Date.now(), days: 10 }
  const made = await issueCertificate(
    await makeAuthority('Test', life),
    { hosts: [name], addresses: [] },
    life,
  )
  const folder = await temporaryFolder(t)
  const paths = { cert: join(folder, 'tls.crt'), key: join(folder, 'tls.key') }
  await writeFile(paths.cert, made.cert)
  await writeFile(paths.key, made.key, { mode: 0o600 })
  return paths
}

function outsideAddress(): string | undefined {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  return all.find((each) => !each.internal && each.family === 'IPv4')?.address
}

function onWindows(): false | string {
  return process.platform === 'win32' && 'Windows keeps no such modes'
}

function needsJava(): false | string {
  try {
    execFileSync('java', ['-version'], { stdio: 'ignore' })
  } catch {
    return 'java is not installed'
  }
  return !existsSync(JAR) && 'libpostgresql-jdbc-java is not installed'
}

const JDBC_PROGRAM = `
import java.sql.*;

public class Encrypted {
  public static void main(String[] args) throws Exception {
    try (Connection c = DriverManager.getConnection(args[0]); Statement s = c.createStatement()) {
      ResultSet r = s.executeQuery("select current_user, count(*) from generate_series(1, 100000)");
      r.next();
      String seen = r.getString(1) + " " + r.getInt(2);
      Thread canceller = new Thread(() -> {
        try { Thread.sleep(300); s.cancel(); } catch (Exception e) { e.printStackTrace(); }
      });
      canceller.start();
      try { s.execute("select pg_sleep(20)"); } catch (SQLException e) { seen += " " + e.getSQLState(); }
      canceller.join();
      System.out.println(seen);
    }
  }
}
`
