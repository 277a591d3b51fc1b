/** Makes a certificate authority and the certificates that it signs; loaded only when one is to be made. */

import 'reflect-metadata' // what @peculiar/x509 stands on; it must be there first

import { webcrypto } from 'node:crypto'

import * as x509 from '@peculiar/x509'

/** Both in PEM form. */
export interface CertifiedPair {
  readonly cert: string
  readonly key: string
}

export interface CertifiedNames {
  readonly hosts: readonly string[]
  readonly addresses: readonly string[]
}

export interface Life {
  /** Epoch ms. */
  now: number
  days: number
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const DAY_MS = 24 * 60 * 60_000

/** One that may sign servers, and no further authority. */
export async function makeAuthority(name: string, life: Life): Promise<CertifiedPair> {
  const keys = await newKeys()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    ...validity(life),
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

export async function issueCertificate(
  authority: CertifiedPair,
  { hosts, addresses }: CertifiedNames,
  life: Life,
): Promise<CertifiedPair> {
  const signer = new x509.X509Certificate(authority.cert)
  const keys = await newKeys()
  const certificate = await x509.X509CertificateGenerator.create({
    // X.509 allows at most 64 characters.
    subject: `CN=${hosts[0]?.slice(0, 64)}`,
    issuer: signer.subject,
    ...validity(life),
    publicKey: keys.publicKey,
    signingKey: await importKey(authority.key),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(false),
      await x509.AuthorityKeyIdentifierExtension.create(signer),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([
        ...hosts.map((value) => ({ type: 'dns' as const, value })),
        ...addresses.map((value) => ({ type: 'ip' as const, value })),
      ]),
    ],
  })
  return { cert: certificate.toString('pem'), key: await exportKey(keys.privateKey) }
}

// A day of grace for clocks that disagree.
function validity({ now, days }: Life): { notBefore: Date; notAfter: Date } {
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
