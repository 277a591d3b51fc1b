/**
 * One connection to the front door, from accept to its end, as a straight line: SSLRequest, TLS,
 * StartupMessage, external authorization, the token, and then PostgreSQL's own bytes. A
 * CancelRequest goes to PostgreSQL as it came, over TLS or without.
 */

import { once } from 'node:events'
import type { Socket } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { TLSSocket } from 'node:tls'

import { readExactly } from '../wire/byte-reader.js'
import type { FrontConnection, FrontContext } from './front.js'
import type { FrontFault, FrontPhase } from './front-faults.js'
import {
  authenticationRequest,
  errorResponse,
  passwordMessage,
  passwordRefusals,
  type Refusal,
  refusals,
} from './front-messages.js'
import type { Destination } from './inventory.js'

const SSL_REQUEST = 80877103
const CANCEL_REQUEST = 80877102
const PROTOCOL_3_0 = 196608
const MAX_STARTUP_BYTES = 10_000
const MAX_PASSWORD_BYTES = 65_535
/** How long a client may take to close after the server has. */
const LINGER_MS = 1_000

/** Ends when the connection has; never rejects, because the client has been told whatever there was to tell. */
export async function serveConnection(
  socket: Socket,
  connection: FrontConnection,
  context: FrontContext,
): Promise<void> {
  const timeout = new AbortController()
  // At the real front door the clock runs from connect to the end of the StartupMessage.
  const cancelTimeout = context.clock.after(context.handshakeTimeoutMs, () =>
    timeout.abort(new Refused(refusals.insecure)),
  )
  let client: Socket = socket
  try {
    await meet('accept', socket, context)
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

interface Startup {
  readonly parameters: ReadonlyMap<string, string>
  /** As it came: PostgreSQL gets it unchanged. */
  readonly packet: Buffer
}

class Refused extends Error {
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(refusal.message)
    this.refusal = refusal
  }
}

/** Behaves as told at this phase, and returns a fault that the caller itself must act out. */
async function meet(
  phase: FrontPhase,
  socket: Socket,
  context: FrontContext,
): Promise<FrontFault | undefined> {
  const fault = context.faults.take(phase)
  if (fault === undefined) return undefined
  if ('refuse' in fault) throw new Refused(fault.refuse)
  if ('say' in fault) socket.write(fault.say)
  else if (!('how' in fault)) return fault
  if ('how' in fault && fault.how === 'reset') socket.resetAndDestroy()
  if ('say' in fault || fault.how === 'hang') await untilGone(socket)
  throw new Error('told to misbehave')
}

async function readSslRequest(
  socket: Socket,
  connection: FrontConnection,
  context: FrontContext,
  signal: AbortSignal,
): Promise<'ssl' | 'cancelled'> {
  const length = (await readExactly(socket, 4, signal)).readInt32BE(0)
  if (length < 8) throw new Refused(refusals.startupLength)
  // A ClientHello reads as a huge length, and is waited for: why direct TLS hangs here.
  if (length > MAX_STARTUP_BYTES) {
    await untilGone(socket, signal)
    throw new Error('client left')
  }
  const body = await readExactly(socket, length - 4, signal)
  const code = body.readInt32BE(0)
  if (code === CANCEL_REQUEST && length === 16) {
    await forwardCancel(body, connection, context)
    return 'cancelled'
  }
  if (code !== SSL_REQUEST || length !== 8) throw new Refused(refusals.notSsl(code))
  if (socket.readableLength > 0) throw new Refused(refusals.unencryptedData)
  const fault = await meet('ssl-request', socket, context)
  const answer = fault !== undefined && 'answer' in fault ? fault.answer : 'S'
  if (answer === 'E') throw new Refused(refusals.insecure)
  socket.write(answer === 'extra-bytes' ? 'Sstuffed bytes' : answer)
  await meet('tls', socket, context)
  return 'ssl'
}

/** Until the client hangs up, by whatever way, or until `signal`; what it says is thrown away. */
function untilGone(socket: Socket, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(signal?.reason)
    signal?.addEventListener('abort', aborted)
    const gone = (): void => {
      signal?.removeEventListener('abort', aborted)
      resolve()
    }
    socket.once('end', gone).once('close', gone).resume()
  })
}

async function startTls(
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
  const closed = new AbortController()
  const end = () => closed.abort()
  // A FIN is only seen by who reads; data cannot be there before the handshake is over.
  const look = () => void client.read(0)
  client.on('readable', look).once('end', end).once('close', end)
  signal.addEventListener('abort', end)
  try {
    await once(client, 'secure', { signal: closed.signal })
  } catch {
    client.destroy()
    throw new Error('no TLS') // with nothing to say it on
  } finally {
    client.off('readable', look).off('end', end).off('close', end)
    signal.removeEventListener('abort', end)
  }
  return client
}

async function readStartup(
  client: TLSSocket,
  connection: FrontConnection,
  context: FrontContext,
  signal: AbortSignal,
): Promise<Startup | 'cancelled'> {
  const name = (client as TLSSocket & { servername?: string | false }).servername
  if (typeof name !== 'string') throw new Refused(refusals.noSni)
  connection.host = name
  const head = await readExactly(client, 4, signal)
  const length = head.readInt32BE(0)
  if (length < 8 || length >= MAX_STARTUP_BYTES) throw new Refused(refusals.startupLength)
  const body = await readExactly(client, length - 4, signal)
  const version = body.readInt32BE(0)
  if (version === CANCEL_REQUEST && length === 16) {
    await forwardCancel(body, connection, context)
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
  connection.phase = 'login'
  return { parameters, packet: Buffer.concat([head, body]) }
}

async function logIn(
  client: TLSSocket,
  startup: Startup,
  connection: FrontConnection,
  context: FrontContext,
): Promise<void> {
  const destination = context.destinations.get(connection.host!)
  await authorizeExternally(destination, context)
  const fault = await meet('startup', client, context)
  const role = Buffer.from(startup.parameters.get('user') ?? '', 'latin1').toString('utf8')
  if (role === '') throw new Refused(refusals.noUser)
  const native = context.nativeRoles.has(role)
  if (!native) {
    const ask = fault !== undefined && 'ask' in fault ? fault.ask : undefined
    client.write(authenticationRequest(ask === 'sasl' ? 10 : ask === 'md5' ? 5 : 3))
    const password = await readPassword(client, context)
    await meet('password', client, context)
    connection.tokenNumber = checkToken(password, role, destination!, context)
  }
  const server = context.postgres.connect()
  server.on('error', () => {})
  client.once('close', () => server.destroy())
  try {
    server.write(startup.packet)
    const greeting = native ? [] : await readGreeting(server, role, destination!, context)
    if (greeting[0] !== undefined) client.write(greeting[0])
    await meet('greeting', client, context)
    if (greeting[1] !== undefined) client.write(greeting[1])
    connection.phase = 'relay'
    context.onLogin(connection)
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
    const head = await readExactly(client, 5, patience.signal)
    const length = head.readInt32BE(1)
    if (head[0] !== 0x70 || length < 4 || length > MAX_PASSWORD_BYTES) {
      throw new Refused(refusals.noPassword)
    }
    const body = await readExactly(client, length - 4, patience.signal)
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
  if (first[0] === 0x52 && first.readInt32BE(5) === 3 && identityPassword !== undefined) {
    server.write(passwordMessage(identityPassword))
    first = await readMessage(server)
  }
  const second = first[0] === 0x45 ? first : await readMessage(server)
  const isError = second[0] === 0x45
  if (isError && /role ".*" (does not exist|is not permitted)/.test(second.toString('utf8'))) {
    throw new Refused(passwordRefusals[destination.kind].noSuchRole(role))
  }
  return first === second ? [first] : [first, second]
}

async function readMessage(server: Socket): Promise<Buffer> {
  const never = new AbortController().signal // the client's end closes this socket, and ends the wait
  const head = await readExactly(server, 5, never)
  return Buffer.concat([head, await readExactly(server, head.readInt32BE(1) - 4, never)])
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

async function forwardCancel(
  body: Buffer,
  connection: FrontConnection,
  context: FrontContext,
): Promise<void> {
  connection.phase = 'cancel'
  const length = Buffer.from([0, 0, 0, body.length + 4])
  const server = context.postgres.connect()
  server.on('error', () => {})
  server.resume()
  server.end(Buffer.concat([length, body]))
  await once(server, 'close')
  context.onCancel()
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
