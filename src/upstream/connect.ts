/**
 * From a client's StartupMessage to a logged-in upstream. Endpoint and credential are asked for in
 * parallel and before dialling; what can be mended (a waking server, a token refused, an instance
 * to start, a database that is only libpq's guess) is mended here, before anything was relayed.
 */

import type { TargetSettings } from '../config/resolve/settings.js'
import type { Clock } from '../core/clock.js'
import { LinkedAbort, pause } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import type { Credentials, LoginCredential } from '../credentials/credentials.js'
import { isGone } from '../databricks/lakebase/look-up.js'
import type { LakebaseDatabase } from '../databricks/lakebase/workspace.js'
import { refusalByState } from '../endpoints/availability.js'
import { type Endpoint, type Endpoints, hostOf } from '../endpoints/endpoints.js'
import type { Starter } from '../endpoints/starter.js'
import { fromWireText, type StartupMessage, toWireText } from '../wire/frontend.js'
import { Attempt, type ConnectProgress } from './attempt.js'
import { type Connected, openUpstream } from './open.js'
import {
  concernsAll,
  isDatabaseMissing,
  isDoorClosed,
  isFull,
  isTokenRefused,
  isWaking,
  type Refusal,
  refusalError,
} from './refusal.js'
import type { Spares } from './spares.js'
import type { UpstreamTls } from './tls-context.js'

export interface ConnectorOptions {
  target: TargetSettings
  endpoints: Endpoints
  credentials: Credentials
  tls: UpstreamTls
  /** Undefined unless a stopped instance is to be started. */
  starter: Starter | undefined
  /** Undefined with `warm=0`. */
  spares: Spares | undefined
  clock: Clock
  log: Log
  timeoutMs: number
}

const FIRST_RETRY_MS = 100
const MAX_RETRY_MS = 2_000
const YOUNG_BRANCH_MS = 5 * 60_000
const WRONG_GUESS_MS = 60_000
const MAX_GUESSES = 1_000

export class Connector {
  readonly #options: ConnectorOptions
  /** Databases that libpq guessed from the user name and that do not exist: until when (epoch ms). */
  readonly #wrongGuesses = new Map<string, number>()

  constructor(options: ConnectorOptions) {
    this.#options = options
  }

  /** Errors: all kinds but `protocol`; each is for the client to read. */
  async connect(
    startup: StartupMessage,
    progress: ConnectProgress,
    signal: AbortSignal,
  ): Promise<Connected> {
    const { clock, timeoutMs } = this.#options
    const limit = new LinkedAbort(signal)
    const attempt = new Attempt(startup, progress)
    let cancelTimeout = limit.abortAfter(clock, timeoutMs, () => attempt.timedOut(timeoutMs))
    try {
      for (;;) {
        try {
          const result = await this.#try(startup, attempt, limit.signal).catch((error) => {
            if (!signal.aborted) this.#options.spares?.refused()
            throw error
          })
          if ('greeting' in result) return result
          await this.#mend(result, attempt, limit.signal)
        } catch (error) {
          if (limit.signal.aborted) throw limit.signal.reason
          if (!attempt.hasStarted && this.#canWaitFor(error)) {
            cancelTimeout()
            attempt.enter('start-instance')
            await this.#options.starter!.start(limit.signal)
            attempt.hasStarted = true
            cancelTimeout = limit.abortAfter(clock, timeoutMs, () => attempt.timedOut(timeoutMs))
          } else if (error instanceof ProxyError && error.kind === 'dial') {
            await this.#waitToRetry(error, attempt, limit.signal)
          } else {
            throw error
          }
        }
      }
    } finally {
      limit.release()
    }
  }

  async #try(
    startup: StartupMessage,
    attempt: Attempt,
    signal: AbortSignal,
  ): Promise<Connected | (Refusal & { context: LoginContext })> {
    const { endpoints, credentials, spares } = this.#options
    attempt.enter('resolve')
    const resolving = endpoints.resolve(signal)
    const [endpoint, credential] = await Promise.all([
      resolving,
      credentials.get(signal).catch(async (error: unknown) => {
        await resolving // a stopped instance may get no token: that it is stopped says more
        throw error
      }),
    ])
    const parameters = this.#parameters(startup, credential, attempt)
    const request = { endpoint, credential, parameters }
    const result =
      spares?.take(request) ??
      (await openUpstream(
        {
          ...this.#options,
          ...request,
          enter: (phase) => attempt.enter(phase),
          // A server that moved leaves a black hole: only who gives up on it in time can ask where
          // it is now. Longer each time, so that a slow way gets through too.
          lastPatienceMs: (this.#options.timeoutMs / 2) * 2 ** attempt.retries,
        },
        signal,
      ))
    if ('greeting' in result) {
      spares?.seen(parameters)
      return result
    }
    const user = fromWireText(parameters.get('user') ?? '')
    const database = fromWireText(parameters.get('database') ?? '')
    return { ...result, context: { endpoint, credential, user, database } }
  }

  /** Role and database as the target wants them; all else as the client sent it. */
  #parameters(
    startup: StartupMessage,
    credential: LoginCredential,
    attempt: Attempt,
  ): ReadonlyMap<string, string> {
    const { target } = this.#options
    const parameters = new Map(startup.parameters)
    const asked = parameters.get('database') ?? ''
    const role =
      credential.user === undefined ? parameters.get('user') : toWireText(credential.user)
    if (role === undefined || role === '') {
      throw new ProxyError('identity', 'no PostgreSQL user name specified in startup packet', {
        hint: 'Name a user with the client: the target is set to user=client.',
      })
    }
    parameters.set('user', role)
    if (asked === '' || attempt.useDefaultDatabase || this.#isWrongGuess(attempt)) {
      parameters.set('database', toWireText(target.database))
    }
    return parameters
  }

  #isWrongGuess({ guess }: Attempt): boolean {
    const until = guess === undefined ? undefined : this.#wrongGuesses.get(guess)
    if (until === undefined) return false
    // Further away than it was ever set: the clock was set back since.
    const leftMs = until - this.#options.clock.now()
    return leftMs > 0 && leftMs <= WRONG_GUESS_MS
  }

  /** Returns when another try makes sense; else throws what the client is to read. */
  async #mend(
    refusal: Refusal & { context: LoginContext },
    attempt: Attempt,
    signal: AbortSignal,
  ): Promise<void> {
    const { context } = refusal
    const { credentials, spares } = this.#options
    const gaveUpSpares = concernsAll(refusal) && spares?.refused()
    const error = refusalError(refusal, { ...context, method: context.credential.method })
    if (isTokenRefused(refusal) && !attempt.hasNewToken) {
      attempt.hasNewToken = (await credentials.renew(context.credential, signal)) !== undefined
      if (attempt.hasNewToken) return
    }
    // A spare takes no client's place.
    if (isFull(refusal) && gaveUpSpares) return this.#waitToRetry(error, attempt, signal)
    if (isWaking(refusal)) return this.#waitToRetry(error, attempt, signal)
    if (isDoorClosed(refusal)) return this.#explainClosedDoor(error, context, attempt, signal)
    if (isDatabaseMissing(refusal) && this.#wasWrongGuess(context, attempt)) return
    throw error
  }

  async #explainClosedDoor(
    error: ProxyError,
    { endpoint }: LoginContext,
    attempt: Attempt,
    signal: AbortSignal,
  ): Promise<void> {
    const { endpoints, target, clock, starter } = this.#options
    const database = await endpoints.refreshState(signal).catch((reason: unknown) => {
      if (isGone(reason)) throw reason
      return undefined
    })
    if (database === undefined) throw error
    const refusal = refusalByState(database, target)
    if (refusal !== undefined) throw refusal
    if (database.state === 'starting' && starter !== undefined) throw starting(database)
    const hasChanged =
      database.state !== endpoint.database?.state ||
      // Deleted and made anew, an instance has its old name and another host.
      hostOf(target, database) !== endpoint.host
    const ageMs = clock.now() - (database.branchCreatedAt ?? Number.NEGATIVE_INFINITY)
    const isNew = attempt.hasStarted || database.state === 'starting' || ageMs < YOUNG_BRANCH_MS
    if (hasChanged || isNew) return this.#waitToRetry(error, attempt, signal)
    throw error
  }

  /** A database named like the client's user is libpq's default, and nobody's wish. */
  #wasWrongGuess(context: LoginContext, attempt: Attempt): boolean {
    const { target, clock } = this.#options
    const { guess } = attempt
    if (guess === undefined || guess !== toWireText(context.database)) return false
    if (attempt.useDefaultDatabase || context.database === target.database) return false
    if (this.#wrongGuesses.size >= MAX_GUESSES) this.#wrongGuesses.clear()
    this.#wrongGuesses.set(guess, clock.now() + WRONG_GUESS_MS)
    attempt.useDefaultDatabase = true
    return true
  }

  async #waitToRetry(error: ProxyError, attempt: Attempt, signal: AbortSignal): Promise<void> {
    attempt.retrying(error)
    const delayMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt.retries++)
    this.#options.log.debug({ err: error, delayMs }, 'trying to connect again')
    await pause(this.#options.clock, delayMs * (0.5 + Math.random() / 2), signal)
  }

  /** With auto-start: one that is starting already, by whomever, as well as one to be started. */
  #canWaitFor(error: unknown): boolean {
    const { starter } = this.#options
    if (starter === undefined || !(error instanceof ProxyError)) return false
    return error.kind === 'stopped' || error.kind === 'starting'
  }
}

interface LoginContext {
  readonly endpoint: Endpoint
  readonly credential: LoginCredential
  readonly user: string
  readonly database: string
}

function starting({ name, apiState }: LakebaseDatabase): ProxyError {
  return new ProxyError('starting', `database instance "${name}" is starting`, {
    detail: `The workspace reports the state ${apiState}.`,
    hint: 'Try again in a minute.',
  })
}
