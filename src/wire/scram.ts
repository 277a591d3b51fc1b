/**
 * SCRAM-SHA-256, both ends of it: logging in upstream with a native role's password, and asking a
 * local client for one. No channel binding: the local leg has none, and Lakebase's front door ends TLS
 * before PostgreSQL.
 * https://datatracker.ietf.org/doc/html/rfc5802, https://www.postgresql.org/docs/current/sasl-authentication.html
 */

import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

export const SCRAM_SHA_256 = 'SCRAM-SHA-256'

const pbkdf2Async = promisify(pbkdf2)
const ITERATIONS = 4096
// A server may ask for more work than 4096, but not for a minute of it.
const MAX_ITERATIONS = 1_000_000

/** One login as a client. Every step throws an Error that says what the server did wrong. */
export class ScramClient {
  readonly #password: string
  readonly #nonce = randomBytes(18).toString('base64')
  #serverSignature: Buffer | undefined

  constructor(password: string) {
    this.#password = password
  }

  /** client-first-message. PostgreSQL takes the user name from the StartupMessage, so it is empty. */
  first(): string {
    return `n,,${this.#firstBare}`
  }

  get #firstBare(): string {
    return `n=,r=${this.#nonce}`
  }

  /** client-final-message, for a server-first-message. */
  async final(serverFirst: string): Promise<string> {
    const nonce = attribute(serverFirst, 'r')
    const salt = attribute(serverFirst, 's')
    const iterations = Number(attribute(serverFirst, 'i'))
    if (nonce === undefined || !nonce.startsWith(this.#nonce) || nonce === this.#nonce) {
      throw new Error('server sent a wrong SCRAM nonce')
    }
    if (salt === undefined || !(iterations >= 1 && iterations <= MAX_ITERATIONS)) {
      throw new Error('server sent a malformed SCRAM message')
    }
    const password = await normalizePassword(this.#password)
    const keys = await deriveKeys(password, Buffer.from(salt, 'base64'), iterations)
    const finalBare = `c=${Buffer.from('n,,').toString('base64')},r=${nonce}`
    const authMessage = `${this.#firstBare},${serverFirst},${finalBare}`
    this.#serverSignature = hmac(keys.serverKey, authMessage)
    const proof = xor(keys.clientKey, hmac(keys.storedKey, authMessage))
    return `${finalBare},p=${proof.toString('base64')}`
  }

  /** Checks the server-final-message: that the server, too, knows the password. */
  verify(serverFinal: string): void {
    const signature = Buffer.from(attribute(serverFinal, 'v') ?? '', 'base64')
    if (this.#serverSignature === undefined || !equal(signature, this.#serverSignature)) {
      throw new Error('server sent a wrong SCRAM signature')
    }
  }
}

/** What a server keeps of a password. */
export interface ScramVerifier {
  readonly salt: Buffer
  readonly iterations: number
  readonly storedKey: Buffer
  readonly serverKey: Buffer
}

/** Derives the keys once; off the event loop. */
export async function scramVerifier(password: string): Promise<ScramVerifier> {
  const salt = randomBytes(16)
  const keys = await deriveKeys(await normalizePassword(password), salt, ITERATIONS)
  return { salt, iterations: ITERATIONS, storedKey: keys.storedKey, serverKey: keys.serverKey }
}

/** One login as a server. */
export class ScramServer {
  readonly #verifier: ScramVerifier
  #gs2Header = ''
  #firstBare = ''
  #serverFirst = ''
  #nonce = ''

  constructor(verifier: ScramVerifier) {
    this.#verifier = verifier
  }

  /** server-first-message, or undefined when the client's is malformed or wants channel binding. */
  first(clientFirst: string): string | undefined {
    // gs2 'n' (no channel binding) and 'y' (client thinks we have none: true) are taken, 'p' is not.
    const match = /^([ny],(?:a=[^,]*)?,)(n=[^,]*,r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?)$/.exec(
      clientFirst,
    )
    if (match === null) return undefined
    this.#gs2Header = match[1]!
    this.#firstBare = match[2]!
    this.#nonce = match[3]! + randomBytes(18).toString('base64')
    const { salt, iterations } = this.#verifier
    this.#serverFirst = `r=${this.#nonce},s=${salt.toString('base64')},i=${iterations}`
    return this.#serverFirst
  }

  /** server-final-message, or undefined when the password is wrong. */
  final(clientFinal: string): string | undefined {
    const at = clientFinal.lastIndexOf(',p=')
    if (at === -1) return undefined
    const finalBare = clientFinal.slice(0, at)
    const proof = Buffer.from(clientFinal.slice(at + 3), 'base64')
    const expected = `c=${Buffer.from(this.#gs2Header).toString('base64')},r=${this.#nonce}`
    if (finalBare !== expected || this.#nonce === '') return undefined
    const { storedKey, serverKey } = this.#verifier
    const authMessage = `${this.#firstBare},${this.#serverFirst},${finalBare}`
    const signature = hmac(storedKey, authMessage)
    if (proof.length !== signature.length) return undefined
    if (!equal(sha256(xor(proof, signature)), storedKey)) return undefined
    return `v=${hmac(serverKey, authMessage).toString('base64')}`
  }
}

/**
 * Loads ahead what it takes to prepare `password`. Not only when a client waits for it: a module that
 * could not be read because files had run out counts as broken for as long as this process lives.
 */
export async function loadPreparation(password: string): Promise<void> {
  if (!isPrepared(password)) await import('@mongodb-js/saslprep')
}

/** As PostgreSQL does it: SASLprep where it applies, the bytes as they are where it does not. */
async function normalizePassword(password: string): Promise<string> {
  if (isPrepared(password)) return password
  const { saslprep } = await import('@mongodb-js/saslprep')
  try {
    return saslprep(password)
  } catch {
    return password
  }
}

/** SASLprep leaves ASCII as it is: its tables stay unloaded. */
function isPrepared(password: string): boolean {
  return /^[\x20-\x7e]*$/.test(password)
}

async function deriveKeys(password: string, salt: Buffer, iterations: number) {
  const salted = await pbkdf2Async(password, salt, iterations, 32, 'sha256')
  const clientKey = hmac(salted, 'Client Key')
  return { clientKey, storedKey: sha256(clientKey), serverKey: hmac(salted, 'Server Key') }
}

function attribute(message: string, name: string): string | undefined {
  const part = message.split(',').find((each) => each.startsWith(`${name}=`))
  return part?.slice(2)
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest()
}

function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, i) => byte ^ b[i]!))
}

function equal(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}
