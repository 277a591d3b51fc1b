/**
 * The TLS side of dialling: one shared secure context per target, since making one costs more than
 * the rest of a handshake, what counts as the right certificate, and what the next handshake need not
 * say again.
 */

import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { isIP, type Socket } from 'node:net'
import tls, {
  type DetailedPeerCertificate,
  type EphemeralKeyInfo,
  type SecureContext,
  TLSSocket,
} from 'node:tls'

import type { TargetSettings } from '../config/resolve/settings.js'
import { type Clock, systemClock } from '../core/clock.js'
import { ProxyError } from '../core/errors.js'
import { type Log, silentLog } from '../core/log.js'
import { WatchedContent } from '../core/watched-content.js'
import { withoutCertificate } from './tls-session.js'

export interface UpstreamTlsDeps {
  readonly clock: Clock
  readonly log: Log
}

export class UpstreamTls {
  readonly #target: Pick<TargetSettings, 'verify' | 'sslrootcert'>
  readonly #deps: UpstreamTlsDeps
  #context: SecureContext | undefined
  /** The authorities. Of a file: as it is now. */
  #roots: (() => string | string[] | undefined) | undefined
  #offersP256First = false
  /** One that a host gave us, having been verified: resumed, it sends no certificates. */
  #ticket: Ticket | undefined
  /** Some servers take each ticket once, and one that was restarted takes none of before. */
  #hasRefusedTicket = false

  constructor(
    target: Pick<TargetSettings, 'verify' | 'sslrootcert'>,
    deps: UpstreamTlsDeps = { clock: systemClock, log: silentLog },
  ) {
    this.#target = target
    this.#deps = deps
  }

  /**
   * Reads the authorities: best early, because a process that has run out of files cannot. A
   * replaced file is used for the next handshake; a file that does not work changes nothing. Errors: kind
   * `config` when sslrootcert cannot be read the first time.
   */
  load(): SecureContext {
    this.#roots ??= this.#readRoots()
    const roots = this.#roots()
    this.#context ??= secureContext(roots, this.#offersP256First)
    return this.#context
  }

  #readRoots(): () => string | string[] | undefined {
    const { sslrootcert: file } = this.#target
    if (file === undefined) {
      const roots = defaultRoots()
      return () => roots
    }
    const { clock, log } = this.#deps
    const watched = new WatchedContent({
      read: () => readRoots(file),
      make: (pem) => certificatesIn(pem, file),
      clock,
      onChange: () => {
        this.#context = undefined
        this.#ticket = undefined
        log.info({ file }, 'sslrootcert read again')
      },
      onProblem: ({ message }) =>
        log.warn({ file, reason: message }, 'sslrootcert not read again, the old one stays'),
    })
    return () => watched.value
  }

  /**
   * Begins a handshake on a connected socket, and keeps what the server gives for the next one. Errors
   * as of `load`.
   */
  connect(socket: Socket, host: string): TLSSocket {
    const { verify } = this.#target
    const secureContext = this.load() // first: with other authorities there is no ticket
    const ticket = this.#ticketFor(host)
    const vouches: { by: Verified | undefined } = { by: ticket?.verified }
    const secured = tls.connect({
      socket,
      secureContext,
      // An address cannot be an SNI name; Node then verifies against `host`.
      ...(isIP(host) === 0 ? { servername: host } : { host }),
      rejectUnauthorized: verify !== 'none',
      // Called once the chain is verified, and not for a resumed session.
      checkServerIdentity: (name, certificate) => {
        const certificateEndsAt = Date.parse(certificate.valid_to)
        vouches.by = { at: this.#deps.clock.monotonic(), certificateEndsAt }
        return verify === 'full' ? tls.checkServerIdentity(name, certificate) : undefined
      },
      ...(ticket === undefined ? {} : { session: ticket.session }),
    })
    // Node's check of the name asks for the issuers' certificates too, and does not look at them:
    // making objects of them takes a tenth of a connection's CPU.
    secured.getPeerCertificate = leafCertificate
    this.#listenForTicket(secured, { host, offered: ticket, vouches })
    return secured
  }

  /** A resumed session shows no certificate: what vouches for it is the handshake that verified one. */
  #ticketFor(host: string): Ticket | undefined {
    const ticket = this.#ticket
    if (ticket?.host !== host) return undefined
    const { clock } = this.#deps
    const { at, certificateEndsAt } = ticket.verified
    const isVerified = clock.monotonic() - at < VERIFIED_GOOD_MS && clock.now() < certificateEndsAt
    return isVerified ? ticket : undefined
  }

  /** Not on each connection: a server gives two tickets, and Node copies those that are listened for. */
  #listenForTicket(
    secured: TLSSocket,
    {
      host,
      offered,
      vouches,
    }: {
      readonly host: string
      readonly offered: Ticket | undefined
      readonly vouches: { readonly by: Verified | undefined }
    },
  ): void {
    const context = this.#context
    const now = this.#deps.clock.monotonic()
    const isGood = offered !== undefined && now - offered.since < TICKET_GOOD_MS
    if (isGood && !this.#hasRefusedTicket) {
      secured.once('secureConnect', () => {
        this.#hasRefusedTicket ||= !secured.isSessionReused()
      })
      return
    }
    secured.once('session', (session: Buffer) => {
      // Authorities that were replaced since have not verified it.
      const verified = vouches.by
      if (!secured.authorized || verified === undefined || this.#context !== context) return
      this.#ticket = { host, session: withoutCertificate(session), since: now, verified }
    })
  }

  /** To be called after the handshake. */
  secured(socket: TLSSocket): void {
    if (this.#offersP256First) return
    const { name } = (socket.getEphemeralKeyInfo() ?? {}) as Partial<EphemeralKeyInfo>
    if (name !== 'prime256v1') return
    // PostgreSQL before 18 takes no other unless told to (ssl_ecdh_curve), and has to ask for it:
    // a round trip. Others are offered what Node thinks best.
    this.#offersP256First = true
    this.#context = undefined
  }

  /** To be called when a handshake fails: the next one is a whole one. */
  failed(): void {
    this.#ticket = undefined
  }
}

interface Ticket {
  readonly host: string
  readonly session: Buffer
  /** Monotonic, in ms. */
  readonly since: number
  readonly verified: Verified
}

/** A handshake in which the server's certificate was verified. */
interface Verified {
  /** Monotonic, in ms. */
  readonly at: number
  /** Epoch ms. */
  readonly certificateEndsAt: number
}

/** An authority may end or be replaced, too: a certificate is asked for again after this time at the latest. */
const VERIFIED_GOOD_MS = 10 * 60_000
/** Servers say hours. */
const TICKET_GOOD_MS = 60_000

function leafCertificate(this: TLSSocket): DetailedPeerCertificate {
  return TLSSocket.prototype.getPeerCertificate.call(this) as DetailedPeerCertificate
}

function secureContext(
  roots: string | string[] | undefined,
  offersP256First: boolean,
): SecureContext {
  const ecdhCurve = offersP256First ? 'P-256:X25519:P-384:P-521' : tls.DEFAULT_ECDH_CURVE
  const ca = roots === undefined ? {} : { ca: roots }
  return tls.createSecureContext({ minVersion: 'TLSv1.2', ecdhCurve, ...ca })
}

/** Node's own and NODE_EXTRA_CA_CERTS, which Node adds by itself; the system's where it can read them. */
function defaultRoots(): string[] | undefined {
  // Node 22.15 and later; older ones use what createSecureContext takes by itself.
  const { getCACertificates } = tls as { getCACertificates?: (from: string) => string[] }
  if (getCACertificates === undefined) return undefined
  return [...getCACertificates('default'), ...getCACertificates('system')]
}

function readRoots(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new ProxyError('config', `could not read root certificate file "${path}"`, {
      cause,
      hint: 'Set sslrootcert to a PEM file, or leave it out to use the usual authorities.',
    })
  }
}

/** The text itself. A half-written file would otherwise be no authority at all. */
function certificatesIn(pem: string, path: string): string {
  const start = '-----BEGIN CERTIFICATE-----'
  const [, ...certificates] = pem.split(start)
  try {
    for (const each of certificates) new X509Certificate(start + each)
    if (certificates.length > 0) return pem
  } catch {}
  throw new ProxyError('config', `"${path}" holds no whole certificate in PEM form`)
}
