/**
 * Bytes from outside, made up and mangled: the parsers always answer with a result or with
 * an error of the right kind, and they answer. `npm run fuzz -- --cases N` runs more of them.
 */

import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { parseArgs } from 'node:util'

import fc from 'fast-check'

import { type ProxyOptions, settingsFromOptions } from '../src/config/resolve/options.js'
import { parseTarget } from '../src/config/schema/targets.js'
import { ProxyError } from '../src/core/errors.js'
import { Secret } from '../src/core/secret.js'
import { type LoginResult, login } from '../src/upstream/login.js'
import { errorResponse, parseErrorResponse } from '../src/wire/backend.js'
import { initialPacketLength, parseInitialPacket, startupMessage } from '../src/wire/frontend.js'
import { ScramClient, ScramServer, type ScramVerifier, scramVerifier } from '../src/wire/scram.js'
import { localAuth } from './support/local-auth.js'
import { wireParameters } from './support/wire-parameters.js'

// A hundred thousand in all, on every run.
const { values } = parseArgs({ options: { cases: { type: 'string' } }, strict: false })
const CASES = Number(values.cases ?? 100_000)
const share = (part: number) => ({ numRuns: Math.ceil(CASES * part) })
const { signal } = new AbortController()

const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array))

/** Valid bytes with some of them changed, dropped or doubled. */
const mangled = (valid: fc.Arbitrary<Buffer>) =>
  fc
    .tuple(
      valid,
      fc.array(fc.tuple(fc.nat(400), fc.constantFrom('set', 'drop', 'double'), fc.nat(255)), {
        maxLength: 4,
      }),
    )
    .map(([whole, edits]) => {
      const array = [...whole]
      for (const [at, edit, value] of edits) {
        if (at >= array.length) continue
        if (edit === 'set') array[at] = value
        else if (edit === 'drop') array.splice(at, 1)
        else array.splice(at, 0, array[at]!)
      }
      return Buffer.from(array)
    })

const text = fc.string({ unit: 'binary-ascii', maxLength: 12 }).map((s) => s.replaceAll('\0', ''))
const parameters = fc.dictionary(
  text.filter((name) => name !== '' && !name.startsWith('_pq_.')),
  text,
  { maxKeys: 6 },
)

test('fuzz: an initial packet is parsed, or refused with 08P01 or 0A000', () => {
  const packet = fc.oneof(
    bytes(64),
    mangled(parameters.map((each) => startupMessage(wireParameters(each)))),
  )
  fc.assert(
    fc.property(packet, (input) => {
      if (input.length < 8) return
      const length = initialPacketLength(input)
      if (length !== undefined) assert.ok(length >= 8 && length <= 10_004)
      try {
        parseInitialPacket(input)
      } catch (error) {
        assert.ok(error instanceof ProxyError && /^(08P01|0A000)$/.test(error.sqlState))
      }
    }),
    share(0.4),
  )
})

test('fuzz: what a StartupMessage says is what is sent on', () => {
  fc.assert(
    fc.property(parameters, (each) => {
      const map = wireParameters(each)
      const parsed = parseInitialPacket(startupMessage(map))
      assert.ok(parsed.type === 'StartupMessage')
      assert.deepEqual(parsed.parameters, map)
    }),
    share(0.1),
  )
})

const targetText = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc
    .constantFrom(
      'my-instance?port=1&read-only=true',
      'projects/p/branches/b/endpoints/e',
      'ep-a-b-1.database.us-west-2.cloud.databricks.com',
      'postgresql://u:p%40ss@h.example:6000/db?sslmode=require&channel_binding=prefer',
      'postgresql+psycopg://u@[::1]:1/db?hostaddr=1.2.3.4',
    )
    .chain((valid) =>
      fc
        .tuple(fc.nat(valid.length), fc.nat(3), fc.string({ maxLength: 3 }))
        .map(([at, gone, put]) => valid.slice(0, at) + put + valid.slice(at + gone)),
    ),
)

test('fuzz: a TARGET is parsed, or refused as wrong usage', () => {
  fc.assert(
    fc.property(targetText, (text) => {
      try {
        parseTarget(text)
      } catch (error) {
        assert.ok(error instanceof ProxyError && error.kind === 'config', String(error))
      }
    }),
    share(0.1),
  )
})

test('fuzz: settings are resolved whole, or refused as wrong usage', () => {
  const value = fc.oneof(
    fc.string({ maxLength: 8 }),
    fc.constantFrom('5s', '1h', 'true', '-1', '0', '70000'),
  )
  const options = fc.record(
    {
      port: fc.oneof(fc.integer(), value),
      address: value,
      database: value,
      user: value,
      connectTimeout: value,
      tokenTtl: value,
      sslmode: value,
      maxConnections: fc.oneof(fc.integer(), value),
      localAuth: value,
      hostaddr: value,
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(targetText, options, (target, given) => {
      try {
        const settings = settingsFromOptions({ targets: [target], ...given } as ProxyOptions, {})
        assert.equal(settings.targets.length, 1)
      } catch (error) {
        assert.ok(error instanceof ProxyError && error.kind === 'config', String(error))
      }
    }),
    share(0.05),
  )
})

test('fuzz: an ErrorResponse is read as far as it goes', () => {
  const response = fc
    .tuple(text, text)
    .map(([sqlState, message]) => errorResponse({ sqlState, message }))
  fc.assert(
    fc.property(fc.oneof(bytes(64), mangled(response)), (input) => {
      parseErrorResponse(input)
    }),
    share(0.25),
  )
})

test('fuzz: SCRAM as a server lets in no client that does not know the password', async () => {
  const verifier: ScramVerifier = await scramVerifier(['geheim'])
  const first = fc.oneof(text, bytes(40).map(String), fc.constant('n,,n=,r=abc'))
  fc.assert(
    fc.property(first, fc.oneof(text, bytes(60).map(String)), (clientFirst, clientFinal) => {
      const server = new ScramServer(verifier)
      const serverFirst = server.first(clientFirst)
      assert.equal(server.final(clientFinal), undefined)
      if (serverFirst === undefined) return
      const nonce = /^r=([^,]*)/.exec(serverFirst)![1]
      assert.equal(server.final(`c=biws,r=${nonce},p=${clientFinal}`), undefined)
    }),
    share(0.1),
  )
})

test('fuzz: SCRAM as a client refuses any server that made its messages up', async () => {
  await fc.assert(
    fc.asyncProperty(fc.oneof(text, bytes(60).map(String)), async (made) => {
      const client = new ScramClient('geheim')
      await assert.rejects(client.final(made), Error)
      assert.throws(() => client.verify(made), Error)
    }),
    share(0.05),
  )
})

/** A peer that says `said` in slices of `slice` bytes, and hangs up. */
function peer(said: Buffer, slice: number): Duplex {
  let at = 0
  return new Duplex({
    read() {
      if (at >= said.length) return void this.push(null)
      this.push(said.subarray(at, at + slice))
      at += slice
    },
    write: (_chunk, _encoding, done) => done(),
  })
}

const message = (type: string, body: Buffer) => {
  const head = Buffer.alloc(5, type)
  head.writeInt32BE(4 + body.length, 1)
  return Buffer.concat([head, body])
}
const R = (code: number, data = '') =>
  message('R', Buffer.from([0, 0, 0, code, ...Buffer.from(data)]))
const greeting = [
  message('S', Buffer.from('server_version\x0016.4\0')),
  message('K', Buffer.from([0, 0, 0, 1, 1, 2, 3, 4])),
  message('Z', Buffer.from('I')),
]
const serverMessage = fc.constantFrom(
  R(0),
  R(3),
  R(5, 'salt'),
  R(10, 'SCRAM-SHA-256\0\0'),
  R(11, 'r=x,s=AAAA,i=4096'),
  R(12, 'v=AAAA'),
  message('N', Buffer.from('SNOTICE\0\0')),
  errorResponse({ sqlState: '28P01', message: 'no' }),
  ...greeting,
)
const conversation = fc.oneof(
  { weight: 1, arbitrary: bytes(80) },
  {
    weight: 2,
    arbitrary: fc.array(serverMessage, { maxLength: 6 }).map((all) => Buffer.concat(all)),
  },
  { weight: 2, arbitrary: fc.constant(Buffer.concat([R(3), R(0), ...greeting])) },
)

test('fuzz: a login ends with a greeting, a refusal, or an error of its own kinds, no matter what the server sends', async () => {
  await fc.assert(
    fc.asyncProperty(
      mangled(conversation),
      fc.integer({ min: 1, max: 40 }),
      fc.constantFrom('token' as const, 'password' as const),
      async (said, slice, method) => {
        const credential = { password: new Secret('geheim'), method }
        let result: LoginResult
        try {
          result = await login(peer(said, slice), wireParameters({ user: 'u' }), credential, signal)
        } catch (error) {
          assert.ok(error instanceof ProxyError, String(error))
          assert.match(error.kind, /^(dial|upstream|identity)$/)
          return
        }
        if (result.outcome !== 'ready') return
        assert.equal(result.greeting[0], 0x52)
        assert.ok(said.includes(result.greeting.subarray(0, 9)))
      },
    ),
    share(0.08),
  )
})

test('a good login cut at any byte and in slices of any size is the same login, or a broken one', async () => {
  const whole = Buffer.concat([R(3), R(0), ...greeting])
  const credential = { password: new Secret('geheim'), method: 'token' as const }
  for (let end = 0; end <= whole.length; end++) {
    for (const slice of [1, 7, 1000]) {
      const attempt = login(peer(whole.subarray(0, end), slice), new Map(), credential, signal)
      if (end < whole.length)
        await assert.rejects(attempt, { kind: end < 18 ? 'dial' : 'upstream' })
      else assert.equal((await attempt).outcome, 'ready')
    }
  }
})

test('fuzz: a client that makes up its password messages is refused with 08P01 or 28P01', async () => {
  const auth = localAuth(new Secret('geheim'))
  let clients = 0 // each from an address of its own, or they would wait for each other
  const initial = (mechanism: string, response: string) => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(response.length, 0)
    return message(
      'p',
      Buffer.concat([Buffer.from(`${mechanism}\0`), length, Buffer.from(response)]),
    )
  }
  const valid = fc
    .tuple(
      fc.constantFrom('SCRAM-SHA-256', 'PLAIN'),
      fc.constantFrom('n,,n=,r=abc', 'p=x,,n=,r=a', ''),
      text,
    )
    .map(([mechanism, response, final]) =>
      Buffer.concat([initial(mechanism, response), message('p', Buffer.from(final))]),
    )
  await fc.assert(
    fc.asyncProperty(mangled(valid), fc.integer({ min: 1, max: 40 }), async (said, slice) => {
      await assert.rejects(auth.authenticate(peer(said, slice), `client ${++clients}`, signal), {
        name: 'ProxyError',
      })
    }),
    share(0.02),
  )
})
