/**
 * The second half of a connection to the front door: is the host up, is the token good for the
 * role; then PostgreSQL speaks for itself, and bytes pass unchanged both ways. A native role is
 * asked by PostgreSQL alone.
 */

import type { Socket } from 'node:net'
import { pipeline } from 'node:stream/promises'
import type { TLSSocket } from 'node:tls'

import { takeBytes } from './byte-stream.js'
import type { Destination } from './destinations.js'
import type { FrontConnection, FrontContext } from './front-connection.js'
import { actOutFault } from './front-faults.js'
import type { Startup } from './front-handshake.js'
import {
  authenticationRequest,
  passwordMessage,
  passwordRefusals,
  Refused,
  refusals,
} from './front-messages.js'

const AUTHENTICATION = 0x52 // R
const ERROR_RESPONSE = 0x45 // E
const PASSWORD_MESSAGE = 0x70 // p
const MAX_PASSWORD_BYTES = 65_535
/** How long a client may take to close after the server has. */
const LINGER_MS = 1_000

export async function logIn(
  client: TLSSocket,
  startup: Startup,
  connection: FrontConnection,
  context: FrontContext,
): Promise<void> {
  const destination = context.destinations.get(connection.host!)
  await authorizeExternally(destination, context)
  const fault = await actOutFault('startup', client, context)
  const role = Buffer.from(startup.parameters.get('user') ?? '', 'latin1').toString('utf8')
  if (role === '') throw new Refused(refusals.noUser)
  const native = context.nativeRoles.has(role)
  if (!native) {
    const ask = fault !== undefined && 'ask' in fault ? fault.ask : undefined
    client.write(authenticationRequest(ask === 'sasl' ? 10 : ask === 'md5' ? 5 : 3))
    const password = await readPassword(client, context)
    await actOutFault('password', client, context)
    connection.tokenNumber = checkToken(password, role, destination!, context)
  }
  const server = context.postgres.connect()
  server.on('error', () => {})
  client.once('close', () => server.destroy())
  try {
    server.write(startup.packet)
    const greeting = native ? [] : await readGreeting(server, role, destination!, context)
    if (greeting[0] !== undefined) client.write(greeting[0])
    await actOutFault('greeting', client, context)
    if (greeting[1] !== undefined) client.write(greeting[1])
    connection.phase = 'relay'
    if (greeting[1]?.[0] !== ERROR_RESPONSE) context.onLogin(connection)
    await relay(client, server)
  } finally {
    server.destroy()
  }
}

async function authorizeExternally(
  destination: Destination | undefined,
  context: FrontContext,
): Promise<void> {
  if (destination === undefined) throw denied('No such host.')
  if (destination.kind === 'provisioned') {
    const { state } = destination.instance
    if (state === 'STOPPED' || state === 'STARTING' || state === 'DELETING') {
      throw denied(`Instance is ${state}.`)
    }
    return
  }
  const { endpoint } = destination
  if (endpoint.disabled) throw denied('Endpoint is disabled.')
  if (endpoint.state !== 'IDLE') return
  // A connection wakes it, and is held meanwhile.
  await new Promise<void>((resolve) => context.clock.after(context.wakeMs, resolve))
  endpoint.state = 'ACTIVE'
}

function denied(reason: string): Refused {
  return new Refused(refusals.externalAuthorization(reason))
}

async function readPassword(client: TLSSocket, context: FrontContext): Promise<string> {
  const patience = new AbortController()
  const cancel = context.clock.after(60_000, () => patience.abort(new Error('no password')))
  try {
    const head = await takeBytes(client, 5, patience.signal)
    const length = head.readInt32BE(1)
    if (head[0] !== PASSWORD_MESSAGE || length < 4 || length > MAX_PASSWORD_BYTES) {
      throw new Refused(refusals.noPassword)
    }
    const body = await takeBytes(client, length - 4, patience.signal)
    // One zero byte, and that at the end.
    if (body.indexOf(0) !== body.length - 1) throw new Refused(refusals.noPassword)
    return body.toString('utf8', 0, body.length - 1)
  } finally {
    cancel()
  }
}

/** The token's number. */
function checkToken(
  password: string,
  role: string,
  destination: Destination,
  context: FrontContext,
): number {
  const say = passwordRefusals[destination.kind]
  const verdict = context.tokens.judge(password, role)
  const pooled = destination.kind === 'autoscaling' && destination.pooled
  if (verdict.is === 'not a JWT') throw new Refused(say.notAToken(role))
  if (verdict.is === 'refused' || pooled) throw new Refused(say.refused(role))
  if (verdict.is === 'expired') throw new Refused(say.expired(role, verdict.token.expiresAt))
  return verdict.token.number
}

/**
 * PostgreSQL's first words to an identity that the front door has let in: AuthenticationOk, which it
 * says even to a role that does not exist, and the message after it, which then is the error.
 */
async function readGreeting(
  server: Socket,
  role: string,
  destination: Destination,
  context: FrontContext,
): Promise<Buffer[]> {
  let first = await readMessage(server)
  const { identityPassword } = context.postgres
  if (first[0] === AUTHENTICATION && first.readInt32BE(5) === 3 && identityPassword !== undefined) {
    server.write(passwordMessage(identityPassword))
    first = await readMessage(server)
  }
  const second = first[0] === ERROR_RESPONSE ? first : await readMessage(server)
  const isError = second[0] === ERROR_RESPONSE
  if (isError && /role ".*" (does not exist|is not permitted)/.test(second.toString('utf8'))) {
    throw new Refused(passwordRefusals[destination.kind].noSuchRole(role))
  }
  return first === second ? [first] : [first, second]
}

async function readMessage(server: Socket): Promise<Buffer> {
  // Needs no signal: the client's end closes this socket, and so ends the wait.
  const head = await takeBytes(server, 5)
  return Buffer.concat([head, await takeBytes(server, head.readInt32BE(1) - 4)])
}

async function relay(client: TLSSocket, server: Socket): Promise<void> {
  const up = pipeline(client, server)
  const down = pipeline(server, client)
  up.catch(() => {})
  down.catch(() => {})
  // PostgreSQL closes both directions at once: there is nothing to wait for but the client's FIN.
  await down
  await Promise.race([up, new Promise((resolve) => setTimeout(resolve, LINGER_MS).unref())])
}
