/**
 * The first messages of a client: a TLS hello (`sslnegotiation=direct`, with local TLS), or SSLRequest
 * and GSSENCRequest, each at most once and answered at once; then the StartupMessage or CancelRequest,
 * in any number of segments. Bytes that cannot be a start-up packet get no byte back, as PostgreSQL does.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP
 */

import type { Socket } from 'node:net'
import { type SecureContext, TLSSocket } from 'node:tls'

import { waitFor } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import { readExactly } from '../wire/byte-reader.js'
import {
  type CancelRequest,
  initialPacketLength,
  parseInitialPacket,
  type StartupMessage,
} from '../wire/frontend.js'
import { beginsProxyHeader } from './proxy-header.js'

export type ClientHello =
  | { readonly type: 'packet'; readonly packet: StartupMessage | CancelRequest }
  /** A whole packet with broken contents: the client is told. */
  | { readonly type: 'broken'; readonly error: unknown }
  /** The bytes cannot be answered: noise, or a client that gave up. */
  | { readonly type: 'none'; readonly reason: string }
  /** The client connected, sent nothing and left: a port scan, or a load balancer's health check. */
  | { readonly type: 'probe' }

export interface ClientHelloResult {
  /** The socket to go on with: the TLS one, when the client asked for TLS and got it. */
  readonly client: Socket
  readonly encrypted: boolean
  readonly hello: ClientHello
}

const PACKET_HEAD_BYTES = 8
const TLS_HANDSHAKE_RECORD = 0x16
const ALPN = 'postgresql'
// PostgreSQL's words; it also closes without an error message, in a TLS session that stands.
const NO_ALPN = 'received direct SSL connection request without ALPN protocol negotiation extension'

/** Never rejects: what goes wrong here is the client's doing, and is in the result. */
export async function clientHandshake(
  socket: Socket,
  localTls: SecureContext | undefined,
  signal: AbortSignal,
): Promise<ClientHelloResult> {
  let client = socket
  let encrypted = false
  let direct = false
  const asked = new Set<string>()
  const result = (hello: ClientHello): ClientHelloResult => ({ client, encrypted, hello })
  const none = (reason: string): ClientHelloResult => result({ type: 'none', reason })

  for (;;) {
    let bytes: Buffer
    try {
      const head = await readExactly(client, PACKET_HEAD_BYTES, signal)
      const isFirst = !encrypted && asked.size === 0
      if (isFirst && localTls !== undefined && head[0] === TLS_HANDSHAKE_RECORD) {
        socket.unshift(head)
        const secured = await secure(socket, localTls, signal).catch((error: Error) => error)
        if (secured instanceof Error) return none(tlsFailure(secured))
        client = secured
        encrypted = true
        direct = true
        if (secured.alpnProtocol !== ALPN) return none(NO_ALPN)
        continue
      }
      const length = initialPacketLength(head)
      if (length === undefined) return none(noiseReason(head))
      const rest =
        length === PACKET_HEAD_BYTES
          ? undefined
          : await readExactly(client, length - PACKET_HEAD_BYTES, signal)
      bytes = rest === undefined ? head : Buffer.concat([head, rest])
    } catch (error) {
      if (socket.bytesRead === 0 && !signal.aborted) return result({ type: 'probe' })
      return none(silenceReason(asked.has('SSLRequest') && !encrypted, error, signal))
    }

    let packet: ReturnType<typeof parseInitialPacket>
    try {
      packet = parseInitialPacket(bytes)
    } catch (error) {
      return result({ type: 'broken', error })
    }
    if (packet.type === 'StartupMessage' || packet.type === 'CancelRequest') {
      return result({ type: 'packet', packet })
    }
    if (asked.has(packet.type)) return none(`client sent ${packet.type} twice`)
    asked.add(packet.type)

    if (packet.type === 'GSSENCRequest' || localTls === undefined || direct) {
      client.write('N')
      continue
    }
    if (client.readableLength > 0) {
      // CVE-2021-23214: what came before TLS must not be taken for what came inside it.
      const error = new ProxyError('protocol', 'received unencrypted data after SSL request')
      return result({ type: 'broken', error })
    }
    client.write('S')
    try {
      client = await secure(socket, localTls, signal)
      encrypted = true
    } catch (error) {
      return none(tlsFailure(error as Error))
    }
  }
}

async function secure(
  socket: Socket,
  secureContext: SecureContext,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const secured = new TLSSocket(socket, {
    isServer: true,
    secureContext,
    // As PostgreSQL 17: a client that offers protocols must offer this one. It may offer none.
    ALPNProtocols: [ALPN],
  })
  secured.on('error', () => {})
  // Not documented, but the only sign: after the handshake a TLSSocket that no tls.Server made swallows
  // its errors, and a bad record would leave it open and dead.
  secured.once('_tlsError', (error: Error) => secured.destroy(error))
  const done = new Promise<void>((resolve, reject) => {
    const over = (): void => reject(new Error('connection closed'))
    // An end alone closes nothing: the other way is still open.
    secured.once('secure', resolve).once('error', reject).once('end', over).once('close', over)
  })
  await waitFor(done, signal)
  return secured
}

function tlsFailure({ message }: Error): string {
  return `TLS with the client failed: ${message}`
}

function noiseReason(head: Buffer): string {
  if (head[0] === TLS_HANDSHAKE_RECORD) {
    return 'client began with TLS: use sslnegotiation=postgres, or start lakebase-proxy with --local-tls=auto'
  }
  if (beginsProxyHeader(head)) {
    return 'client sent a PROXY protocol header, but its address is not in proxy-protocol-from, or proxy-protocol is off'
  }
  const text = head.toString('latin1')
  if (/^(GET|POST|PUT|HEAD|OPTIONS|DELETE|PATCH|CONNECT) ?/.test(text)) return 'client spoke HTTP'
  return 'client sent bytes that cannot be a startup packet'
}

function silenceReason(wasRefusedTls: boolean, error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return `client sent no startup packet: ${(signal.reason as Error).message}`
  if (wasRefusedTls) {
    return 'client left when it was not given TLS: use sslmode=disable or prefer with it, or start lakebase-proxy with --local-tls=auto'
  }
  return `client left during its handshake: ${(error as Error).message}`
}
