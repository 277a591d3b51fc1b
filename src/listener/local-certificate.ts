/** Issues the certificate that local clients see, from a CA made for this user alone. */

import 'reflect-metadata' // what @peculiar/x509 stands on; it must be there first

import { webcrypto } from 'node:crypto'
import { hostname } from 'node:os'

import * as x509 from '@peculiar/x509'

export interface PemPair {
  readonly cert: string
  readonly key: string
}

export interface IssueOptions {
  /** Epoch ms. */
  now: number
  certificateDays: number
  caDays: number
  /** Undefined: a new CA is made. */
  ca: PemPair | undefined
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const DAY_MS = 24 * 60 * 60_000

export async function issueLocalCertificate(
  options: IssueOptions,
): Promise<PemPair & { ca: PemPair }> {
  const ca = options.ca ?? (await makeCa(options))
  const caCertificate = new x509.X509Certificate(ca.cert)
  const keys = await newKeys()
  const certificate = await x509.X509CertificateGenerator.create({
    subject: 'CN=localhost',
    issuer: caCertificate.subject,
    ...validity(options.now, options.certificateDays),
    publicKey: keys.publicKey,
    signingKey: await importKey(ca.key),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(false),
      await x509.AuthorityKeyIdentifierExtension.create(caCertificate),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([
        { type: 'dns', value: 'localhost' },
        { type: 'dns', value: hostname() },
        { type: 'ip', value: '127.0.0.1' },
        { type: 'ip', value: '::1' },
      ]),
    ],
  })
  return { cert: certificate.toString('pem'), key: await exportKey(keys.privateKey), ca }
}

async function makeCa({ now, caDays }: IssueOptions): Promise<PemPair> {
  const keys = await newKeys()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=lakebase-proxy local CA',
    ...validity(now, caDays),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { cert: certificate.toString('pem'), key: await exportKey(keys.privateKey) }
}

// A day of grace for clocks that disagree.
function validity(now: number, days: number): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(now - DAY_MS), notAfter: new Date(now + days * DAY_MS) }
}

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(ALGORITHM, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = x509.PemConverter.decodeFirst(pem)
  return webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign'])
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')
}
