/**
 * Local authentication: with `local-auth=password`, a client proves by SCRAM-SHA-256 that it knows
 * a local password. Its user name does not matter. The AuthenticationOk is left to the upstream's
 * greeting, because libpq refuses two.
 * https://www.postgresql.org/docs/current/sasl-authentication.html
 */

import { randomBytes } from 'node:crypto'
import { platform } from 'node:os'
import type { Duplex } from 'node:stream'

import type { LocalPassword } from '../config/resolve/settings.js'
import type { Clock } from '../core/clock.js'
import { ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import { Secret } from '../core/secret.js'
import { passwordsOf, readSecretFile } from '../core/secret-file.js'
import { WatchedContent } from '../core/watched-content.js'
import {
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
} from '../wire/backend.js'
import {
  SCRAM_SHA_256,
  ScramServer,
  ScramUnsupported,
  type ScramVerifier,
  scramVerifier,
} from '../wire/scram.js'
import type { PasswordAttempts } from './password-attempts.js'
import { malformed, readPasswordMessage } from './password-message.js'

export interface ClientAuthOptions {
  readonly password: LocalPassword
  /** One for the process: a client gets no further attempts by choosing another target. */
  readonly attempts: PasswordAttempts
  readonly clock: Clock
  readonly log: Log
}

interface Accepted {
  /** Kept beside their keys: a secret is only hidden from the log while it is held. */
  readonly passwords: readonly Secret[]
  readonly verifier: Promise<ScramVerifier>
}

export class ClientAuth {
  readonly #attempts: PasswordAttempts
  /** One for all passwords that come and go: a client is told it before it proves its own. */
  readonly #salt = randomBytes(16)
  /** Returns what a client is checked with now. */
  readonly #accepted: () => Accepted

  /** The keys are derived once for each content of the file, off the event loop. */
  constructor({ password, attempts, clock, log }: ClientAuthOptions) {
    this.#attempts = attempts
    if (password instanceof Secret) {
      const accepted = this.#accept([password])
      this.#accepted = () => accepted
      return
    }
    const { file } = password
    const watched = new WatchedContent({
      read: () => readSecretFile(file, platform()),
      make: (content) => this.#accept(passwordsOf(content, file)),
      clock,
      onChange: ({ passwords }) =>
        log.info({ file, passwords: passwords.length }, 'local passwords read again'),
      onProblem: ({ message }) =>
        log.warn({ file, reason: message }, 'local passwords not read again, the old ones stay'),
    })
    if (watched.value.passwords.length === 0) {
      log.warn({ file }, 'local-password-file is empty, so no client can log in')
    }
    this.#accepted = () => watched.value
  }

  /**
   * `address` is where the client comes from; undefined: a Unix socket.
   * Errors: kind `password` (28P01), kind `limit` after too many wrong ones, kind `protocol` for a
   * broken exchange.
   */
  async authenticate(
    client: Duplex,
    address: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const scram = new ScramServer(await this.#accepted().verifier)
    client.write(authenticationSasl(SCRAM_SHA_256))
    const { mechanism, response } = saslInitialResponse(
      await readPasswordMessage(client, MAX_SASL_BYTES, signal),
    )
    if (mechanism !== SCRAM_SHA_256) throw malformed('client selected an invalid SASL mechanism')
    client.write(authenticationSaslContinue(serverFirst(scram, response)))
    const clientFinal = (await readPasswordMessage(client, MAX_SASL_BYTES, signal)).toString(
      'latin1',
    )
    // With the passwords of now: one that was removed since the exchange began is good no longer.
    const isRight = async () => scram.final(clientFinal, await this.#accepted().verifier)
    const serverFinal = await this.#attempts.check(address, isRight, signal)
    if (serverFinal === undefined) {
      throw new ProxyError('password', 'password authentication failed', {
        hint: 'This lakebase-proxy asks for its local password (LAKEBASE_PROXY_LOCAL_PASSWORD or local-password-file), not for a token.',
      })
    }
    client.write(authenticationSaslFinal(serverFinal))
  }

  /**
   * Each client that awaits the verifier gets the error. The empty catch keeps Node.js from ending the
   * process before a client has come.
   */
  #accept(passwords: readonly Secret[]): Accepted {
    const texts = passwords.map((password) => password.reveal())
    const verifier = scramVerifier(texts, this.#salt)
    verifier.catch(() => {})
    return { passwords, verifier }
  }
}

function serverFirst(scram: ScramServer, clientFirst: string): string {
  try {
    const message = scram.first(clientFirst)
    if (message !== undefined) return message
  } catch (error) {
    if (error instanceof ScramUnsupported) throw new ProxyError('version', error.message)
    throw error
  }
  throw malformed('malformed SCRAM message')
}

// A SCRAM message is below 200 bytes: nonces, a user name that clients leave empty, a proof.
const MAX_SASL_BYTES = 4096

function saslInitialResponse(body: Buffer): { mechanism: string; response: string } {
  // The name of the mechanism and a zero byte, the length of the response as Int32, the response.
  const nameEnd = body.indexOf(0)
  const start = nameEnd + 5
  const isWhole = nameEnd !== -1 && body.length >= start
  if (!isWhole || body.readInt32BE(nameEnd + 1) !== body.length - start) {
    throw malformed('malformed SASL initial response')
  }
  return {
    mechanism: body.toString('latin1', 0, nameEnd),
    response: body.toString('latin1', start),
  }
}
