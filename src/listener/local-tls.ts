/**
 * TLS for local clients: with the user's own certificate, or with one made here, for clients that
 * insist on `sslmode=require`. Both are read again every day, so that a renewed certificate is shown
 * before the old one ends. When reading fails, the last good one stays.
 */

import { networkInterfaces, platform } from 'node:os'
import tls, { type SecureContext } from 'node:tls'

import type { Clock } from '../core/clock.js'
import { ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import { readSecretFile, readWhole } from '../core/secret-file.js'
import { caFileIn, localCertificate } from './local-authority.js'
import type { CertifiedPair } from './local-certificate.js'

export type LocalTlsSetting = 'off' | 'auto' | { readonly cert: string; readonly key: string }

export interface LocalTlsOptions {
  setting: LocalTlsSetting
  /** Where `auto` keeps its keys. */
  stateDir: string
  /** What is listened at: a certificate made here is good for it. */
  addresses: readonly string[]
  clock: Clock
  log: Log
}

const DAY_MS = 24 * 60 * 60_000

export class LocalTls {
  readonly #options: LocalTlsOptions
  #addresses: readonly string[]
  #context: SecureContext
  #cancelRefresh: () => void = () => {}

  private constructor(options: LocalTlsOptions, context: SecureContext) {
    this.#options = options
    this.#addresses = options.addresses
    this.#context = context
    this.#refreshDaily()
  }

  /** Undefined when it is off. Errors: kind `config`. */
  static async open(options: LocalTlsOptions): Promise<LocalTls | undefined> {
    if (options.setting === 'off') return undefined
    return new LocalTls(options, await secureContext(options))
  }

  /** What a session that starts now uses. */
  get context(): SecureContext {
    return this.#context
  }

  /** Path of the CA that a verifying client needs; undefined with the user's own certificate. */
  get caFile(): string | undefined {
    return this.#options.setting === 'auto' ? caFileIn(this.#options.stateDir) : undefined
  }

  /** Looks at the files again. Errors: kind `config`; then what was good stays. */
  async refresh(addresses = this.#addresses): Promise<void> {
    this.#context = await secureContext({ ...this.#options, addresses })
    this.#addresses = addresses
  }

  close(): void {
    this.#cancelRefresh()
  }

  #refreshDaily(): void {
    const { clock, log } = this.#options
    this.#cancelRefresh = clock.after(DAY_MS, () => {
      this.#refreshDaily()
      this.refresh().catch((error: unknown) => {
        const hint = error instanceof ProxyError ? error.hint : undefined
        log.warn({ reason: String(error), hint }, 'local certificate not renewed')
      })
    })
  }
}

async function secureContext(options: LocalTlsOptions): Promise<SecureContext> {
  const { setting, stateDir, clock } = options
  if (setting === 'auto') {
    const addresses = certified(options.addresses)
    return contextOf(await localCertificate({ stateDir, addresses, now: clock.now() }))
  }
  const { cert, key } = setting as { cert: string; key: string }
  try {
    return contextOf({ cert: readWhole(cert), key: readSecretFile(key, platform()) })
  } catch (cause) {
    if (cause instanceof ProxyError) throw cause
    const { message } = cause as Error
    throw new ProxyError(
      'config',
      `certificate "${cert}" and key "${key}" do not work: ${message}`,
      {
        cause,
        hint: 'Name a PEM certificate (chain) with --local-tls-cert and its key with --local-tls-key.',
      },
    )
  }
}

function contextOf({ cert, key }: CertifiedPair): SecureContext {
  return tls.createSecureContext({ cert, key, minVersion: 'TLSv1.2' })
}

/** A wildcard stands for what this machine is reached by just now. */
function certified(addresses: readonly string[]): readonly string[] {
  const isWildcard = (address: string): boolean => address === '0.0.0.0' || address === '::'
  if (!addresses.some(isWildcard)) return addresses
  const here = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  const reachable = here.filter((each) => !each.address.startsWith('fe80:'))
  const own = addresses.filter((address) => !isWildcard(address))
  return [...own, ...reachable.map((each) => each.address)]
}
