/**
 * The TLS side of dialling: one shared secure context per target, since making one costs more than
 * the rest of a handshake, what counts as the right certificate, and what the next handshake need not
 * say again.
 */

import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import tls, {
  type ConnectionOptions,
  type EphemeralKeyInfo,
  type SecureContext,
  type TLSSocket,
} from 'node:tls'

import type { TargetSettings } from '../config/resolve/settings.js'
import { ProxyError } from '../core/errors.js'

export class UpstreamTls {
  readonly #target: Pick<TargetSettings, 'sslmode' | 'sslrootcert'>
  #context: SecureContext | undefined
  /** Undefined: Node's and NODE_EXTRA_CA_CERTS. */
  #roots: string[] | Buffer | undefined
  #offersP256First = false
  /** The last that a host gave us, having been verified: resumed, it sends no certificates. */
  #ticket: { readonly host: string; readonly session: Buffer } | undefined

  constructor(target: Pick<TargetSettings, 'sslmode' | 'sslrootcert'>) {
    this.#target = target
  }

  /**
   * Reads the authorities, unless that is done: best early, because a process that has run out of
   * files cannot. Errors: kind `config` when sslrootcert cannot be read.
   */
  load(): SecureContext {
    if (this.#context === undefined) {
      const { sslrootcert } = this.#target
      this.#roots = sslrootcert === undefined ? defaultRoots() : readRoots(sslrootcert)
      this.#context = secureContext(this.#roots)
    }
    return this.#context
  }

  /** Options of `tls.connect` for a host. Errors as of `load`. */
  options(host: string): ConnectionOptions {
    const { sslmode } = this.#target
    return {
      secureContext: this.load(),
      // An address cannot be an SNI name; Node then verifies against `host`.
      ...(isIP(host) === 0 ? { servername: host } : { host }),
      rejectUnauthorized: sslmode !== 'require',
      ...(sslmode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
      ...(this.#ticket?.host === host ? { session: this.#ticket.session } : {}),
    }
  }

  /** To be called before the handshake: keeps what the server gives for the next one. */
  watch(socket: TLSSocket, host: string): void {
    socket.once('session', (session: Buffer) => {
      if (socket.authorized) this.#ticket = { host, session }
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
    this.#context = secureContext(this.#roots, 'P-256:X25519:P-384:P-521')
  }

  /** To be called when a handshake fails: the next one is a whole one. */
  failed(): void {
    this.#ticket = undefined
  }
}

function secureContext(
  roots: string[] | Buffer | undefined,
  ecdhCurve: string = tls.DEFAULT_ECDH_CURVE,
): SecureContext {
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

function readRoots(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new ProxyError('config', `could not read root certificate file "${path}"`, {
      cause,
      hint: 'Set sslrootcert to a PEM file, or leave it out to use the usual authorities.',
    })
  }
}
