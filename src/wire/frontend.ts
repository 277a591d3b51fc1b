/**
 * What a client says before login, parsed; and what this proxy says as a client, written.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 *
 * Names and values of a StartupMessage are kept as latin1, one character a byte, because their
 * encoding is the client's affair: what came in goes out the same.
 */

import { ProxyError } from '../core/errors.js'

const SSL_REQUEST_CODE = 80877103
const GSSENC_REQUEST_CODE = 80877104
const CANCEL_REQUEST_CODE = 80877102
export const PROTOCOL_3_0 = 196608

// The length field included: PostgreSQL takes 4…10000 bytes after it (pqcomm.h, MAX_STARTUP_PACKET_LENGTH).
const MIN_STARTUP_BYTES = 8
const MAX_STARTUP_BYTES = 10_004

declare const isWireText: unique symbol

/** The bytes of a start-up parameter, one character (latin1) a byte. Made by `toWireText` and by parsing. */
export type WireText = string & { readonly [isWireText]: true }

export interface StartupMessage {
  readonly type: 'StartupMessage'
  readonly protocolMinor: number
  /** Without `_pq_.` options. Of a name given twice the last value counts, as in PostgreSQL. */
  readonly parameters: ReadonlyMap<string, WireText>
  /** Names of the `_pq_.` options, all of them unknown to protocol 3.0. */
  readonly protocolOptions: readonly string[]
}

export interface CancelRequest {
  readonly type: 'CancelRequest'
  /** The whole packet, as it came. */
  readonly bytes: Buffer
  /** Process id and secret key, as hex: what BackendKeyData said. */
  readonly key: string
}

export type InitialPacket =
  | StartupMessage
  | CancelRequest
  | { readonly type: 'SSLRequest' }
  | { readonly type: 'GSSENCRequest' }

/** The packet's whole length, or undefined when these eight bytes cannot begin one: HTTP, TLS, noise. */
export function initialPacketLength(head: Buffer): number | undefined {
  const byteCount = head.readInt32BE(0)
  return byteCount >= MIN_STARTUP_BYTES && byteCount <= MAX_STARTUP_BYTES ? byteCount : undefined
}

/** Parses one whole packet. Errors: `protocol` (08P01) for broken contents, `version` (0A000). */
export function parseInitialPacket(packet: Buffer): InitialPacket {
  const code = packet.readInt32BE(4)
  switch (code) {
    case SSL_REQUEST_CODE:
    case GSSENC_REQUEST_CODE:
      if (packet.length !== 8) throw invalid('invalid length of encryption request packet')
      return { type: code === SSL_REQUEST_CODE ? 'SSLRequest' : 'GSSENCRequest' }
    case CANCEL_REQUEST_CODE:
      return parseCancelRequest(packet)
    default:
      return parseStartupMessage(packet, code)
  }
}

/** The secret key has 4 bytes in protocol 3.0 and up to 256 in 3.2. */
function parseCancelRequest(packet: Buffer): CancelRequest {
  if (packet.length < 16 || packet.length > 268) {
    throw invalid('invalid length of cancel request packet')
  }
  return { type: 'CancelRequest', bytes: packet, key: packet.toString('hex', 8) }
}

function parseStartupMessage(packet: Buffer, version: number): StartupMessage {
  const major = version >>> 16
  const minor = version & 0xffff
  if (major !== 3) {
    throw new ProxyError(
      'version',
      `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.0`,
      { hint: 'Use a client that speaks version 3 of the PostgreSQL protocol.' },
    )
  }
  const parameters = new Map<string, WireText>()
  const protocolOptions: string[] = []
  let at = 8
  for (;;) {
    const name = cString(packet, at)
    at += name.length + 1
    if (name === '') break
    const value = cString(packet, at)
    at += value.length + 1
    if (name.startsWith('_pq_.')) protocolOptions.push(name)
    else parameters.set(name, value)
  }
  if (at !== packet.length) throw badLayout()
  return { type: 'StartupMessage', protocolMinor: minor, parameters, protocolOptions }
}

function cString(packet: Buffer, start: number): WireText {
  const end = packet.indexOf(0, start)
  if (end === -1) throw badLayout()
  return packet.toString('latin1', start, end) as WireText
}

function badLayout(): ProxyError {
  return invalid('invalid startup packet layout: expected terminator as last byte')
}

function invalid(message: string): ProxyError {
  return new ProxyError('protocol', message, {
    hint: 'This port speaks the PostgreSQL protocol: connect to it with a PostgreSQL client.',
  })
}

/** Ends a session: a client sends it before its FIN. */
export const TERMINATE: Buffer = Buffer.from([0x58, 0, 0, 0, 4])

export const sslRequest: Buffer = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])

/** Our own, because pg-protocol's always adds a client_encoding, even where the client sent one. */
export function startupMessage(parameters: ReadonlyMap<string, WireText>): Buffer {
  let text = ''
  for (const [name, value] of parameters) text += `${name}\0${value}\0`
  const packet = Buffer.alloc(8 + text.length + 1)
  packet.writeInt32BE(packet.length, 0)
  packet.writeInt32BE(PROTOCOL_3_0, 4)
  packet.write(text, 8, 'latin1')
  return packet
}

/** Text as start-up parameters hold it: its UTF-8 bytes, a character each. */
export function toWireText(text: string): WireText {
  return Buffer.from(text, 'utf8').toString('latin1') as WireText
}

/** For people: the bytes read as UTF-8. */
export function fromWireText(text: WireText | ''): string {
  return Buffer.from(text, 'latin1').toString('utf8')
}
