/**
 * The certificate chains of the far servers: RSA-2048 with an intermediate, as public authorities and
 * Lakebase's front door show them, or P-256 alone. Which one it is decides what a handshake costs.
 */

import 'reflect-metadata' // what @peculiar/x509 stands on; it must be there first

import { webcrypto } from 'node:crypto'

import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'

export type ChainKind = 'rsa' | 'p256'

/** PEM, all of them. */
export interface Chain {
  readonly root: string
  /** The leaf and what stands between it and the root. */
  readonly chain: string
  readonly key: string
}

const ALGORITHMS = {
  rsa: {
    name: 'RSASSA-PKCS1-v1_5',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: 'SHA-256',
  },
  p256: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
} as const

const DAY_MS = 24 * 3600_000

export async function createChain(kind: ChainKind, host: string): Promise<Chain> {
  const root = await issue(kind, 'Benchmark Root', undefined)
  const intermediate =
    kind === 'rsa' ? await issue(kind, 'Benchmark Intermediate', root) : undefined
  const leaf = await issue(kind, host, intermediate ?? root, host)
  const chain = [leaf, intermediate].flatMap((each) => each?.certificate.toString('pem') ?? [])
  return {
    root: root.certificate.toString('pem'),
    chain: chain.join('\n'),
    key: await privateKeyPem(leaf.keys),
  }
}

interface Issued {
  readonly certificate: X509Certificate
  readonly keys: webcrypto.CryptoKeyPair
}

async function issue(
  kind: ChainKind,
  name: string,
  issuer: Issued | undefined,
  host?: string,
): Promise<Issued> {
  const algorithm = ALGORITHMS[kind]
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const isAuthority = host === undefined
  const certificate = await X509CertificateGenerator.create({
    subject: `CN=${name}`,
    issuer: issuer?.certificate.subject ?? `CN=${name}`,
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + 7 * DAY_MS),
    extensions: [
      new BasicConstraintsExtension(isAuthority, undefined, true),
      new KeyUsagesExtension(
        isAuthority ? KeyUsageFlags.keyCertSign : KeyUsageFlags.digitalSignature,
        true,
      ),
      ...(isAuthority ? [] : [new SubjectAlternativeNameExtension([{ type: 'dns', value: host }])]),
    ],
  })
  return { certificate, keys }
}

async function privateKeyPem(keys: webcrypto.CryptoKeyPair): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
  const lines = der.toString('base64').replace(/.{1,64}/g, '$&\n')
  return `-----BEGIN PRIVATE KEY-----\n${lines}-----END PRIVATE KEY-----\n`
}
