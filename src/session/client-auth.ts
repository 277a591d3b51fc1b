/**
 * With `local-auth=password`, a client proves by SCRAM-SHA-256 that it knows the local password. Any
 * user name is taken. The AuthenticationOk is left to the upstream's
 * greeting, because libpq refuses two.
 * https://www.postgresql.org/docs/current/sasl-authentication.html
 */

import type { Duplex } from 'node:stream'

import { ProxyError } from '../core/errors.js'
import type { Secret } from '../core/secret.js'
import {
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
} from '../wire/backend.js'
import { readExactly, StreamEnded } from '../wire/byte-reader.js'
import { SCRAM_SHA_256, ScramServer, type ScramVerifier, scramVerifier } from '../wire/scram.js'

export class ClientAuth {
  readonly #verifier: Promise<ScramVerifier>

  /** The keys are derived once, off the event loop. */
  constructor(password: Secret) {
    this.#verifier = scramVerifier(password.reveal())
  }

  /** Errors: kind `password` (28P01), kind `protocol` for a broken exchange. */
  async authenticate(client: Duplex, signal: AbortSignal): Promise<void> {
    const scram = new ScramServer(await this.#verifier)
    client.write(authenticationSasl(SCRAM_SHA_256))
    const { mechanism, response } = saslInitialResponse(await passwordMessage(client, signal))
    if (mechanism !== SCRAM_SHA_256) throw malformed('client selected an invalid SASL mechanism')
    const serverFirst = scram.first(response)
    if (serverFirst === undefined) throw malformed('malformed SCRAM message')
    client.write(authenticationSaslContinue(serverFirst))
    const serverFinal = scram.final((await passwordMessage(client, signal)).toString())
    if (serverFinal === undefined) {
      throw new ProxyError('password', 'password authentication failed', {
        hint: 'This lakebase-proxy asks for its local password (LAKEBASE_PROXY_LOCAL_PASSWORD or local-password-file), not for a token.',
      })
    }
    client.write(authenticationSaslFinal(serverFinal))
  }
}

// Longer than any local password; PostgreSQL's own limit is 65535 (PG_MAX_AUTH_TOKEN_LENGTH).
const MAX_PASSWORD_BYTES = 4096

async function passwordMessage(client: Duplex, signal: AbortSignal): Promise<Buffer> {
  const head = await readMessagePart(client, 5, signal)
  const byteCount = head.readInt32BE(1) - 4
  if (head[0] !== 0x70 || byteCount < 0 || byteCount > MAX_PASSWORD_BYTES) {
    throw malformed('expected password response')
  }
  return byteCount === 0 ? Buffer.alloc(0) : readMessagePart(client, byteCount, signal)
}

async function readMessagePart(
  client: Duplex,
  byteCount: number,
  signal: AbortSignal,
): Promise<Buffer> {
  try {
    return await readExactly(client, byteCount, signal)
  } catch (error) {
    throw error instanceof StreamEnded ? malformed('client left during authentication') : error
  }
}

function saslInitialResponse(body: Buffer): { mechanism: string; response: string } {
  const end = body.indexOf(0)
  if (end === -1 || body.length < end + 5) throw malformed('malformed SASL initial response')
  if (body.readInt32BE(end + 1) !== body.length - end - 5) {
    throw malformed('malformed SASL initial response')
  }
  return { mechanism: body.toString('latin1', 0, end), response: body.toString('utf8', end + 5) }
}

function malformed(message: string): ProxyError {
  return new ProxyError('protocol', message)
}
