/**
 * The PROXY protocol header of a load balancer, versions 1 and 2: the address of the real client in
 * front of the client's own bytes. Exactly the header is read, so that TLS or the start-up packet
 * follows untouched; its length is bounded in both versions.
 * https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
 */

import { isIPv4, isIPv6, type Socket } from 'node:net'

import { readExactly } from '../wire/byte-reader.js'

export interface ClientAddress {
  readonly address: string
  readonly port: number
}

/** No shorter header exists in version 1 (`PROXY UNKNOWN\r\n` has 15 bytes); version 2 begins with this. */
const V2_SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const V1_PREFIX = Buffer.from('PROXY ')
const V1_MAX_BYTES = 107
const V2_MAX_BYTES = 4_096

class NoProxyHeader extends Error {}

/**
 * Undefined: the header names no client, because the load balancer itself connects (a health check), or
 * the client came over something other than TCP and IP. Errors: NoProxyHeader, and as `readExactly`.
 */
export async function readProxyHeader(
  socket: Socket,
  signal: AbortSignal,
): Promise<ClientAddress | undefined> {
  const head = await readExactly(socket, V2_SIGNATURE.length, signal)
  if (head.equals(V2_SIGNATURE)) return readVersion2(socket, signal)
  if (head.subarray(0, V1_PREFIX.length).equals(V1_PREFIX)) {
    return readVersion1(head, socket, signal)
  }
  throw new NoProxyHeader('load balancer sent no PROXY protocol header')
}

/** Do these first bytes of a client begin a header? */
export function beginsProxyHeader(bytes: Buffer): boolean {
  return [V1_PREFIX, V2_SIGNATURE].some((start) => {
    const length = Math.min(start.length, bytes.length)
    return length >= V1_PREFIX.length && bytes.subarray(0, length).equals(start.subarray(0, length))
  })
}

async function readVersion1(
  head: Buffer,
  socket: Socket,
  signal: AbortSignal,
): Promise<ClientAddress | undefined> {
  let line = head.toString('latin1')
  while (!line.endsWith('\r\n')) {
    if (line.length >= V1_MAX_BYTES) throw malformed()
    line += (await readExactly(socket, 1, signal)).toString('latin1')
  }
  const words = line.slice(0, -2).split(' ')
  const [, family, source = '', destination = '', sourcePort, destinationPort] = words
  if (family === 'UNKNOWN') return undefined
  const isAddress = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isIPv6 : () => false
  const port = portOf(sourcePort)
  const isWhole = words.length === 6 && isAddress(source) && isAddress(destination)
  if (!isWhole || port === undefined || portOf(destinationPort) === undefined) throw malformed()
  return { address: source, port }
}

function portOf(text: string | undefined): number | undefined {
  const port = /^(0|[1-9]\d{0,4})$/.test(text ?? '') ? Number(text) : 65_536
  return port <= 65_535 ? port : undefined
}

async function readVersion2(
  socket: Socket,
  signal: AbortSignal,
): Promise<ClientAddress | undefined> {
  const fixed = await readExactly(socket, 4, signal)
  const [versionAndCommand, family] = fixed
  const length = fixed.readUInt16BE(2)
  if (length > V2_MAX_BYTES) throw malformed()
  const body = length === 0 ? Buffer.alloc(0) : await readExactly(socket, length, signal)
  if (versionAndCommand === 0x20) return undefined // LOCAL: the load balancer's own connection
  if (versionAndCommand !== 0x21) throw malformed()
  if (family === 0x11) {
    if (length < 12) throw malformed()
    return { address: body.subarray(0, 4).join('.'), port: body.readUInt16BE(8) }
  }
  if (family === 0x21) {
    if (length < 36) throw malformed()
    return { address: ipv6Text(body), port: body.readUInt16BE(32) }
  }
  return undefined
}

function ipv6Text(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16))
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}

function malformed(): NoProxyHeader {
  return new NoProxyHeader('load balancer sent a malformed PROXY protocol header')
}
