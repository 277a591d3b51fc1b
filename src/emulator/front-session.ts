/** One connection to the front door, from accept to its end, as a straight line. */

import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

import type { FrontConnection, FrontContext } from './front-connection.js'
import { actOutFault } from './front-faults.js'
import { readSslRequest, readStartup, startTls } from './front-handshake.js'
import { logIn } from './front-login.js'
import { errorResponse, Refused, refusals } from './front-messages.js'

/** How long a client may take to close after it was refused. */
const LINGER_MS = 1_000

/** Ends when the connection has. Never rejects: the client has already been told why. */
export async function serveConnection(
  socket: Socket,
  connection: FrontConnection,
  context: FrontContext,
): Promise<void> {
  const timeout = new AbortController()
  // At the real front door the clock runs from connect to the end of the StartupMessage.
  const cancelTimeout = context.clock.after(context.handshakeTimeoutMs, () =>
    timeout.abort(new Refused(refusals.handshakeTimeout)),
  )
  let client: Socket = socket
  try {
    await actOutFault('accept', socket, context)
    if ((await readSslRequest(socket, connection, context, timeout.signal)) === 'cancelled') return
    client = await startTls(socket, context, timeout.signal)
    const startup = await readStartup(client as TLSSocket, connection, context, timeout.signal)
    cancelTimeout()
    if (startup === 'cancelled') return
    await logIn(client as TLSSocket, startup, connection, context)
  } catch (error) {
    if (error instanceof Refused) await sayAndClose(client, errorResponse(error.refusal))
  } finally {
    cancelTimeout()
    client.destroy()
    socket.destroy()
  }
}

/** Reads on to the end meanwhile: closing with bytes unread is a reset, and could take the text with it. */
async function sayAndClose(socket: Socket, bytes: Buffer): Promise<void> {
  if (!socket.writable) return
  const closed = new AbortController()
  const timer = setTimeout(() => closed.abort(), LINGER_MS).unref()
  socket.resume()
  socket.end(bytes)
  await once(socket, 'close', { signal: closed.signal }).catch(() => {})
  clearTimeout(timer)
}
