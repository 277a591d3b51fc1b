/** The PROXY protocol header, however it is cut, and any other bytes in its place. */

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { test } from 'node:test'

import fc from 'fast-check'

import { readProxyHeader } from '../src/session/proxy-header.js'

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const MAX_HEADER_BYTES = SIGNATURE.length + 4 + 4_096

/** A load balancer that sends these pieces one after the other, and then hangs up. */
function balancer(pieces: readonly Buffer[]): Socket {
  const left = pieces.filter(({ length }) => length > 0)
  const stream = new Duplex({
    read() {
      setImmediate(() => this.push(left.shift() ?? null))
    },
    write: (_chunk, _encoding, done) => done(),
    highWaterMark: 1, // or the stream would join the pieces before they are looked at
  })
  return stream as unknown as Socket
}

const neverAborted = new AbortController().signal

interface Result {
  readonly said: unknown
  /** What is after the header. */
  readonly rest: Buffer
}

async function readFrom(pieces: readonly Buffer[]): Promise<Result> {
  const socket = balancer(pieces)
  const said = await readProxyHeader(socket, neverAborted).catch((error: unknown) => {
    assert.ok(error instanceof Error)
    return error.message
  })
  const rest: Buffer[] = []
  for await (const chunk of socket) rest.push(chunk as Buffer)
  return { said, rest: Buffer.concat(rest) }
}

function cutAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b)
  return [...ends, bytes.length].map((end, at) => bytes.subarray(at === 0 ? 0 : ends[at - 1], end))
}

const bytes = (range: { minLength?: number; maxLength: number }) =>
  fc.uint8Array(range).map((array) => Buffer.from(array))
const port = fc.nat(65_535)
const places = fc.array(fc.nat(5_000), { maxLength: 12 })
const rest = bytes({ maxLength: 60 })

interface Header {
  readonly header: Buffer
  readonly says: unknown
}

const version1: fc.Arbitrary<Header> = fc.oneof(
  fc.tuple(fc.ipV4(), fc.ipV4(), port, port).map(([address, to, from, at]) => ({
    header: Buffer.from(`PROXY TCP4 ${address} ${to} ${from} ${at}\r\n`),
    says: { address, port: from },
  })),
  fc
    .string({ unit: fc.constantFrom(...'0123456789abcdef:. '), maxLength: 80 })
    .map((more) => ({ header: Buffer.from(`PROXY UNKNOWN ${more}\r\n`), says: undefined })),
)

const version2: fc.Arbitrary<Header> = fc
  .tuple(bytes({ minLength: 12, maxLength: 12 }), bytes({ maxLength: 300 }), fc.boolean())
  .map(([addresses, more, isLocal]) => {
    const body = Buffer.concat([addresses, more])
    const fixed = Buffer.from([isLocal ? 0x20 : 0x21, 0x11, body.length >> 8, body.length & 255])
    const named = { address: addresses.subarray(0, 4).join('.'), port: addresses.readUInt16BE(8) }
    return { header: Buffer.concat([SIGNATURE, fixed, body]), says: isLocal ? undefined : named }
  })

test('a header that is cut anywhere says the same, and leaves every byte after it', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(version1, version2),
      rest,
      places,
      async ({ header, says }, after, cuts) => {
        const { said, rest } = await readFrom(cutAt(Buffer.concat([header, after]), cuts))
        assert.deepEqual(said, says)
        assert.deepEqual(rest, after)
      },
    ),
    { numRuns: 400 },
  )
})

test('a header that ends too early is an error, wherever it ends', async () => {
  await fc.assert(
    fc.asyncProperty(fc.oneof(version1, version2), fc.nat(), async ({ header }, end) => {
      const { said, rest } = await readFrom([header.subarray(0, end % header.length)])
      assert.equal(said, 'connection closed in the middle of a message')
      assert.equal(rest.length, 0)
    }),
    { numRuns: 300 },
  )
})

const junk = fc.oneof(
  bytes({ maxLength: 200 }),
  bytes({ maxLength: 200 }).map((more) => Buffer.concat([Buffer.from('PROXY '), more])),
  bytes({ maxLength: 4_300 }).map((more) => Buffer.concat([SIGNATURE, more])),
  fc.tuple(fc.oneof(version1, version2), fc.nat(), fc.nat(255)).map(([{ header }, at, value]) => {
    const changed = Buffer.from(header)
    changed[at % changed.length] = value
    return changed
  }),
)

test('any other bytes are an address, no address or an error, the same however they are cut', async () => {
  await fc.assert(
    fc.asyncProperty(junk, places, async (sent, cuts) => {
      const whole = await readFrom([sent])
      assert.deepEqual(await readFrom(cutAt(sent, cuts)), whole)
      assert.deepEqual(whole.rest, sent.subarray(sent.length - whole.rest.length))
      assert.ok(sent.length - whole.rest.length <= MAX_HEADER_BYTES)
    }),
    { numRuns: 400 },
  )
})
