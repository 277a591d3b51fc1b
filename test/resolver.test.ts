import assert from 'node:assert/strict'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { after, test } from 'node:test'

import { decode, encode, type Packet } from 'dns-packet'

import { systemClock } from '../src/core/clock.js'
import { Resolver } from '../src/endpoints/resolver.js'
import { eventually } from './chaos/world.js'
import { FakeClock } from './support/fake-clock.js'

const { signal } = new AbortController()
const HOST = 'ep-cool-name-1234.database.us-west-2.cloud.databricks.com'
const servers: Socket[] = []
after(() => {
  for (const server of servers) server.close()
})

interface DnsAnswer {
  addresses: string[]
  ttl: number
}

/**
 * A DNS server that answers A questions for HOST with what `answer` says, and counts them. To all
 * others it says that there is no such name, or nothing at all.
 */
async function dnsServer(
  answer: () => DnsAnswer | 'silence' | undefined,
  others: 'no' | 'silence' = 'no',
) {
  const counts = { questions: 0 }
  const answerCounted = () => {
    counts.questions++
    return answer()
  }
  const server = createSocket('udp4')
  servers.push(server)
  server.on('message', (bytes, from) => {
    const question = decode(bytes).questions![0]!
    const isA = question.type === 'A'
    const found = isA ? answerCounted() : undefined
    if (found === 'silence' || (!isA && others === 'silence')) return
    const reply: Packet = {
      type: 'response',
      id: decode(bytes).id!,
      flags: found === undefined ? 3 : 0,
      questions: [question],
      answers: (found?.addresses ?? []).map((data) => ({
        type: 'A',
        name: question.name,
        ttl: found!.ttl,
        data,
      })),
    }
    server.send(encode(reply), from.port, from.address)
  })
  server.bind(0, '127.0.0.1')
  await once(server, 'listening')
  return { at: `127.0.0.1:${(server.address() as AddressInfo).port}`, counts }
}

const refused = async (): Promise<never> => {
  throw new Error('ENOTFOUND')
}

test('what the system does not know, the DNS servers are asked for, once for all who wait', async () => {
  const { at, counts } = await dnsServer(() => ({ addresses: ['10.0.0.1', '10.0.0.2'], ttl: 20 }))
  const resolver = new Resolver({ servers: [at], clock: systemClock, systemLookup: refused })
  const answers = await Promise.all(
    Array.from({ length: 50 }, () => resolver.resolve(HOST, signal)),
  )
  assert.deepEqual(new Set(answers.flat()), new Set(['10.0.0.1', '10.0.0.2']))
  assert.equal(counts.questions, 1)
})

test('a system look-up that hangs costs a second, not the connection', async () => {
  const { at } = await dnsServer(() => ({ addresses: ['10.0.0.1'], ttl: 20 }))
  const systemLookup = () => new Promise<string[]>(() => {})
  const resolver = new Resolver({ servers: [at], clock: systemClock, systemLookup })
  assert.deepEqual(await resolver.resolve(HOST, signal), ['10.0.0.1'])
})

test('while a system look-up hangs, servers that had no answer are asked again', async () => {
  let answer: DnsAnswer | undefined
  const { at, counts } = await dnsServer(() => answer)
  const systemLookup = () => new Promise<string[]>(() => {})
  const clock = new FakeClock()
  const resolver = new Resolver({ servers: [at], clock, systemLookup })
  const impatient = new AbortController()
  const first = resolver.resolve(HOST, impatient.signal)
  await clock.advance(1_000)
  await eventually(() => counts.questions > 0, 'the DNS server is not asked')
  impatient.abort(new Error('left'))
  await assert.rejects(first, /left/)

  answer = { addresses: ['10.0.0.1'], ttl: 20 }
  let found: readonly string[] = []
  void resolver.resolve(HOST, signal).then((addresses) => {
    found = addresses
  })
  await eventually(() => {
    void clock.advance(1_000)
    return found.length > 0
  }, 'the servers are not asked again')
  assert.deepEqual(found, ['10.0.0.1'])
})

test("the system's answer is used when it has one", async () => {
  const { at, counts } = await dnsServer(() => ({ addresses: ['10.0.0.1'], ttl: 20 }))
  const systemLookup = async () => ['10.9.9.9']
  const resolver = new Resolver({ servers: [at], clock: systemClock, systemLookup })
  assert.deepEqual(await resolver.resolve(HOST, signal), ['10.9.9.9'])
  assert.equal(counts.questions, 0)
})

test('the old answer stays while asking again fails', async () => {
  let known = true
  const { at, counts } = await dnsServer(() =>
    known ? { addresses: ['10.0.0.1'], ttl: 20 } : undefined,
  )
  const resolver = new Resolver({ servers: [at], clock: systemClock, systemLookup: refused })
  await resolver.resolve(HOST, signal)
  known = false
  resolver.forget(HOST)
  assert.deepEqual(await resolver.resolve(HOST, signal), ['10.0.0.1'])
  assert.equal(counts.questions, 2)
})

test('after a dial that failed the next resolve asks again', async () => {
  let address = '10.0.0.1'
  const { at } = await dnsServer(() => ({ addresses: [address], ttl: 20 }))
  const resolver = new Resolver({ servers: [at], clock: systemClock, systemLookup: refused })
  await resolver.resolve(HOST, signal)
  address = '10.0.0.2'
  assert.deepEqual(await resolver.resolve(HOST, signal), ['10.0.0.1'])
  resolver.forget(HOST)
  assert.deepEqual(await resolver.resolve(HOST, signal), ['10.0.0.2'])
})

test('while asking again takes long, one client waits two seconds for it and the next do not at all', async () => {
  let isSilent = false
  const { at } = await dnsServer(() =>
    isSilent ? 'silence' : { addresses: ['10.0.0.1'], ttl: 20 },
  )
  const resolver = new Resolver({ servers: [at], clock: systemClock, systemLookup: refused })
  await resolver.resolve(HOST, signal)
  isSilent = true
  resolver.forget(HOST)
  const startedAt = performance.now()
  assert.deepEqual(await resolver.resolve(HOST, signal), ['10.0.0.1'])
  const firstMs = performance.now() - startedAt
  assert.ok(firstMs > 1_900 && firstMs < 2_500, `the first waited ${firstMs} ms`)
  for (let i = 0; i < 100; i++) assert.deepEqual(await resolver.resolve(HOST, signal), ['10.0.0.1'])
  const nextMs = performance.now() - startedAt - firstMs
  assert.ok(nextMs < 200, `the next waited ${nextMs} ms`)
})

test('an answer about one family of addresses is not kept waiting by silence about the other', async () => {
  const { at } = await dnsServer(() => ({ addresses: ['10.0.0.1'], ttl: 20 }), 'silence')
  const resolver = new Resolver({ servers: [at], clock: systemClock, systemLookup: refused })
  const startedAt = performance.now()
  assert.deepEqual(await resolver.resolve(HOST, signal), ['10.0.0.1'])
  assert.ok(performance.now() - startedAt < 1_000)
})

test('system look-ups that hang do not pile up: there is never more than one for a name', async () => {
  const { at } = await dnsServer(() => ({ addresses: ['10.0.0.1'], ttl: 20 }))
  let lookUps = 0
  const systemLookup = () => new Promise<string[]>(() => (lookUps += 1))
  const clock = new FakeClock()
  const resolver = new Resolver({ servers: [at], clock, systemLookup })
  for (let i = 0; i < 10; i++) {
    resolver.forget(HOST)
    const answer = resolver.resolve(HOST, signal)
    await clock.advance(1_000)
    assert.deepEqual(await answer, ['10.0.0.1'])
  }
  assert.equal(lookUps, 1)
})

test('an unknown host is an error that names it and says what to type', async () => {
  const { at } = await dnsServer(() => undefined)
  const resolver = new Resolver({ servers: [at], clock: systemClock, systemLookup: refused })
  await assert.rejects(resolver.resolve(HOST, signal), {
    kind: 'resolve',
    message: `could not translate host name "${HOST}" to address`,
    detail: /^queryA ENOTFOUND .*; /,
    hint: /--hostaddr/,
  })
})

test('an address needs no look-up', async () => {
  const resolver = new Resolver({ servers: [], clock: systemClock, systemLookup: refused })
  assert.deepEqual(await resolver.resolve('::1', signal), ['::1'])
})
