/**
 * What the front door says itself, word for word as far as that is known. The first layer says
 * FATAL, as PostgreSQL does; the authentication proxy in front of Autoscaling says ERROR with three
 * fields and always XX000.
 */

import type { Destination } from './destinations.js'
import type { Verdict } from './tokens.js'

export interface Refusal {
  readonly severity: 'FATAL' | 'ERROR'
  readonly sqlState: string
  readonly message: string
  readonly detail?: string
}

export function errorResponse(refusal: Refusal): Buffer {
  const { severity, sqlState, message, detail } = refusal
  let fields = `S${severity}\0`
  if (severity === 'FATAL') fields += `V${severity}\0`
  fields += `C${sqlState}\0M${message}\0`
  if (detail !== undefined) fields += `D${detail}\0`
  return packet('E', Buffer.from(`${fields}\0`))
}

/** 3 is a password in the clear, 10 SASL (with a list of mechanisms). */
export function authenticationRequest(code: 3 | 10): Buffer {
  const data = { 3: '', 10: 'SCRAM-SHA-256\0\0' }[code]
  return packet('R', Buffer.concat([Buffer.from([0, 0, 0, code]), Buffer.from(data)]))
}

export function passwordMessage(password: string): Buffer {
  return packet('p', Buffer.from(`${password}\0`))
}

function packet(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.write(type, 'latin1')
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const fatal = (sqlState: string, message: string, detail?: string): Refusal =>
  detail === undefined
    ? { severity: 'FATAL', sqlState, message }
    : { severity: 'FATAL', sqlState, message, detail }

const error = (message: string): Refusal => ({ severity: 'ERROR', sqlState: 'XX000', message })

/** The front door's own refusals, the same for both kinds of Lakebase. */
export const refusals = {
  notSsl: (version: number) =>
    fatal(
      '08P01',
      `Invalid protocol version. Protocol version: ${version}`,
      'Ensure that connection is using SSL. If you are using psql, set sslmode=require.',
    ),
  unencryptedData: fatal('08P01', 'Received unencrypted data after SSL request.'),
  handshakeTimeout: fatal('08006', 'Client handshake timeout.'),
  noSni: fatal(
    '08006',
    'Connection does not have SNI.',
    'Please upgrade your client to support SNI.',
  ),
  startupLength: fatal('08006', 'Invalid length of startup packet.'),
  startupLayout: fatal('08P01', 'Invalid startup packet layout.'),
  protocol: (version: number) =>
    fatal(
      '0A000',
      `Unsupported frontend protocol ${version >>> 16}.${version & 0xffff}. Server supports 3.0 to 3.0`,
    ),
  externalAuthorization: (reason: string) =>
    fatal(
      '28000',
      'External authorization failed.',
      `This could be due to paused instances, disabling readable secondaries, IP ACLs or private link configuration. ${reason}`,
    ),
  password: (role: string) => fatal('28P01', `password authentication failed for user "${role}"`),
  noUser: fatal('28000', 'no PostgreSQL user name specified in startup packet'),
  /** PgBouncer's answer to a client that cannot pass SCRAM. */
  sasl: fatal('08P01', 'SASL authentication failed'),
  noPassword: fatal('08P01', 'expected password response'),
  /** While a compute is being made. */
  unavailable: error(
    'Control plane request failed: endpoint is temporarily unavailable. Check your quotas and/or contact our support.',
  ),
}

type Kind = Destination['kind']

/** How the two kinds refuse a password that is no good token for this role. */
export function tokenRefusal(
  kind: Kind,
  verdict: Exclude<Verdict, { is: 'good' }>,
  role: string,
): Refusal {
  if (kind === 'provisioned') {
    const message = `Failed to decode token for role "${role}" and native postgres login was either not attempted due to configuration or failed.`
    return fatal('28P01', message)
  }
  switch (verdict.is) {
    case 'not a JWT':
      return error('Provided authentication token is not a valid JWT encoding')
    case 'expired':
      return error(`JWT token has expired (exp=${Math.floor(verdict.token.expiresAt / 1000)})`)
    case 'refused':
      return roleRefusal(kind, role)
  }
}

/** How they refuse a role that does not exist. */
export function roleRefusal(kind: Kind, role: string): Refusal {
  if (kind === 'provisioned') return refusals.password(role)
  return error(`password authentication failed for user '${role}'`)
}

/** Thrown where a connection is refused; the client gets it where the connection ends. */
export class Refused extends Error {
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(refusal.message)
    this.refusal = refusal
  }
}
