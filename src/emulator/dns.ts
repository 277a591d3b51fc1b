/**
 * A DNS server on loopback that alone knows the emulated host names: the system's resolver does
 * not, so a client that finds them has asked here. Every other name is NXDOMAIN.
 */

import { createSocket, type RemoteInfo } from 'node:dgram'
import { once } from 'node:events'

import { type Answer, decode, encode, type Packet } from 'dns-packet'

/** The answer for one name. */
export interface DnsRecord {
  /** IPv4 and IPv6 addresses. None: the name exists, and has no address. */
  readonly addresses: readonly string[]
  readonly ttlSeconds?: number
  /** Say this instead: NXDOMAIN, SERVFAIL, REFUSED. `silence`: say nothing. */
  readonly failure?: 'NXDOMAIN' | 'SERVFAIL' | 'REFUSED' | 'silence'
}

export interface DnsServer {
  /** `127.0.0.1:port`, as Node's Resolver#setServers takes it. */
  readonly address: string
  /** Sets the answer for a name. */
  set(name: string, record: DnsRecord): void
  close(): Promise<void>
}

const DEFAULT_TTL_SECONDS = 5
const RCODES = { NXDOMAIN: 3, SERVFAIL: 2, REFUSED: 5 }

export async function startDns(
  names: readonly string[],
  addresses: readonly string[],
  port: number,
): Promise<DnsServer> {
  const records = new Map<string, DnsRecord>(names.map((name) => [name, { addresses }]))
  const socket = createSocket('udp4')
  socket.on('message', receive)
  socket.bind(port, '127.0.0.1')
  await once(socket, 'listening')
  // An ICMP "port unreachable" for an asker that has left arrives here as an error.
  socket.on('error', () => {})

  function receive(bytes: Buffer, from: RemoteInfo): void {
    let query: Packet
    try {
      query = decode(bytes)
    } catch {
      return
    }
    const question = query.questions?.[0]
    if (question === undefined) return
    const unknown = { addresses: [], failure: 'NXDOMAIN' as const }
    const record = records.get(question.name.toLowerCase()) ?? unknown
    if (record.failure === 'silence') return
    const reply: Packet = {
      type: 'response',
      id: query.id ?? 0,
      // Low bits of the flags are the response code: AA, RD, RA and it.
      flags: 0x0580 | (record.failure === undefined ? 0 : RCODES[record.failure]),
      questions: query.questions ?? [],
      answers: record.failure === undefined ? answers(question.name, question.type, record) : [],
    }
    socket.send(encode(reply), from.port, from.address)
  }

  return {
    address: `127.0.0.1:${socket.address().port}`,
    set: (name, record) => records.set(name.toLowerCase(), record),
    async close() {
      socket.close()
      await once(socket, 'close')
    },
  }
}

function answers(name: string, type: string, record: DnsRecord): Answer[] {
  if (type !== 'A' && type !== 'AAAA') return []
  const ttl = record.ttlSeconds ?? DEFAULT_TTL_SECONDS
  return record.addresses
    .filter((address) => address.includes(':') === (type === 'AAAA'))
    .map((data) => ({ type, name, ttl, data }))
}
