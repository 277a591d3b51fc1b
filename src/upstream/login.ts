/**
 * Logs in to a server over TLS, from StartupMessage to ReadyForQuery, in protocol 3.0 exactly, and
 * gives the server's own greeting to be relayed as it came. Each step of an authentication comes
 * once and in order: the password is sent at the most once, and a SCRAM exchange that has begun
 * ends as SCRAM. Messages and bytes are bounded, and the signal is checked at each message.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP
 */

import type { Duplex } from 'node:stream'

import { serialize } from 'pg-protocol'
import { waitFor } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import type { LoginCredential } from '../credentials/credentials.js'
import {
  AUTHENTICATION,
  type Authentication,
  parseAuthentication,
  parseErrorResponse,
  type ServerError,
} from '../wire/backend.js'
import { startupMessage, type WireText } from '../wire/frontend.js'
import {
  LimitExceeded,
  type MessageLimits,
  MessageReader,
  type WireMessage,
} from '../wire/message-reader.js'
import { SCRAM_SHA_256, ScramClient } from '../wire/scram.js'

/** How far a login had come when the server refused it: a token can be at fault only in the middle one. */
export type LoginStage = 'before password' | 'after password' | 'authenticated'

export type LoginResult =
  | {
      readonly outcome: 'ready'
      /** AuthenticationOk to ReadyForQuery, and the bytes after it that have come. */
      readonly greeting: Buffer
      /** Process id and secret key of BackendKeyData, as hex. */
      readonly key: string | undefined
    }
  | { readonly outcome: 'refused'; readonly stage: LoginStage; readonly error: ServerError }
  /** A token was to be sent, and it is never an answer to SASL. */
  | { readonly outcome: 'sasl required' }

// A PostgreSQL server sends about 20 messages. A login trigger may add notices.
const LIMITS: MessageLimits = { messageBytes: 64 * 1024, totalBytes: 1024 * 1024, messages: 2_000 }

/**
 * Errors: kind `dial` when the server hangs up before AuthenticationOk (worth another try), kind
 * `upstream` when it breaks the protocol, kind `identity` when it asks for what we must not send.
 */
export async function login(
  socket: Duplex,
  parameters: ReadonlyMap<string, WireText>,
  credential: Pick<LoginCredential, 'password' | 'method'>,
  signal: AbortSignal,
): Promise<LoginResult> {
  const exchange = new LoginExchange(socket, signal)
  try {
    socket.write(startupMessage(parameters))
    const isAuthenticated = await authenticate(exchange, credential)
    return isAuthenticated ? await readGreeting(exchange) : { outcome: 'sasl required' }
  } catch (error) {
    if (error instanceof Refused) {
      return { outcome: 'refused', stage: exchange.stage, error: error.serverError }
    }
    if (signal.aborted) throw signal.reason
    throw error
  }
}

/** Returns at AuthenticationOk; false when SASL is asked for, and all we have is a token. */
async function authenticate(
  exchange: LoginExchange,
  { password, method }: Pick<LoginCredential, 'password' | 'method'>,
): Promise<boolean> {
  const { code, data } = await exchange.authenticationRequest()
  switch (code) {
    case AUTHENTICATION.ok:
      return true
    case AUTHENTICATION.cleartextPassword:
      exchange.sendSecret(serialize.password(password.reveal()))
      await exchange.expect(AUTHENTICATION.ok, 'after the password')
      return true
    case AUTHENTICATION.sasl:
      if (method !== 'password') return false
      if (!data.toString('latin1').split('\0').includes(SCRAM_SHA_256)) throw unknownMethod(code)
      await authenticateByScram(exchange, new ScramClient(password.reveal()))
      return true
    default:
      throw unknownMethod(code)
  }
}

async function authenticateByScram(exchange: LoginExchange, scram: ScramClient): Promise<void> {
  const where = 'in the middle of SCRAM'
  exchange.sendSecret(serialize.sendSASLInitialResponseMessage(SCRAM_SHA_256, scram.first()))
  const serverFirst = await exchange.expect(AUTHENTICATION.saslContinue, where)
  const deriving = scram.final(serverFirst.toString('latin1'))
  const final = await waitFor(deriving, exchange.signal).catch(scramBroken)
  exchange.sendSecret(serialize.sendSCRAMClientFinalMessage(final))
  const serverFinal = await exchange.expect(AUTHENTICATION.saslFinal, where)
  try {
    scram.verify(serverFinal.toString('latin1'))
  } catch (error) {
    scramBroken(error)
  }
  await exchange.expect(AUTHENTICATION.ok, 'after SCRAM')
}

async function readGreeting(exchange: LoginExchange): Promise<LoginResult> {
  const greeting = [exchange.lastBytes]
  let key: string | undefined
  for (;;) {
    const { type, bytes } = exchange.atHand() ?? (await exchange.next())
    greeting.push(bytes)
    if (type === 'K') key = bytes.toString('hex', 5)
    if (type !== 'Z') continue
    greeting.push(exchange.takeRest())
    return { outcome: 'ready', greeting: Buffer.concat(greeting), key }
  }
}

/** The server sent an ErrorResponse. */
class Refused extends Error {
  readonly serverError: ServerError

  constructor(serverError: ServerError) {
    super(serverError.message)
    this.serverError = serverError
  }
}

/** What is read from the server, and how far the login has come. */
class LoginExchange {
  stage: LoginStage = 'before password'
  /** The bytes of the message that was read last. */
  lastBytes: Buffer = Buffer.alloc(0)
  readonly signal: AbortSignal
  readonly #socket: Duplex
  readonly #reader: MessageReader

  constructor(socket: Duplex, signal: AbortSignal) {
    this.signal = signal
    this.#socket = socket
    this.#reader = new MessageReader(socket, LIMITS, signal)
  }

  /** Errors: Refused, kind `dial` or `upstream` when the server hangs up or sends too much. */
  async next(): Promise<WireMessage> {
    return this.#seen(await this.#reader.next().catch((error: unknown) => this.#failed(error)))
  }

  /** The next message if it has come. Errors as of `next`. */
  atHand(): WireMessage | undefined {
    let message: WireMessage | undefined
    try {
      message = this.#reader.atHand()
    } catch (error) {
      this.#failed(error)
    }
    return message && this.#seen(message)
  }

  #seen(message: WireMessage): WireMessage {
    this.lastBytes = message.bytes
    if (message.type === 'E') throw new Refused(parseErrorResponse(message.bytes))
    return message
  }

  /** The next authentication request. Notices before it are dropped: few drivers accept one there. */
  async authenticationRequest(): Promise<Authentication> {
    for (;;) {
      const { type, bytes } = await this.next()
      if (type === 'N') continue
      if (type !== 'R') throw protocolBroken(`message "${type}" before AuthenticationOk`)
      const request = parse(bytes)
      if (request.code === AUTHENTICATION.ok) this.stage = 'authenticated'
      return request
    }
  }

  /** The next authentication request, which can only be this one. Returns its data. */
  async expect(code: number, where: string): Promise<Buffer> {
    const request = await this.authenticationRequest()
    if (request.code === code) return request.data
    throw protocolBroken(`${requestName(request.code)} ${where}`)
  }

  sendSecret(bytes: Buffer): void {
    this.stage = 'after password'
    this.#socket.write(bytes)
  }

  takeRest(): Buffer {
    return this.#reader.takeRest()
  }

  #failed(error: unknown): never {
    if (this.signal.aborted) throw error
    const isAuthenticated = this.stage === 'authenticated'
    if (error instanceof LimitExceeded) {
      switch (error.limit) {
        case 'messageBytes':
          throw protocolBroken('a message of impossible length')
        case 'totalBytes':
          throw protocolBroken(`${isAuthenticated ? 'a greeting' : 'messages'} of more than 1 MB`)
        case 'messages':
          throw protocolBroken(`more than ${LIMITS.messages} messages`)
      }
    }
    throw new ProxyError(
      isAuthenticated ? 'upstream' : 'dial',
      'server closed the connection unexpectedly during login',
      { cause: error, hint: 'Try again; if it stays so, run "lakebase-proxy doctor".' },
    )
  }
}

function parse(bytes: Buffer): Authentication {
  try {
    return parseAuthentication(bytes)
  } catch {
    throw protocolBroken('an authentication request that is cut short')
  }
}

function protocolBroken(what: string): ProxyError {
  return new ProxyError('upstream', `server sent ${what} during login`, {
    hint: 'Is this a PostgreSQL server? Run "lakebase-proxy doctor" to see each step.',
  })
}

function scramBroken(cause: unknown): never {
  throw new ProxyError('upstream', `SCRAM exchange failed: ${(cause as Error).message}`, { cause })
}

const REQUEST_NAMES: Record<number, string> = {
  [AUTHENTICATION.ok]: 'AuthenticationOk',
  [AUTHENTICATION.cleartextPassword]: 'AuthenticationCleartextPassword',
  [AUTHENTICATION.sasl]: 'AuthenticationSASL',
  [AUTHENTICATION.saslContinue]: 'AuthenticationSASLContinue',
  [AUTHENTICATION.saslFinal]: 'AuthenticationSASLFinal',
}

function requestName(code: number): string {
  return REQUEST_NAMES[code] ?? `authentication request ${code}`
}

// https://www.postgresql.org/docs/current/protocol-message-formats.html
const METHODS: Record<number, string> = {
  2: 'Kerberos V5',
  5: 'MD5',
  7: 'GSSAPI',
  9: 'SSPI',
  10: 'another SASL',
}

function unknownMethod(code: number): ProxyError {
  const method = METHODS[code] ?? 'an unknown kind of'
  return new ProxyError(
    'identity',
    `server asks for ${method} authentication, which is not supported`,
    {
      detail:
        'A token or password is sent in clear over verified TLS, a password by SCRAM-SHA-256 too.',
      hint: 'Run "lakebase-proxy doctor" to see each step.',
    },
  )
}
