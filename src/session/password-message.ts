/**
 * The messages of type `p` that clients answer with when they are asked for a password or for a step
 * of SASL. Their length is checked before memory is taken.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */

import { isUtf8 } from 'node:buffer'
import type { Duplex } from 'node:stream'

import { ProxyError } from '../core/errors.js'
import { Secret } from '../core/secret.js'
import { authenticationCleartextPassword } from '../wire/backend.js'
import { readExactly, StreamEnded } from '../wire/byte-reader.js'

// An OAuth access token is 1 to 2 kB. The manual's own limit is 65535 (PG_MAX_AUTH_TOKEN_LENGTH).
const MAX_PASSWORD_BYTES = 16 * 1024

/** Asks for the password in the clear: only inside TLS. Errors: kinds `protocol` and `password`. */
export async function askCleartextPassword(client: Duplex, signal: AbortSignal): Promise<Secret> {
  client.write(authenticationCleartextPassword())
  const body = await readPasswordMessage(client, MAX_PASSWORD_BYTES + 1, signal)
  try {
    // One zero byte, and that at the end.
    if (body.indexOf(0) !== body.length - 1) throw malformed('invalid password packet size')
    if (body.length === 1) {
      throw new ProxyError('password', 'empty password returned by client', {
        hint: 'Give a personal access token, an OAuth token or an OAuth secret as the password.',
      })
    }
    if (!isUtf8(body)) {
      throw new ProxyError('password', 'password is not valid UTF-8', {
        hint: 'Tokens and OAuth secrets are plain ASCII: copy it again.',
      })
    }
    return new Secret(body.toString('utf8', 0, body.length - 1))
  } finally {
    body.fill(0)
  }
}

/** The body of one message, of at most `maxBytes`. Errors: kind `protocol`. */
export async function readPasswordMessage(
  client: Duplex,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Buffer> {
  const head = await readMessagePart(client, 5, signal)
  const byteCount = head.readInt32BE(1) - 4
  if (head[0] !== 0x70 || byteCount < 0 || byteCount > maxBytes) {
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

export function malformed(message: string): ProxyError {
  return new ProxyError('protocol', message)
}
