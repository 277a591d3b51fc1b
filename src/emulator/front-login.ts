/**
 * Login at the front door: whether the host is up, then whether the token is good for the role. From
 * AuthenticationOk on, bytes pass unchanged both ways, until either side ends its own: that ends both.
 * PostgreSQL alone asks a native role for its password.
 */

import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { withDeadline } from '../core/deadline.js'
import { takeBytes, untilClosed } from './byte-stream.js'
import type { Destination } from './destinations.js'
import type { FrontConnection, FrontContext } from './front-connection.js'
import type { Startup } from './front-handshake.js'
import {
  authenticationRequest,
  passwordMessage,
  Refused,
  refusals,
  roleRefusal,
  tokenRefusal,
} from './front-messages.js'
import type { Postgres } from './postgres-server.js'

const AUTHENTICATION = 0x52 // R
const BACKEND_KEY_DATA = 0x4b // K
const ERROR_RESPONSE = 0x45 // E
const PASSWORD_MESSAGE = 0x70 // p
const MAX_PASSWORD_BYTES = 65_535
const PASSWORD_MS = 60_000

export async function logIn(
  client: TLSSocket,
  startup: Startup,
  connection: FrontConnection,
  context: FrontContext,
): Promise<void> {
  const destination = authorizeExternally(connection.host, context)
  await context.onPhase('startup', connection, client)
  const role = Buffer.from(startup.parameters.get('user') ?? '', 'latin1').toString('utf8')
  if (role === '') throw new Refused(refusals.noUser)
  if (destination.kind === 'autoscaling' && destination.pooled) {
    return refuseAsPooler(client, context)
  }
  const native = context.nativeRoles.has(role)
  if (!native) {
    client.write(authenticationRequest(3))
    const password = await readPassword(client, context)
    await context.onPhase('password', connection, client)
    connection.tokenNumber = checkToken(password, role, destination, context)
  }
  await context.onPhase('compute', connection, client)
  const postgres = await context.computes.enter(destination)
  if (client.destroyed) return
  const server = postgres.connect()
  server.on('error', () => {})
  client.once('close', () => server.destroy())
  try {
    server.write(startup.packet)
    if (native) await context.onPhase('greeting', connection, client)
    const opened = native ? undefined : await openAsIdentity(server, postgres, role, destination)
    if (opened !== undefined) {
      client.write(opened)
      if (opened[0] !== ERROR_RESPONSE) await context.onPhase('greeting', connection, client)
    }
    // From here on bytes pass unchanged, also when PostgreSQL asks a native role for its password.
    client.pipe(server)
    connection.processId = await passGreeting(server, client)
    if (native || connection.processId !== undefined) {
      await context.onPhase('login', connection, client)
    }
    await relay(client, server)
  } finally {
    server.destroy()
  }
}

function authorizeExternally(host: string | undefined, context: FrontContext): Destination {
  const destination = context.destinations.get(host ?? '')
  if (destination === undefined) throw denied('No such host.')
  if (destination.kind === 'provisioned') {
    const { state } = destination.instance
    if (state === 'STOPPED' || state === 'STARTING' || state === 'DELETING') {
      throw denied(`Instance is ${state}.`)
    }
    return destination
  }
  if (destination.endpoint.disabled) throw denied('Endpoint is disabled.')
  return destination
}

function denied(reason: string): Refused {
  return new Refused(refusals.externalAuthorization(reason))
}

async function readPassword(client: TLSSocket, context: FrontContext): Promise<string> {
  const body = await readPasswordMessage(client, context)
  // One zero byte, and that at the end.
  if (body.indexOf(0) !== body.length - 1) throw new Refused(refusals.noPassword)
  return body.toString('utf8', 0, body.length - 1)
}

/** A pooled host asks every role for SCRAM, which a token cannot pass. */
async function refuseAsPooler(client: TLSSocket, context: FrontContext): Promise<never> {
  client.write(authenticationRequest(10))
  await readPasswordMessage(client, context)
  throw new Refused(refusals.sasl)
}

/** The body of one message of type p: a password, or what SASL says first. */
async function readPasswordMessage(client: TLSSocket, context: FrontContext): Promise<Buffer> {
  const reason = (): Error => new Error('no password')
  return withDeadline({ clock: context.clock, ms: PASSWORD_MS, reason }, async (signal) => {
    const head = await takeBytes(client, 5, signal)
    const length = head.readInt32BE(1)
    if (head[0] !== PASSWORD_MESSAGE || length < 4 || length > MAX_PASSWORD_BYTES) {
      throw new Refused(refusals.noPassword)
    }
    return takeBytes(client, length - 4, signal)
  })
}

/** The token's number. */
function checkToken(
  password: string,
  role: string,
  destination: Destination,
  context: FrontContext,
): number {
  const verdict = context.tokens.judge(password, role)
  if (verdict.is === 'good') return verdict.token.number
  throw new Refused(tokenRefusal(destination.kind, verdict, role))
}

/**
 * What PostgreSQL says first to an identity that the front door has let in: AuthenticationOk, also
 * to a role that does not exist, whose error then comes next. Returns the bytes for the client.
 */
async function openAsIdentity(
  server: Socket,
  postgres: Postgres,
  role: string,
  destination: Destination,
): Promise<Buffer> {
  let first = await readMessage(server)
  const { identityPassword } = postgres
  if (first[0] === AUTHENTICATION && first.readInt32BE(5) === 3 && identityPassword !== undefined) {
    server.write(passwordMessage(identityPassword))
    first = await readMessage(server)
  }
  if (first[0] === ERROR_RESPONSE) return first
  const second = await readMessage(server)
  const isError = second[0] === ERROR_RESPONSE
  if (isError && /role ".*" (does not exist|is not permitted)/.test(second.toString('utf8'))) {
    throw new Refused(roleRefusal(destination.kind, role))
  }
  server.unshift(second)
  return first
}

/** Passes on what PostgreSQL says until it names its process. Undefined: it refuses. */
async function passGreeting(server: Socket, client: Socket): Promise<number | undefined> {
  for (;;) {
    const message = await readMessage(server)
    client.write(message)
    if (message[0] === BACKEND_KEY_DATA) return message.readInt32BE(5)
    if (message[0] === ERROR_RESPONSE) return undefined
  }
}

async function readMessage(server: Socket): Promise<Buffer> {
  // Needs no signal: the client's end closes this socket, and so ends the wait.
  const head = await takeBytes(server, 5)
  return Buffer.concat([head, await takeBytes(server, head.readInt32BE(1) - 4)])
}

/**
 * Bytes pass both ways until either side ends, which ends both. An answer that is still on its way
 * when the client ends its side is lost, as at the real front door.
 */
async function relay(client: TLSSocket, server: Socket): Promise<void> {
  server.pipe(client)
  await Promise.race([over(client), over(server)])
  server.unpipe(client).resume()
  client.unpipe(server).resume()
  server.end()
  client.end()
  await untilClosed(client)
}

function over(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('end', resolve).once('close', resolve)
    if (socket.readableEnded || socket.closed) resolve()
  })
}
