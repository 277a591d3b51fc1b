/**
 * The handshake at the front door: SSLRequest, TLS with SNI, and a StartupMessage of protocol 3.0,
 * as strict as at the real one. A CancelRequest goes to PostgreSQL as it came, over TLS or without.
 */

import { once } from 'node:events'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

import { withDeadline } from '../core/deadline.js'
import { takeBytes, untilEnd } from './byte-stream.js'
import type { FrontConnection, FrontContext } from './front-connection.js'
import { Refused, refusals } from './front-messages.js'

const SSL_REQUEST = 80877103
const CANCEL_REQUEST = 80877102
const PROTOCOL_3_0 = 196608
// As Lakebase's front door counts: its packets have 8 to 9,999 bytes. PostgreSQL, and so the proxy, takes
// up to 10,004 from clients.
const STARTUP_LIMIT_BYTES = 10_000

export interface Startup {
  readonly parameters: ReadonlyMap<string, string>
  /** The packet as it came: PostgreSQL gets it unchanged. */
  readonly packet: Buffer
}

export async function readSslRequest(
  socket: Socket,
  connection: FrontConnection,
  context: FrontContext,
  signal: AbortSignal,
): Promise<'ssl' | 'cancelled'> {
  const length = (await takeBytes(socket, 4, signal)).readInt32BE(0)
  if (length < 8) throw new Refused(refusals.startupLength)
  // The first bytes of a TLS ClientHello, read as a length, are a huge number. The real front door waits
  // for that many bytes, and direct TLS hangs: so does it here.
  if (length >= STARTUP_LIMIT_BYTES) {
    await untilEnd(socket, signal)
    throw new Error('client left')
  }
  const body = await takeBytes(socket, length - 4, signal)
  const code = body.readInt32BE(0)
  if (code === CANCEL_REQUEST && length === 16) {
    await forwardCancel(socket, body, { connection, context, signal })
    return 'cancelled'
  }
  if (code !== SSL_REQUEST || length !== 8) throw new Refused(refusals.notSsl(code))
  if (socket.readableLength > 0) throw new Refused(refusals.unencryptedData)
  await context.onPhase('ssl-request', connection, socket)
  socket.write('S')
  await context.onPhase('tls', connection, socket)
  return 'ssl'
}

/** Errors: when the TLS handshake fails; the socket is then of no more use. */
export async function startTls(
  socket: Socket,
  context: FrontContext,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const client = new TLSSocket(socket, {
    isServer: true,
    secureContext: context.tls.byDefault,
    SNICallback: (name, done) => {
      context.tls.forName(name).then((found) => done(null, found), done)
    },
  })
  client.on('error', () => {})
  // Not documented, but the only sign: after the handshake a TLSSocket that no tls.Server made swallows
  // its errors, and a bad record would leave it open and dead.
  client.once('_tlsError', (error: Error) => client.destroy(error))
  const closed = new AbortController()
  const end = () => closed.abort()
  // Node reports a FIN only while the stream is read. No data can come before the handshake is over.
  const look = () => void client.read(0)
  client.on('readable', look).once('end', end).once('close', end)
  signal.addEventListener('abort', end)
  try {
    await once(client, 'secure', { signal: closed.signal })
  } catch {
    client.destroy()
    throw new Error('no TLS')
  } finally {
    client.off('readable', look).off('end', end).off('close', end)
    signal.removeEventListener('abort', end)
  }
  return client
}

export async function readStartup(
  client: TLSSocket,
  connection: FrontConnection,
  context: FrontContext,
  signal: AbortSignal,
): Promise<Startup | 'cancelled'> {
  const name = (client as TLSSocket & { servername?: string | false }).servername
  if (typeof name !== 'string') throw new Refused(refusals.noSni)
  connection.host = name
  const head = await takeBytes(client, 4, signal)
  const length = head.readInt32BE(0)
  if (length < 8 || length >= STARTUP_LIMIT_BYTES) throw new Refused(refusals.startupLength)
  const body = await takeBytes(client, length - 4, signal)
  const version = body.readInt32BE(0)
  if (version === CANCEL_REQUEST && length === 16) {
    await forwardCancel(client, body, { connection, context, signal })
    return 'cancelled'
  }
  if (version !== PROTOCOL_3_0) throw new Refused(refusals.protocol(version))
  const parts = body.toString('latin1', 4).split('\0')
  // name, value, …, and an empty name: split leaves one more empty piece at the end.
  if (parts.length % 2 !== 0 || parts.at(-1) !== '' || parts.at(-2) !== '') {
    throw new Refused(refusals.startupLayout)
  }
  const parameters = new Map<string, string>()
  for (let at = 0; at < parts.length - 2; at += 2) parameters.set(parts[at]!, parts[at + 1]!)
  connection.parameters = parameters
  return { parameters, packet: Buffer.concat([head, body]) }
}

interface CancelScene {
  readonly connection: FrontConnection
  readonly context: FrontContext
  readonly signal: AbortSignal
}

/** Looks for the session first, and stops when the client ends its side: it gets no answer to wait for. */
async function forwardCancel(
  client: Socket,
  body: Buffer,
  { connection, context, signal }: CancelScene,
): Promise<void> {
  if (await endsWithin(context.behaviour.cancelLookupMs, client, context)) return
  const request = Buffer.concat([Buffer.from([0, 0, 0, body.length + 4]), body])
  // Each PostgreSQL ignores keys that are not its own.
  for (const postgres of context.clusters.running()) {
    const server = postgres.connect()
    server.on('error', () => {})
    server.resume()
    server.end(request)
    await once(server, 'close', { signal }).finally(() => server.destroy())
  }
  await context.onPhase('cancel', connection, client)
}

async function endsWithin(ms: number, client: Socket, { clock }: FrontContext): Promise<boolean> {
  if (ms === 0) return false
  const reason = (): Error => new Error('the session is found')
  return withDeadline({ clock, ms, reason }, (signal) => untilEnd(client, signal)).then(
    () => true,
    () => false,
  )
}
