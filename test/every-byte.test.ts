/**
 * Whole conversations before the pipe, of either side, that end after any of their bytes and come in
 * slices of any size: each is the whole one, or a broken connection of the right kind.
 */

import assert from 'node:assert/strict'
import { type Duplex, duplexPair } from 'node:stream'
import { test } from 'node:test'

import { Secret } from '../src/core/secret.js'
import { clientHandshake } from '../src/session/client-handshake.js'
import { login } from '../src/upstream/login.js'
import {
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
  errorResponse,
} from '../src/wire/backend.js'
import { readExactly } from '../src/wire/byte-reader.js'
import { SCRAM_SHA_256, ScramClient, ScramServer, scramVerifier } from '../src/wire/scram.js'
import { cancelRequest, message, SSL_REQUEST, startupPacket } from './chaos/raw-client.js'
import { localAuth } from './support/local-auth.js'
import { socketPair } from './support/sockets.js'
import { wireParameters } from './support/wire-parameters.js'

const PASSWORD = 'geheim'
const SLICES = [1, 7, 1_000]
const { signal } = new AbortController()

/** Says `limit` bytes of what it is told to, in slices, and then hangs up. */
class Speaker {
  said = 0
  readonly #stream: Duplex
  readonly #slice: number
  readonly #limit: number

  constructor(stream: Duplex, slice: number, limit: number) {
    this.#stream = stream
    this.#slice = slice
    this.#limit = limit
  }

  say(bytes: Buffer): void {
    const some = bytes.subarray(0, this.#limit - this.said)
    this.said += some.length
    for (let at = 0; at < some.length; at += this.#slice) {
      this.#stream.write(some.subarray(at, at + this.#slice))
    }
    if (this.said === this.#limit) this.#stream.end()
  }
}

async function hear(stream: Duplex): Promise<{ type: string; body: Buffer }> {
  const head = await readExactly(stream, 5, signal)
  const length = head.readInt32BE(1) - 4
  const body = length === 0 ? Buffer.alloc(0) : await readExactly(stream, length, signal)
  return { type: head.toString('latin1', 0, 1), body }
}

/** A client with the password, as far as it is heard. */
async function scramClient(stream: Duplex, speaker: Speaker): Promise<void> {
  const scram = new ScramClient(PASSWORD)
  await hear(stream)
  const first = Buffer.from(scram.first())
  const length = Buffer.alloc(4)
  length.writeInt32BE(first.length)
  speaker.say(message('p', Buffer.concat([Buffer.from(`${SCRAM_SHA_256}\0`), length, first])))
  const { body } = await hear(stream)
  speaker.say(message('p', await scram.final(body.toString('utf8', 4))))
  scram.verify((await hear(stream)).body.toString('utf8', 4))
}

test('a password exchange that ends after any byte of the client lets no client in, and the whole exchange does', async () => {
  const auth = localAuth(new Secret(PASSWORD))
  const exchange = async (slice: number, limit: number) => {
    const [near, far] = duplexPair()
    const speaker = new Speaker(far, slice, limit)
    const client = scramClient(far, speaker)
    client.catch(() => {}) // it is not answered when it was cut short
    try {
      await auth.authenticate(near, undefined, signal)
      await client
      return speaker.said
    } finally {
      near.destroy()
      far.destroy()
    }
  }
  const whole = await exchange(1_000, 1_000_000)
  for (const slice of SLICES) {
    for (let end = 1; end < whole; end++) {
      await assert.rejects(exchange(slice, end), { kind: 'protocol' }, `${end} bytes by ${slice}`)
    }
    assert.equal(await exchange(slice, whole), whole)
  }
})

const greeting = Buffer.concat([
  message('S', 'server_version\x0016.4\0'),
  message('K', Buffer.from([0, 0, 0, 1, 1, 2, 3, 4])),
  message('Z', 'I'),
])
const AUTHENTICATION_OK = message('R', Buffer.alloc(4))

test('a SCRAM login whose server falls off after any byte is worth another dial until it has let us in, and never half a login', async () => {
  const verifier = await scramVerifier([PASSWORD])
  const credential = { password: new Secret(PASSWORD), method: 'password' as const }
  const startup = startupPacket({ user: 'app' })
  const server = async (stream: Duplex, speaker: Speaker): Promise<void> => {
    const scram = new ScramServer(verifier)
    await readExactly(stream, startup.length, signal)
    speaker.say(authenticationSasl(SCRAM_SHA_256))
    const { body } = await hear(stream)
    const at = body.indexOf(0) + 5
    speaker.say(authenticationSaslContinue(scram.first(body.toString('utf8', at))!))
    const final = scram.final((await hear(stream)).body.toString())!
    speaker.say(Buffer.concat([authenticationSaslFinal(final), AUTHENTICATION_OK, greeting]))
  }
  const attempt = async (slice: number, limit: number) => {
    const [near, far] = duplexPair()
    const speaker = new Speaker(far, slice, limit)
    server(far, speaker).catch(() => {}) // it is not answered when it was cut short
    try {
      const result = await login(near, wireParameters({ user: 'app' }), credential, signal)
      assert.ok(result.outcome === 'ready')
      assert.deepEqual(result.greeting, Buffer.concat([AUTHENTICATION_OK, greeting]))
      return speaker.said
    } finally {
      near.destroy()
      far.destroy()
    }
  }
  const whole = await attempt(1_000, 1_000_000)
  for (const slice of SLICES) {
    for (let end = 1; end < whole; end++) {
      const kind = end < whole - greeting.length ? 'dial' : 'upstream'
      await assert.rejects(attempt(slice, end), { kind }, `${end} bytes by ${slice}`)
    }
    assert.equal(await attempt(slice, whole), whole)
  }
})

test('a refusal that ends after any byte is a server that hung up, and all of it is the refusal', async () => {
  const refusal = errorResponse({ sqlState: '28P01', message: 'no', detail: 'd', hint: 'h' })
  const credential = { password: new Secret('t'), method: 'token' as const }
  for (const slice of SLICES) {
    for (let end = 1; end <= refusal.length; end++) {
      const [near, far] = duplexPair()
      const attempt = login(near, wireParameters({ user: 'app' }), credential, signal)
      new Speaker(far.resume(), slice, end).say(refusal)
      if (end < refusal.length) await assert.rejects(attempt, { kind: 'dial' }, `${end} bytes`)
      else assert.equal((await attempt).outcome, 'refused')
      near.destroy()
    }
  }
})

const GSSENC_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 48])
const packets = {
  StartupMessage: startupPacket({ user: 'anyone', database: 'db' }),
  CancelRequest: cancelRequest(Buffer.alloc(8, 7)),
}

for (const [type, packet] of Object.entries(packets)) {
  test(`what a client says up to its ${type}, ended after any byte, is noise or a probe`, async () => {
    const whole = Buffer.concat([SSL_REQUEST, GSSENC_REQUEST, packet])
    for (const slice of SLICES) {
      for (let end = 0; end <= whole.length; end++) {
        const [client, near] = await socketPair()
        const handshake = clientHandshake(near, undefined, signal)
        const speaker = new Speaker(client, slice, end)
        speaker.say(whole)
        const { hello } = await handshake
        const expected = end === 0 ? 'probe' : end < whole.length ? 'none' : 'packet'
        assert.equal(hello.type, expected, `${end} bytes by ${slice}`)
        if (hello.type === 'packet') assert.equal(hello.packet.type, type)
        client.destroy()
        near.destroy()
      }
    }
  })
}
