/**
 * TLS for local clients: with the user's own certificate, or with one made here, for clients that
 * insist on `sslmode=require`. The user's own is read again when its files change; one that was made
 * here is looked at every day and renewed before its end. A certificate that does not work changes
 * nothing: the last good one stays.
 */

import { constants } from 'node:crypto'
import { networkInterfaces, platform } from 'node:os'
import tls, { type SecureContext } from 'node:tls'
import type { CertifiedPair } from '../core/certificates.js'
import type { Clock } from '../core/clock.js'
import { ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import { readSecretFile } from '../core/secret-file.js'
import { readPem } from '../core/text-file.js'
import { WatchedContent } from '../core/watched-content.js'
import { caFileIn, localCertificate } from './local-authority.js'

export type LocalTlsSetting = 'off' | 'auto' | { readonly cert: string; readonly key: string }

export interface LocalTlsOptions {
  setting: LocalTlsSetting
  /** Where `auto` keeps its keys. */
  stateDir: string
  /** The addresses that are listened on: a certificate made here is valid for them. */
  addresses: readonly string[]
  clock: Clock
  log: Log
}

const DAY_MS = 24 * 60 * 60_000

type Shown = WatchedContent<SecureContext> | { readonly value: SecureContext }

export class LocalTls {
  readonly #options: LocalTlsOptions
  #addresses: readonly string[]
  #shown: Shown
  #cancelRefresh: () => void = () => {}

  private constructor(options: LocalTlsOptions, shown: Shown) {
    this.#options = options
    this.#addresses = options.addresses
    this.#shown = shown
    if (options.setting === 'auto') this.#refreshDaily()
  }

  /** Undefined when it is off. Errors: kind `config`. */
  static async open(options: LocalTlsOptions): Promise<LocalTls | undefined> {
    const { setting } = options
    if (setting === 'off') return undefined
    if (setting === 'auto') return new LocalTls(options, { value: await madeHere(options) })
    return new LocalTls(options, watchOwn(setting, options))
  }

  /** The certificate and key for a session that starts now. */
  get context(): SecureContext {
    return this.#shown.value
  }

  /** Path of the CA that a verifying client needs; undefined with the user's own certificate. */
  get caFile(): string | undefined {
    return this.#options.setting === 'auto' ? caFileIn(this.#options.stateDir) : undefined
  }

  /** Looks at the files now. Errors: kind `config`; then what was good stays. */
  async refresh(addresses = this.#addresses): Promise<void> {
    if (this.#shown instanceof WatchedContent) this.#shown.look()
    else this.#shown = { value: await madeHere({ ...this.#options, addresses }) }
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

async function madeHere(
  options: Pick<LocalTlsOptions, 'stateDir' | 'addresses' | 'clock'>,
): Promise<SecureContext> {
  const { stateDir, clock } = options
  const addresses = certified(options.addresses)
  return contextOf(await localCertificate({ stateDir, addresses, now: clock.now() }))
}

/** A pair of which one file is written and the other is not yet does not work, and is not used. */
function watchOwn(
  { cert, key }: { readonly cert: string; readonly key: string },
  { clock, log }: Pick<LocalTlsOptions, 'clock' | 'log'>,
): WatchedContent<SecureContext> {
  return new WatchedContent({
    read: () =>
      JSON.stringify({ cert: readPem(cert), key: readSecretFile(key, platform(), readPem) }),
    make: (pair) => {
      try {
        return contextOf(JSON.parse(pair) as CertifiedPair)
      } catch (cause) {
        throw notWorking(cert, key, cause as Error)
      }
    },
    clock,
    onChange: () => log.info({ file: cert }, 'local certificate read again'),
    onProblem: ({ message }) =>
      log.warn(
        { file: cert, reason: message },
        'local certificate not read again, the old one stays',
      ),
  })
}

function notWorking(cert: string, key: string, cause: Error): ProxyError {
  return new ProxyError(
    'config',
    `certificate "${cert}" and key "${key}" do not work: ${cause.message}`,
    {
      cause,
      hint: 'Name a PEM certificate (chain) with --local-tls-cert and its key with --local-tls-key.',
    },
  )
}

function contextOf({ cert, key }: CertifiedPair): SecureContext {
  return tls.createSecureContext({
    ...{ cert, key, minVersion: 'TLSv1.2' },
    // Each costs a signature, and a client of TLS 1.2 could ask without end before it logs in.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  })
}

/** Replaces a wildcard by the addresses that this machine has now. */
function certified(addresses: readonly string[]): readonly string[] {
  const isWildcard = (address: string): boolean => address === '0.0.0.0' || address === '::'
  if (!addresses.some(isWildcard)) return addresses
  const here = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  const reachable = here.filter((each) => !each.address.startsWith('fe80:'))
  const own = addresses.filter((address) => !isWildcard(address))
  return [...own, ...reachable.map((each) => each.address)]
}
