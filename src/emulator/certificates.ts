/**
 * A certificate authority and the front door's certificates, made at each start. No system trusts
 * the authority: clients trust it only through `sslrootcert`.
 */

import 'reflect-metadata' // what @peculiar/x509 stands on; it must be there first

import { webcrypto } from 'node:crypto'

import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'

/** PEM, both. */
export interface ServerCertificate {
  readonly cert: string
  readonly key: string
}

export interface CertificateAuthority {
  /** PEM: what a client's sslrootcert holds. */
  readonly certificate: string
  /**
   * A certificate for these DNS names. Valid for `validMs` from now; a negative number makes an
   * expired certificate.
   */
  issue(names: readonly string[], validMs?: number): Promise<ServerCertificate>
}

const DAY_MS = 24 * 3600_000
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

export async function createCertificateAuthority(name: string): Promise<CertificateAuthority> {
  const keys = await generateKeys()
  const authority = await X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    keys,
    signingAlgorithm: ALGORITHM,
    notBefore: new Date(Date.now() - 2 * DAY_MS),
    notAfter: new Date(Date.now() + 30 * DAY_MS),
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return {
    certificate: authority.toString('pem'),
    issue: (names, validMs = 7 * DAY_MS) => issue(authority, keys, names, validMs),
  }
}

async function issue(
  authority: X509Certificate,
  authorityKeys: webcrypto.CryptoKeyPair,
  names: readonly string[],
  validMs: number,
): Promise<ServerCertificate> {
  const keys = await generateKeys()
  const certificate = await X509CertificateGenerator.create({
    subject: `CN=${names[0]?.slice(0, 64)}`,
    issuer: authority.subject,
    publicKey: keys.publicKey,
    signingKey: authorityKeys.privateKey,
    signingAlgorithm: ALGORITHM,
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + validMs),
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns', value }))),
      await AuthorityKeyIdentifierExtension.create(authority),
    ],
  })
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
  const lines = der
    .toString('base64')
    .match(/.{1,64}/g)!
    .join('\n')
  return {
    cert: certificate.toString('pem'),
    key: `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`,
  }
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
}
