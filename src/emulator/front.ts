/**
 * The TLS front door of the emulated workspace: one listener for all its host names, as strict as
 * the real one (SSLRequest, TLS with SNI, protocol exactly 3.0, a token that is good for the role),
 * with a real PostgreSQL behind it, whose messages pass unchanged from AuthenticationOk on.
 */

import { constants } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'

import type { CertifiedPair } from '../core/certificates.js'
import { withDeadline } from '../core/deadline.js'
import { untilClosed } from './byte-stream.js'
import type { FrontConnection, FrontContext, TlsContexts } from './front-connection.js'
import { readSslRequest, readStartup, startTls } from './front-handshake.js'
import { logIn } from './front-login.js'
import { errorResponse, Refused, refusals } from './front-messages.js'

export interface FrontOptions extends Omit<FrontContext, 'tls'> {
  issue: IssueCertificate
  port: number
}

/** The certificate for these host names. */
type IssueCertificate = (hosts: readonly string[]) => Promise<CertifiedPair>

export interface Front {
  readonly port: number
  /** Shows certificates of this issuer from now on. */
  certify(issue: IssueCertificate): Promise<void>
  close(): Promise<void>
}

export async function startFront(options: FrontOptions): Promise<Front> {
  const open = new Set<Socket>()
  let tls = await tlsContexts(options, options.issue)
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true })
  server.on('connection', (socket) => {
    socket.on('error', () => {}) // an owner from the first tick; its end is seen as 'close'
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    void serveConnection(socket, { ...options, tls })
  })
  server.listen(options.port, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async certify(issue) {
      tls = await tlsContexts(options, issue)
    },
    async close() {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}

/** One connection, to its end. Never rejects: a `Refused` is sent to the client, any other error only closes it. */
async function serveConnection(socket: Socket, context: FrontContext): Promise<void> {
  const { clock, handshakeTimeoutMs: ms } = context
  const connection: FrontConnection = {
    ...{ host: undefined, parameters: new Map() },
    ...{ tokenNumber: undefined, processId: undefined },
  }
  const reason = (): Refused => new Refused(refusals.handshakeTimeout)
  let client: Socket = socket
  try {
    // At the real front door the clock runs from connect to the end of the StartupMessage.
    const startup = await withDeadline({ clock, ms, reason }, async (signal) => {
      await context.onPhase('accept', connection, socket)
      if ((await readSslRequest(socket, connection, context, signal)) === 'cancelled') return
      const tls = await startTls(socket, context, signal)
      client = tls
      return readStartup(tls, connection, context, signal)
    })
    if (startup === undefined || startup === 'cancelled') return
    await logIn(client as TLSSocket, startup, connection, context)
  } catch (error) {
    if (error instanceof Refused) await sayAndClose(client, errorResponse(error.refusal))
  } finally {
    client.destroy()
    socket.destroy()
  }
}

/** Reads on to the end meanwhile: closing with bytes unread is a reset, and could take the text with it. */
async function sayAndClose(socket: Socket, bytes: Buffer): Promise<void> {
  if (!socket.writable) return
  socket.resume()
  socket.end(bytes)
  await untilClosed(socket)
}

/**
 * Makes every certificate again for a new issuer, the default too: session tickets are sealed with the
 * default's keys, and a resumed session would not show the new certificate.
 */
async function tlsContexts(
  { destinations }: Pick<FrontOptions, 'destinations'>,
  issue: IssueCertificate,
): Promise<TlsContexts> {
  const make = async (name: string): Promise<SecureContext> =>
    createSecureContext({
      ...{ ...(await issue([name])), minVersion: 'TLSv1.2' },
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    })
  const made = new Map<string, Promise<SecureContext>>()
  return {
    byDefault: await make('no-name.database.cloud.databricks.com'),
    forName(name) {
      // Only our own names get a certificate each, so that a client cannot fill the memory.
      const key = destinations.has(name) ? name : ''
      const context = made.get(key) ?? make(key || 'no-such-host.database.cloud.databricks.com')
      made.set(key, context)
      return context
    },
  }
}
