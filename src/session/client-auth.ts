/**
 * Local authentication: with `local-auth=password`, a client proves by SCRAM-SHA-256 that it knows
 * a local password. Its user name does not matter. The AuthenticationOk is left to the upstream's
 * greeting, because libpq refuses two.
 * https://www.postgresql.org/docs/current/sasl-authentication.html
 */

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

export class ClientAuth {
  readonly #attempts: PasswordAttempts
  /** Returns the keys that a client is checked with. */
  readonly #verifier: () => Promise<ScramVerifier>

  /** The keys are derived once for each content of the file, off the event loop. */
  constructor({ password, attempts, clock, log }: ClientAuthOptions) {
    this.#attempts = attempts
    if (password instanceof Secret) {
      const verifier = verifierOf([password])
      this.#verifier = () => verifier
      return
    }
    const { file } = password
    const watched = new WatchedContent({
      read: () => readSecretFile(file, platform()),
      make: (content) => {
        const passwords = passwordsOf(content, file)
        return { count: passwords.length, verifier: verifierOf(passwords) }
      },
      clock,
      onChange: ({ count }) => log.info({ file, passwords: count }, 'local passwords read again'),
      onProblem: ({ message }) =>
        log.warn({ file, reason: message }, 'local passwords not read again, the old ones stay'),
    })
    if (watched.value.count === 0) {
      log.warn({ file }, 'local-password-file is empty, so no client can log in')
    }
    this.#verifier = () => watched.value.verifier
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
    const scram = new ScramServer(await this.#verifier())
    client.write(authenticationSasl(SCRAM_SHA_256))
    const { mechanism, response } = saslInitialResponse(
      await readPasswordMessage(client, MAX_SASL_BYTES, signal),
    )
    if (mechanism !== SCRAM_SHA_256) throw malformed('client selected an invalid SASL mechanism')
    client.write(authenticationSaslContinue(serverFirst(scram, response)))
    const clientFinal = (await readPasswordMessage(client, MAX_SASL_BYTES, signal)).toString()
    const serverFinal = await this.#attempts.check(address, () => scram.final(clientFinal), signal)
    if (serverFinal === undefined) {
      throw new ProxyError('password', 'password authentication failed', {
        hint: 'This lakebase-proxy asks for its local password (LAKEBASE_PROXY_LOCAL_PASSWORD or local-password-file), not for a token.',
      })
    }
    client.write(authenticationSaslFinal(serverFinal))
  }
}

/**
 * Each client that awaits the promise gets the error. The empty catch keeps Node.js from ending the
 * process before a client has come.
 */
function verifierOf(passwords: readonly Secret[]): Promise<ScramVerifier> {
  const verifier = scramVerifier(passwords.map((password) => password.reveal()))
  verifier.catch(() => {})
  return verifier
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
  return { mechanism: body.toString('latin1', 0, nameEnd), response: body.toString('utf8', start) }
}
