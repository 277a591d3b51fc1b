/** A server of a test's own that speaks PostgreSQL's way into TLS, and then what the test says. */

import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { createSecureContext, TLSSocket } from 'node:tls'

import {
  type CertifiedNames,
  type CertifiedPair,
  issueCertificate,
  makeAuthority,
} from '../../src/core/certificates.js'
import { readExactly } from '../../src/wire/byte-reader.js'
import { neverAborted } from './scripted-workspace.js'

const SSL_REQUEST_BYTES = 8

export interface TlsServer {
  readonly port: number
}

/** One connection whose TLS stands. */
export interface TlsArrival {
  readonly secured: TLSSocket
  /** The socket below it. */
  readonly raw: Socket
  /** What SNI said; undefined when it said nothing. */
  readonly servername: string | undefined
}

export function authority(): Promise<CertifiedPair> {
  return makeAuthority('Test', { now: Date.now(), days: 1 })
}

export interface TlsServerOptions {
  authority: CertifiedPair
  certified: CertifiedNames
  /** Address to listen at. */
  host?: string
  /** What it takes of these; default: all. */
  ecdhCurve?: string
  serve: (arrival: TlsArrival) => void
}

/** Closed when the test ends. */
export async function tlsServer(t: TestContext, options: TlsServerOptions): Promise<TlsServer> {
  const { authority: signer, certified, host = '127.0.0.1', ecdhCurve = 'auto', serve } = options
  const pair = await issueCertificate(signer, certified, { now: Date.now(), days: 1 })
  const secureContext = createSecureContext({ ...pair, ecdhCurve })
  const open = new Set<Socket>()
  const server = net.createServer({ allowHalfOpen: true }, (raw) => {
    open.add(raw)
    raw.on('error', () => {})
    raw.on('close', () => open.delete(raw))
    void answer(raw).catch(() => raw.destroy())
  })

  async function answer(raw: Socket): Promise<void> {
    await readExactly(raw, SSL_REQUEST_BYTES, neverAborted)
    raw.write('S')
    // Without an SNICallback Node does not note the name of a socket that is upgraded.
    const SNICallback = (_: string, done: (error: null, context: typeof secureContext) => void) =>
      done(null, secureContext)
    const secured = new TLSSocket(raw, { isServer: true, secureContext, SNICallback })
    secured.on('error', () => {})
    await once(secured, 'secure')
    const { servername } = secured as { servername?: string | false }
    serve({ secured, raw, servername: servername || undefined })
  }

  server.listen(0, host)
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of open) socket.destroy()
  })
  return { port: (server.address() as AddressInfo).port }
}
