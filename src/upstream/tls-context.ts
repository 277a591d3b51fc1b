/**
 * The TLS side of dialling: one shared secure context per target, since making one costs more than
 * the rest of a handshake, and what counts as the right certificate.
 */

import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import tls, { type ConnectionOptions, type SecureContext } from 'node:tls'

import type { TargetSettings } from '../config/settings.js'
import { ProxyError } from '../errors.js'

export class UpstreamTls {
  readonly #target: Pick<TargetSettings, 'sslmode' | 'sslrootcert'>
  #context: SecureContext | undefined

  constructor(target: Pick<TargetSettings, 'sslmode' | 'sslrootcert'>) {
    this.#target = target
  }

  /**
   * Reads the authorities, unless that is done: best early, because a process that has run out of
   * files cannot. Errors: kind `config` when sslrootcert cannot be read.
   */
  load(): SecureContext {
    this.#context ??= secureContext(this.#target.sslrootcert)
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
    }
  }
}

function secureContext(sslrootcert: string | undefined): SecureContext {
  const ca = sslrootcert === undefined ? defaultRoots() : readRoots(sslrootcert)
  return tls.createSecureContext({ minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) })
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
