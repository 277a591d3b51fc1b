import assert from 'node:assert/strict'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { after, test } from 'node:test'

import { decode, encode, type Packet } from 'dns-packet'

import { systemClock } from '../src/clock.js'
import { Resolver } from '../src/endpoints/resolver.js'

const { signal } = new AbortController()
const HOST = 'ep-cool-name-1234.database.us-west-2.cloud.databricks.com'
const servers: Socket[] = []
after(() => {
  for (const server of servers) server.close()
})

/** A DNS server that answers A questions for HOST with what `answer` says, and counts them. */
async function dnsServer(answer: () => { addresses: string[]; ttl: number } | undefined) {
  const counts = { questions: 0 }
  const answerCounted = () => {
    counts.questions++
    return answer()
  }
  const server = createSocket('udp4')
  servers.push(server)
  server.on('message', (bytes, from) => {
    const question = decode(bytes).questions![0]!
    const found = question.type === 'A' ? answerCounted() : undefined
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

test("the system's answer is used when it has one", async () => {
  const { at, counts } = await dnsServer(() => ({ addresses: ['10.0.0.1'], ttl: 20 }))
  const systemLookup = async () => ['10.9.9.9']
  const resolver = new Resolver({ servers: [at], clock: systemClock, systemLookup })
  assert.deepEqual(await resolver.resolve(HOST, signal), ['10.9.9.9'])
  assert.equal(counts.questions, 0)
})

test('the old answer stays while asking anew fails', async () => {
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

test('after a dial that failed the next resolve asks anew', async () => {
  let address = '10.0.0.1'
  const { at } = await dnsServer(() => ({ addresses: [address], ttl: 20 }))
  const resolver = new Resolver({ servers: [at], clock: systemClock, systemLookup: refused })
  await resolver.resolve(HOST, signal)
  address = '10.0.0.2'
  assert.deepEqual(await resolver.resolve(HOST, signal), ['10.0.0.1'])
  resolver.forget(HOST)
  assert.deepEqual(await resolver.resolve(HOST, signal), ['10.0.0.2'])
})

test('a host nobody knows is an error that names it and says what to type', async () => {
  const { at } = await dnsServer(() => undefined)
  const resolver = new Resolver({ servers: [at], clock: systemClock, systemLookup: refused })
  await assert.rejects(resolver.resolve(HOST, signal), {
    kind: 'resolve',
    message: `could not translate host name "${HOST}" to address`,
    hint: /--hostaddr/,
  })
})

test('an address needs no look-up', async () => {
  const resolver = new Resolver({ servers: [], clock: systemClock, systemLookup: refused })
  assert.deepEqual(await resolver.resolve('::1', signal), ['::1'])
})
