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
const PROOF_BYTES = 32
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
    const salt = strictBase64(attribute(serverFirst, 's'))
    const iterations = Number(attribute(serverFirst, 'i'))
    if (nonce === undefined || !nonce.startsWith(this.#nonce) || nonce === this.#nonce) {
      throw new Error('server sent a wrong SCRAM nonce')
    }
    if (salt === undefined || !(iterations >= 1 && iterations <= MAX_ITERATIONS)) {
      throw new Error('server sent a malformed SCRAM message')
    }
    const password = await normalizePassword(this.#password)
    const keys = await deriveKeys(password, salt, iterations)
    const finalBare = `c=${Buffer.from('n,,').toString('base64')},r=${nonce}`
    const authMessage = `${this.#firstBare},${serverFirst},${finalBare}`
    this.#serverSignature = hmac(keys.serverKey, authMessage)
    const proof = xor(keys.clientKey, hmac(keys.storedKey, authMessage))
    return `${finalBare},p=${proof.toString('base64')}`
  }

  /** Checks the server-final-message: that the server, too, knows the password. */
  verify(serverFinal: string): void {
    const signature = strictBase64(attribute(serverFinal, 'v'))
    const expected = this.#serverSignature
    if (signature === undefined || expected === undefined || !equal(signature, expected)) {
      throw new Error('server sent a wrong SCRAM signature')
    }
  }
}

/**
 * What a server keeps of the passwords it accepts. They share one salt, because the salt is sent
 * before the client shows which of them it knows.
 */
export interface ScramVerifier {
  readonly salt: Buffer
  readonly iterations: number
  readonly keys: readonly ScramKeys[]
}

export interface ScramKeys {
  readonly storedKey: Buffer
  readonly serverKey: Buffer
}

/** Derives the keys once; off the event loop. Without passwords, no proof is accepted. */
export async function scramVerifier(
  passwords: readonly string[],
  salt = randomBytes(16),
): Promise<ScramVerifier> {
  const keys = passwords.map(async (password) =>
    deriveKeys(await normalizePassword(password), salt, ITERATIONS),
  )
  return { salt, iterations: ITERATIONS, keys: await Promise.all(keys) }
}

/** A client's first message that asks for what this server does not have. */
export class ScramUnsupported extends Error {}

/** One login as a server. Its messages have one character for each byte. */
export class ScramServer {
  readonly #verifier: ScramVerifier
  #gs2Header = ''
  #firstBare = ''
  #serverFirst = ''
  #nonce = ''

  constructor(verifier: ScramVerifier) {
    this.#verifier = verifier
  }

  /**
   * server-first-message, or undefined when the client's is malformed or wants channel binding.
   * Throws ScramUnsupported for an authorization identity and for a mandatory extension, as
   * PostgreSQL refuses them.
   */
  first(clientFirst: string): string | undefined {
    if (/^[ny],a=/.test(clientFirst)) {
      throw new ScramUnsupported('client uses authorization identity, but it is not supported')
    }
    if (/^[ny],,m=/.test(clientFirst)) {
      throw new ScramUnsupported('client requires an unsupported SCRAM extension')
    }
    // gs2 'n' (no channel binding) and 'y' (client thinks we have none: true) are taken, 'p' is not.
    const match = /^([ny],,)(n=[^,]*,r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?)$/.exec(clientFirst)
    if (match === null) return undefined
    this.#gs2Header = match[1]!
    this.#firstBare = match[2]!
    this.#nonce = match[3]! + randomBytes(18).toString('base64')
    const { salt, iterations } = this.#verifier
    this.#serverFirst = `r=${this.#nonce},s=${salt.toString('base64')},i=${iterations}`
    return this.#serverFirst
  }

  /**
   * server-final-message, or undefined when the password is wrong. `current`: the passwords may have
   * changed since the first message, but not the salt.
   */
  final(clientFinal: string, current = this.#verifier): string | undefined {
    const at = clientFinal.lastIndexOf(',p=')
    if (at === -1) return undefined
    const finalBare = clientFinal.slice(0, at)
    const proof = strictBase64(clientFinal.slice(at + 3))
    const expected = `c=${Buffer.from(this.#gs2Header).toString('base64')},r=${this.#nonce}`
    if (finalBare !== expected || this.#nonce === '') return undefined
    if (proof?.length !== PROOF_BYTES) return undefined
    const authMessage = `${this.#firstBare},${this.#serverFirst},${finalBare}`
    // Every password is tried, so that the time does not tell which one was right.
    const matching = current.keys.filter(({ storedKey }) =>
      equal(sha256(xor(proof, hmac(storedKey, authMessage))), storedKey),
    )
    const [known] = matching
    return known && `v=${hmac(known.serverKey, authMessage).toString('base64')}`
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

/** Undefined unless the text is base64 to its last character: Node skips what is not. */
function strictBase64(text: string | undefined): Buffer | undefined {
  const bytes = Buffer.from(text ?? '', 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}

function attribute(message: string, name: string): string | undefined {
  const part = message.split(',').find((each) => each.startsWith(`${name}=`))
  return part?.slice(2)
}

/** `text` has one character for each byte: a user name in it may be in any encoding. */
function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'latin1').digest()
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
