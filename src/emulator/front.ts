/**
 * The TLS front door of the emulated workspace: one listener for all its host names, as strict as
 * the real one (SSLRequest, TLS with SNI, protocol exactly 3.0, a token that is good for the role),
 * with a real PostgreSQL behind it that speaks for itself from AuthenticationOk on.
 */

import { constants } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createSecureContext, type SecureContext } from 'node:tls'

import type { CertificateAuthority } from './certificates.js'
import type { FrontConnection, FrontContext, TlsContexts } from './front-connection.js'
import { serveConnection } from './front-session.js'

/** Which certificate is shown: the right one, or a certificate that clients must refuse. */
export type CertificateKind = 'right' | 'wrong-name' | 'expired' | 'untrusted'

export interface FrontOptions extends Omit<FrontContext, 'tls' | 'onLogin' | 'onCancel'> {
  authority: CertificateAuthority
  /** An authority that clients do not trust. */
  untrustedAuthority: () => Promise<CertificateAuthority>
  port: number
}

export interface Front {
  readonly port: number
  /** The connections that are open now. */
  connections(): readonly FrontConnection[]
  /** Every login, in order, the last 100,000; of native roles also those that PostgreSQL then refuses. */
  readonly logins: readonly FrontConnection[]
  /** CancelRequests handed on to PostgreSQL. */
  readonly cancelCount: number
  /** How many connections were accepted since start. */
  readonly acceptedCount: number
  showCertificate(kind: CertificateKind): Promise<void>
  /** Resets every connection that is open now. */
  resetConnections(): void
  close(): Promise<void>
}

const MAX_RECORDED_LOGINS = 100_000

export async function startFront(options: FrontOptions): Promise<Front> {
  const open = new Map<Socket, FrontConnection>()
  const logins: FrontConnection[] = []
  let accepted = 0
  let cancels = 0
  let tls = await tlsContexts(options, 'right')
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true })
  server.on('connection', (socket) => {
    socket.on('error', () => {}) // an owner from the first tick; its end is seen as 'close'
    const connection: FrontConnection = {
      id: ++accepted,
      remotePort: socket.remotePort,
      phase: 'handshake',
      host: undefined,
      parameters: new Map(),
      tokenNumber: undefined,
    }
    open.set(socket, connection)
    socket.once('close', () => open.delete(socket))
    const context: FrontContext = {
      ...options,
      tls,
      onLogin(each) {
        logins.push(each)
        if (logins.length > MAX_RECORDED_LOGINS) logins.shift()
      },
      onCancel: () => cancels++,
    }
    void serveConnection(socket, connection, context)
  })
  server.listen(options.port, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => [...open.values()],
    logins,
    get cancelCount() {
      return cancels
    },
    get acceptedCount() {
      return accepted
    },
    async showCertificate(kind) {
      tls = await tlsContexts(options, kind)
    },
    resetConnections() {
      for (const socket of open.keys()) socket.resetAndDestroy()
    },
    async close() {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      for (const socket of open.keys()) socket.destroy()
      await closed
    },
  }
}

/**
 * Makes every certificate again for a kind, the default too: session tickets are sealed with the
 * default's keys, and a resumed session would not show the new certificate.
 */
async function tlsContexts(options: FrontOptions, kind: CertificateKind): Promise<TlsContexts> {
  const authority = kind === 'untrusted' ? await options.untrustedAuthority() : options.authority
  const validMs = kind === 'expired' ? -3600_000 : undefined
  const make = async (name: string): Promise<SecureContext> => {
    const shown = kind === 'wrong-name' ? 'wrong-name.example.com' : name
    const certificate = await authority.issue([shown], validMs)
    return createSecureContext({
      ...{ ...certificate, minVersion: 'TLSv1.2' },
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    })
  }
  const made = new Map<string, Promise<SecureContext>>()
  return {
    byDefault: await make('no-name.database.cloud.databricks.com'),
    forName(name) {
      // Only our own names get a certificate each, so that a client cannot fill the memory.
      const key = options.destinations.has(name) ? name : ''
      const context = made.get(key) ?? make(key || 'no-such-host.database.cloud.databricks.com')
      made.set(key, context)
      return context
    },
  }
}
