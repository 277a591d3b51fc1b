/**
 * Logs in to a server over TLS, from StartupMessage to ReadyForQuery, in protocol 3.0 exactly, and
 * gives the server's own greeting to be relayed as it came. After this, nothing is parsed.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP
 */

import type { Duplex } from 'node:stream'

import { serialize } from 'pg-protocol'
import { ProxyError } from '../core/errors.js'
import type { LoginCredential } from '../credentials/credentials.js'
import {
  firstMessage,
  parseAuthentication,
  parseErrorResponse,
  type ServerError,
  type WireMessage,
} from '../wire/backend.js'
import { readSome } from '../wire/byte-reader.js'
import { startupMessage } from '../wire/frontend.js'
import { SCRAM_SHA_256, ScramClient } from '../wire/scram.js'

/** How far a login had come when the server refused it: a token can be at fault only in the middle one. */
export type LoginStage = 'before password' | 'after password' | 'authenticated'

export type LoginResult =
  | {
      readonly outcome: 'ready'
      /** AuthenticationOk to ReadyForQuery, and anything behind it. */
      readonly greeting: Buffer
      /** Process id and secret key of BackendKeyData, as hex. */
      readonly key: string | undefined
    }
  | { readonly outcome: 'refused'; readonly stage: LoginStage; readonly error: ServerError }

const MAX_MESSAGE_BYTES = 64 * 1024
const MAX_GREETING_BYTES = 1024 * 1024

/**
 * Errors: kind `dial` when the server hangs up before AuthenticationOk (worth another try), kind
 * `upstream` when it breaks the protocol, kind `identity` when it asks for what we must not send.
 */
export async function login(
  socket: Duplex,
  parameters: ReadonlyMap<string, string>,
  credential: Pick<LoginCredential, 'password' | 'method'>,
  signal: AbortSignal,
): Promise<LoginResult> {
  let stage: LoginStage = 'before password'
  let received = Buffer.alloc(0)
  socket.write(startupMessage(parameters))

  async function nextMessage(): Promise<WireMessage> {
    for (;;) {
      const message = cut(received)
      if (message !== undefined) {
        received = received.subarray(message.bytes.length)
        return message
      }
      received = Buffer.concat([received, await readSome(socket, signal).catch(hungUp)])
    }
  }

  function hungUp(error: unknown): never {
    if (signal.aborted) throw error
    const kind = stage === 'authenticated' ? 'upstream' : 'dial'
    throw new ProxyError(kind, 'server closed the connection unexpectedly during login', {
      cause: error,
      hint: 'Try again; if it stays so, run "lakebase-proxy doctor".',
    })
  }

  let scram: ScramClient | undefined
  const greeting: Buffer[] = []
  let greetingBytes = 0
  let key: string | undefined
  for (;;) {
    const { type, bytes } = await nextMessage()
    if (type === 'E') return { outcome: 'refused', stage, error: parseErrorResponse(bytes) }
    if (stage === 'authenticated') {
      greeting.push(bytes)
      greetingBytes += bytes.length
      if (greetingBytes > MAX_GREETING_BYTES) throw protocolBroken('a greeting of more than 1 MB')
      if (type === 'K') key = bytes.toString('hex', 5)
      if (type !== 'Z') continue
      greeting.push(received)
      return { outcome: 'ready', greeting: Buffer.concat(greeting), key }
    }
    if (type === 'N') continue // drivers that take a notice before AuthenticationOk are rare
    if (type !== 'R') throw protocolBroken(`message "${type}" before AuthenticationOk`)

    const { code, data } = authentication(bytes)
    if (code === 0) {
      if (scram !== undefined) throw protocolBroken('AuthenticationOk in the middle of SCRAM')
      stage = 'authenticated'
      greeting.push(bytes)
    } else if (code === 3) {
      stage = 'after password'
      socket.write(serialize.password(credential.password.reveal()))
    } else if (code === 10 && credential.method === 'password') {
      if (!data.toString('latin1').split('\0').includes(SCRAM_SHA_256)) throw unknownMethod(code)
      stage = 'after password'
      scram = new ScramClient(credential.password.reveal())
      socket.write(serialize.sendSASLInitialResponseMessage(SCRAM_SHA_256, scram.first()))
    } else if (code === 11 && scram !== undefined) {
      const final = await scram.final(data.toString()).catch(scramBroken)
      socket.write(serialize.sendSCRAMClientFinalMessage(final))
    } else if (code === 12 && scram !== undefined) {
      try {
        scram.verify(data.toString())
      } catch (error) {
        scramBroken(error)
      }
      scram = undefined
    } else {
      throw code === 10 ? wantsSasl() : unknownMethod(code)
    }
  }
}

function cut(received: Buffer): WireMessage | undefined {
  try {
    return firstMessage(received, MAX_MESSAGE_BYTES)
  } catch {
    throw protocolBroken('a message of impossible length')
  }
}

function authentication(bytes: Buffer): { code: number; data: Buffer } {
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

/** A token cannot answer SASL: the role has a native password, or does not exist. */
function wantsSasl(): ProxyError {
  return new ProxyError('identity', 'server asks for SASL where a token was to do', {
    hint:
      'The role is a native Postgres role, or none: create it for the Databricks identity, or ' +
      'use a postgresql:// URL with its password as the target.',
  })
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
