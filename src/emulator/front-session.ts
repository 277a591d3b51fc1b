/** One connection to the front door, from accept to its end, as a straight line. */

import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

import { withDeadline } from '../core/deadline.js'
import { untilClosed } from './byte-stream.js'
import type { FrontConnection, FrontContext } from './front-connection.js'
import { readSslRequest, readStartup, startTls } from './front-handshake.js'
import { logIn } from './front-login.js'
import { errorResponse, Refused, refusals } from './front-messages.js'

/** Ends when the connection has. Never rejects: the client has already been told why. */
export async function serveConnection(socket: Socket, context: FrontContext): Promise<void> {
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
