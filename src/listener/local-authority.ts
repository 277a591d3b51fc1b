/**
 * The certificate authority of one user, in that user's state folder. It signs the certificate that
 * `local-tls=auto` shows to clients. Only that user can read the folder and its files. Any number of
 * proxies may start at once: each file is written whole, and the authority is made only once.
 */

import { randomBytes, X509Certificate } from 'node:crypto'
import { chmod, link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { CertifiedNames, CertifiedPair } from '../core/certificates.js'
import { ProxyError } from '../core/errors.js'

export interface LocalCertificateOptions {
  stateDir: string
  /** IP addresses that it must be valid for, besides those of loopback and this machine's name. */
  addresses: readonly string[]
  /** Epoch ms. */
  now: number
}

const DAY_MS = 24 * 60 * 60_000
const CERTIFICATE_DAYS = 90
const RENEW_BEFORE_DAYS = 30
const AUTHORITY_DAYS = 3_650

/** Path of the certificate that a verifying client needs. */
export function caFileIn(stateDir: string): string {
  return join(stateDir, 'local-ca.pem')
}

/**
 * Returns the certificate. A new one is made when it is missing, ends within a month, or lacks a name.
 * Errors: kind `config`.
 */
export async function localCertificate(options: LocalCertificateOptions): Promise<CertifiedPair> {
  const { stateDir, now } = options
  const names = {
    hosts: ['localhost', hostname()].filter((name) => /^[\w.-]+$/.test(name)),
    addresses: [...new Set(['127.0.0.1', '::1', ...options.addresses])],
  }
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 })
    await chmod(stateDir, 0o700)
    const authority = await ensureAuthority(stateDir, now)
    const path = join(stateDir, 'local-server.pem')
    const held = await readPair(path)
    if (held !== undefined && isGood(held, authority, names, now)) return held

    const { issueCertificate } = await import('../core/certificates.js')
    const issued = await issueCertificate(authority, names, { now, days: CERTIFICATE_DAYS })
    await writePrivate(path, issued)
    return issued
  } catch (cause) {
    const { message } = cause as Error
    throw new ProxyError('config', `could not keep a certificate in "${stateDir}": ${message}`, {
      cause,
      hint: 'Make that folder yours, or name another with XDG_STATE_HOME; or use --local-tls-cert.',
    })
  }
}

async function ensureAuthority(stateDir: string, now: number): Promise<CertifiedPair> {
  const path = join(stateDir, 'local-ca-key.pem')
  let authority = await readPair(path)
  if (authority === undefined || endsWithin(authority, CERTIFICATE_DAYS, now)) {
    const { makeAuthority } = await import('../core/certificates.js')
    const made = await makeAuthority('lakebase-proxy local CA', { now, days: AUTHORITY_DAYS })
    const isFirst = authority === undefined && (await writePrivateOnce(path, made))
    // Another proxy was a moment faster: then it is its authority that counts.
    const other = authority === undefined && !isFirst ? await readPair(path) : undefined
    if (!isFirst && other === undefined) await writePrivate(path, made)
    authority = other ?? made
  }
  const published = await readFile(caFileIn(stateDir), 'utf8').catch(() => undefined)
  if (published !== authority.cert) await replace(caFileIn(stateDir), authority.cert)
  return authority
}

function isGood(
  held: CertifiedPair,
  authority: CertifiedPair,
  names: CertifiedNames,
  now: number,
): boolean {
  const certificate = new X509Certificate(held.cert)
  return (
    !endsWithin(held, RENEW_BEFORE_DAYS, now) &&
    certificate.verify(new X509Certificate(authority.cert).publicKey) &&
    names.hosts.every((host) => certificate.checkHost(host) !== undefined) &&
    names.addresses.every((address) => certificate.checkIP(address) !== undefined)
  )
}

function endsWithin({ cert }: CertifiedPair, days: number, now: number): boolean {
  return Date.parse(new X509Certificate(cert).validTo) - now < days * DAY_MS
}

/** Undefined when the file is missing or invalid. Throws when it cannot be read: it may be good. */
async function readPair(path: string): Promise<CertifiedPair | undefined> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  const [key] = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----/.exec(text) ?? []
  const [cert] = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(text) ?? []
  if (key === undefined || cert === undefined) return undefined
  try {
    new X509Certificate(cert)
  } catch {
    return undefined
  }
  await chmod(path, 0o600)
  return { cert, key }
}

function writePrivate(path: string, { cert, key }: CertifiedPair): Promise<void> {
  return replace(path, `${cert}\n${key}\n`)
}

/** False when there is such a file already. */
async function writePrivateOnce(path: string, { cert, key }: CertifiedPair): Promise<boolean> {
  const draft = await writeDraft(path, `${cert}\n${key}\n`)
  try {
    await link(draft, path)
    return true
  } catch {
    return false
  } finally {
    await rm(draft, { force: true })
  }
}

/** A concurrent reader sees the old text or the new one, always whole. */
async function replace(path: string, text: string): Promise<void> {
  const draft = await writeDraft(path, text)
  await rename(draft, path)
}

async function writeDraft(path: string, text: string): Promise<string> {
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  await writeFile(draft, text, { mode: 0o600, flag: 'wx' })
  return draft
}
