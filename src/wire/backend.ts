/**
 * The messages of a server: written, when this proxy speaks for itself, and parsed, when the
 * upstream speaks during a login.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */

import type { ClientError } from '../core/errors.js'
import { PROTOCOL_3_0 } from './frontend.js'

/** FATAL, with the four fields that every reader relies on (S, V, C, M), and detail and hint where known. */
export function errorResponse(error: ClientError): Buffer {
  let fields = `SFATAL\0VFATAL\0C${error.sqlState}\0M${field(error.message)}\0`
  if (error.detail !== undefined) fields += `D${field(error.detail)}\0`
  if (error.hint !== undefined) fields += `H${field(error.hint)}\0`
  return message('E', Buffer.from(`${fields}\0`))
}

/** A zero byte would end the field early, and its rest would be read as another field. */
function field(text: string): string {
  return text.replaceAll('\0', '')
}

/** The whole version 3.0 (libpq 18 refuses a bare 0) and every option that is not understood. */
export function negotiateProtocolVersion(unknownOptions: readonly string[]): Buffer {
  const head = Buffer.alloc(8)
  head.writeInt32BE(PROTOCOL_3_0, 0)
  head.writeInt32BE(unknownOptions.length, 4)
  const names = Buffer.from(unknownOptions.map((name) => `${name}\0`).join(''), 'latin1')
  return message('v', Buffer.concat([head, names]))
}

export function authenticationCleartextPassword(): Buffer {
  return authentication(AUTHENTICATION.cleartextPassword, '')
}

export function authenticationSasl(mechanism: string): Buffer {
  return authentication(AUTHENTICATION.sasl, `${mechanism}\0\0`)
}

export function authenticationSaslContinue(data: string): Buffer {
  return authentication(AUTHENTICATION.saslContinue, data)
}

export function authenticationSaslFinal(data: string): Buffer {
  return authentication(AUTHENTICATION.saslFinal, data)
}

function authentication(code: number, data: string): Buffer {
  const head = Buffer.alloc(4)
  head.writeInt32BE(code, 0)
  return message('R', Buffer.concat([head, Buffer.from(data)]))
}

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.write(type, 0, 'latin1')
  head.writeInt32BE(4 + body.length, 1)
  return Buffer.concat([head, body])
}

/** ReadyForQuery outside a transaction. */
export const READY_IDLE: Buffer = Buffer.from([0x5a, 0, 0, 0, 5, 0x49])

/** Codes of authentication requests: the message type is `R` for all of them. */
export const AUTHENTICATION = {
  ok: 0,
  cleartextPassword: 3,
  sasl: 10,
  saslContinue: 11,
  saslFinal: 12,
} as const

export interface Authentication {
  /** One of AUTHENTICATION, or a method that is not supported. */
  readonly code: number
  readonly data: Buffer
}

/** Errors: RangeError when the message is too short. */
export function parseAuthentication(bytes: Buffer): Authentication {
  return { code: bytes.readInt32BE(5), data: bytes.subarray(9) }
}

export interface ServerError {
  readonly sqlState: string
  readonly message: string
  readonly detail: string | undefined
  readonly hint: string | undefined
}

/**
 * Fields of an ErrorResponse; Lakebase's front door may send only S, C and M. Our own, because
 * pg-protocol's reader runs past the end of a message that lacks its terminator, and never returns.
 */
export function parseErrorResponse(bytes: Buffer): ServerError {
  const fields = new Map<string, string>()
  let at = 5
  while (at < bytes.length && bytes[at] !== 0) {
    const end = bytes.indexOf(0, at)
    if (end === -1) break
    fields.set(String.fromCharCode(bytes[at]!), bytes.toString('utf8', at + 1, end))
    at = end + 1
  }
  return {
    sqlState: /^[0-9A-Z]{5}$/.exec(fields.get('C') ?? '')?.[0] ?? 'XX000',
    message: fields.get('M') ?? 'server refused the connection without a reason',
    detail: fields.get('D'),
    hint: fields.get('H'),
  }
}
