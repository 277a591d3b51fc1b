/**
 * TLS for local clients: with the user's own certificate, or with one made here, for clients that
 * insist on `sslmode=require`. What is made is kept in the user's state folder, readable by nobody
 * else, and renewed before it ends; the path of its CA is for clients that verify.
 */

import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import tls, { type SecureContext } from 'node:tls'

import type { Clock } from '../clock.js'
import { ProxyError } from '../errors.js'

export type LocalTlsSetting = 'off' | 'auto' | { readonly cert: string; readonly key: string }

export interface LocalTlsOptions {
  setting: LocalTlsSetting
  /** Where `auto` keeps its keys. */
  stateDir: string
  clock: Clock
}

const DAY_MS = 24 * 60 * 60_000
const CERTIFICATE_DAYS = 90
const CA_DAYS = 3_650
const RENEW_BEFORE_MS = 30 * DAY_MS

export class LocalTls {
  readonly #options: LocalTlsOptions
  #context: SecureContext
  #cancelRenewal: () => void = () => {}

  private constructor(options: LocalTlsOptions, context: SecureContext) {
    this.#options = options
    this.#context = context
  }

  /** Undefined when it is off. Errors: kind `config`. */
  static async open(options: LocalTlsOptions): Promise<LocalTls | undefined> {
    if (options.setting === 'off') return undefined
    const local = new LocalTls(options, await secureContext(options))
    if (options.setting === 'auto') local.#renewDaily()
    return local
  }

  /** What a session that starts now uses. */
  get context(): SecureContext {
    return this.#context
  }

  /** Path of the CA that a verifying client needs; undefined with the user's own certificate. */
  get caFile(): string | undefined {
    return this.#options.setting === 'auto' ? files(this.#options.stateDir).ca : undefined
  }

  close(): void {
    this.#cancelRenewal()
  }

  #renewDaily(): void {
    this.#cancelRenewal = this.#options.clock.after(DAY_MS, () => {
      secureContext(this.#options)
        .then((context) => {
          this.#context = context
        })
        .catch(() => {}) // the old one is good for another month of such days
        .finally(() => this.#renewDaily())
    })
  }
}

async function secureContext(options: LocalTlsOptions): Promise<SecureContext> {
  const { setting, stateDir, clock } = options
  if (setting === 'auto') await ensureCertificate(stateDir, clock.now())
  const own = setting === 'auto' ? files(stateDir) : (setting as { cert: string; key: string })
  const cert = await readPem(own.cert, 'local-tls-cert')
  const key = await readPem(own.key, 'local-tls-key')
  if (((await stat(own.key)).mode & 0o077) !== 0) {
    throw new ProxyError('config', `key file "${own.key}" can be read by other users`, {
      hint: `Make it yours alone: chmod 600 ${own.key}`,
    })
  }
  try {
    return tls.createSecureContext({ cert, key, minVersion: 'TLSv1.2' })
  } catch (cause) {
    throw new ProxyError('config', `certificate "${own.cert}" and key "${own.key}" do not work`, {
      cause,
      hint: 'Name a PEM certificate (chain) with --local-tls-cert and its key with --local-tls-key.',
    })
  }
}

async function readPem(path: string, setting: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (cause) {
    throw new ProxyError('config', `could not read "${path}" (${setting})`, {
      cause,
      hint: `Name a PEM file that this user can read with --${setting}.`,
    })
  }
}

function files(stateDir: string): { ca: string; caKey: string; cert: string; key: string } {
  return {
    ca: join(stateDir, 'local-ca.pem'),
    caKey: join(stateDir, 'local-ca-key.pem'),
    cert: join(stateDir, 'local-cert.pem'),
    key: join(stateDir, 'local-key.pem'),
  }
}

/** Makes a new certificate when there is none, or it ends within a month; the CA stays while it can. */
async function ensureCertificate(stateDir: string, now: number): Promise<void> {
  const path = files(stateDir)
  const endsAt = await notAfter(path.cert)
  if (endsAt !== undefined && endsAt - now > RENEW_BEFORE_MS) return
  await mkdir(stateDir, { recursive: true, mode: 0o700 })
  await chmod(stateDir, 0o700)
  const { issueLocalCertificate } = await import('./local-certificate.js')
  const caEndsAt = await notAfter(path.ca)
  const caIsGood = caEndsAt !== undefined && caEndsAt - now > CERTIFICATE_DAYS * DAY_MS
  const issued = await issueLocalCertificate({
    now,
    certificateDays: CERTIFICATE_DAYS,
    caDays: CA_DAYS,
    ca: caIsGood
      ? { cert: await readFile(path.ca, 'utf8'), key: await readFile(path.caKey, 'utf8') }
      : undefined,
  })
  await writePrivate(path.ca, issued.ca.cert)
  await writePrivate(path.caKey, issued.ca.key)
  await writePrivate(path.key, issued.key)
  await writePrivate(path.cert, issued.cert)
}

async function notAfter(path: string): Promise<number | undefined> {
  const { X509Certificate } = await import('node:crypto')
  try {
    return Date.parse(new X509Certificate(await readFile(path)).validTo)
  } catch {
    return undefined
  }
}

async function writePrivate(path: string, text: string): Promise<void> {
  await writeFile(path, text, { mode: 0o600 })
  await chmod(path, 0o600)
}
