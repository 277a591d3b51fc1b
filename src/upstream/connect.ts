/**
 * From what a client asks for to a logged-in upstream. Endpoint and credential are asked for in
 * parallel and before dialling. Each try has one outcome, and the outcome says what comes next: a
 * waking server, a refused token, an instance to start, a branch that was just made and a database
 * that libpq only guessed are all dealt with here, before anything is relayed.
 */

import type { TargetSettings } from '../config/resolve/settings.js'
import type { Clock } from '../core/clock.js'
import { type LinkedAbort, pause } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import type { Credentials, LoginCredential } from '../credentials/credentials.js'
import { isGone } from '../databricks/lakebase/look-up.js'
import { isYoung, refusalByState, takesTime } from '../endpoints/availability.js'
import { type Endpoint, type Endpoints, hostOf } from '../endpoints/endpoints.js'
import type { Starter } from '../endpoints/starter.js'
import { fromWireText, toWireText, type WireText } from '../wire/frontend.js'
import { Attempt, type ClientLogin, type ConnectProgress } from './attempt.js'
import { DatabaseGuesses } from './database-guesses.js'
import { NoAnswer } from './dial.js'
import { type Connected, type OpenResult, openUpstream } from './open.js'
import {
  concernsAll,
  maySettle,
  meaningOf,
  type Refusal,
  refusalError,
  saslError,
} from './refusal.js'
import type { Spares } from './spares.js'
import type { UpstreamTls } from './tls-context.js'
import { Waking } from './waking.js'

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
  connectTimeoutMs: number
  wakeTimeoutMs: number
}

/** The result of one try. */
type Outcome =
  | { readonly next: 'connected'; readonly connected: Connected }
  | { readonly next: 'retry'; readonly after: 'pause'; readonly error: ProxyError }
  /** Something was wrong with what we asked for, and is put right. */
  | { readonly next: 'retry'; readonly after: 'correction' }
  | { readonly next: 'start-instance' }
  | { readonly next: 'failed'; readonly error: unknown }

const FIRST_RETRY_MS = 100
const MAX_RETRY_MS = 2_000
/** A server that has not let the client in by then may be waking: its state is asked for. */
const SILENCE_MS = 1_000

export class Connector {
  readonly #options: ConnectorOptions
  readonly #guesses: DatabaseGuesses
  readonly #waking: Waking

  constructor(options: ConnectorOptions) {
    this.#options = options
    const { clock, log, target } = options
    this.#guesses = new DatabaseGuesses(clock)
    this.#waking = new Waking({ clock, log, target: target.name })
  }

  /** How long clients have waited for the server to wake; undefined when none waits. */
  get wakingSeconds(): number | undefined {
    return this.#waking.seconds
  }

  /**
   * `limit` aborts when the client leaves, and is aborted when its time is up. `credentials`: the
   * client's own; left out, the target's. Errors: all kinds but `protocol`; each
   * is for the client to read.
   */
  async connect(
    login: ClientLogin,
    progress: ConnectProgress,
    limit: LinkedAbort,
    credentials: Credentials = this.#options.credentials,
  ): Promise<Connected> {
    const { clock, connectTimeoutMs, wakeTimeoutMs } = this.#options
    const attempt = new Attempt(login, {
      credentials,
      progress,
      clock,
      limit,
      connectTimeoutMs,
      wakeTimeoutMs,
      waking: this.#waking,
    })
    let isConnected = false
    try {
      for (;;) {
        const outcome = await this.#try(login, attempt)
        if (attempt.signal.aborted && outcome.next !== 'connected') throw attempt.signal.reason
        switch (outcome.next) {
          case 'connected':
            isConnected = true
            return outcome.connected
          case 'retry':
            if (outcome.after === 'pause') await this.#pause(outcome.error, attempt)
            break
          case 'start-instance':
            attempt.enter('start-instance')
            await attempt.outsideTimeout(() => this.#options.starter!.start(attempt.signal))
            attempt.hasStarted = true
            break
          case 'failed':
            throw outcome.error
        }
      }
    } finally {
      attempt.release(isConnected)
    }
  }

  async #try(login: ClientLogin, attempt: Attempt): Promise<Outcome> {
    const { spares } = this.#options
    try {
      const { result, context } = await this.#open(login, attempt)
      switch (result.outcome) {
        case 'connected':
          return { next: 'connected', connected: result.connected }
        case 'sasl required':
          // An unknown role may be asked for SASL as if it had a password.
          spares?.refused(attempt.credentials)
          return this.#retryIfYoung(saslError(), context, attempt)
        case 'refused':
          return await this.#afterRefusal(result, context, attempt)
      }
    } catch (error) {
      return this.#afterError(error, attempt)
    }
  }

  async #open(
    login: ClientLogin,
    attempt: Attempt,
  ): Promise<{ result: OpenResult; context: LoginContext }> {
    const { endpoints, spares, tls, clock, connectTimeoutMs } = this.#options
    const { signal, credentials } = attempt
    attempt.enter('resolve')
    const resolving = endpoints.resolve(signal)
    const [endpoint, credential] = await Promise.all([
      resolving,
      credentials.get(signal).catch(async (error: unknown) => {
        await resolving // a stopped instance may get no token: that it is stopped says more
        throw error
      }),
    ])
    const parameters = this.#parameters(login, credential, attempt)
    const context = { endpoint, credential, parameters }
    const isOwn = credential.method === 'given' // a spare connection would send it a second time
    const spare = isOwn ? undefined : spares?.take(context, credentials)
    const stopWatching = clock.after(SILENCE_MS, () => void this.#lookForWaking(attempt))
    try {
      const result: OpenResult = spare
        ? { outcome: 'connected', connected: spare }
        : await openUpstream(
            {
              ...context,
              endpoints,
              tls,
              clock,
              enter: (phase) => {
                attempt.enter(phase)
                if (phase === 'login' && isOwn) attempt.mayHaveSentOnlyOne = true
              },
              // A server that moved leaves a black hole: it has to be given up on in time to ask
              // where it is now. Longer each time, so that a slow way gets through too.
              lastPatienceMs: (connectTimeoutMs / 2) * 2 ** attempt.silences,
            },
            signal,
          )
      if (result.outcome === 'connected' && !isOwn) spares?.seen(parameters, credentials)
      return { result, context }
    } finally {
      stopWatching()
    }
  }

  /** Role and database as the target wants them; all else as the client sent it. */
  #parameters(
    login: ClientLogin,
    credential: LoginCredential,
    attempt: Attempt,
  ): ReadonlyMap<string, WireText> {
    const { target } = this.#options
    const parameters = new Map(login.parameters)
    const asked = parameters.get('database') ?? ''
    const role = credential.user === undefined ? login.role : toWireText(credential.user)
    if (role === undefined || role === '') {
      throw new ProxyError('identity', 'no PostgreSQL user name specified in startup packet', {
        hint: 'Name a user with the client: the target is set to user=client.',
      })
    }
    parameters.set('user', role)
    if (asked === '' || attempt.useDefaultDatabase || this.#guesses.isWrong(attempt.guess)) {
      parameters.set('database', toWireText(target.database))
    }
    return parameters
  }

  async #afterRefusal(refusal: Refusal, context: LoginContext, attempt: Attempt): Promise<Outcome> {
    const { spares } = this.#options
    const { credential, parameters } = context
    // A full server has room again when spare connections go, those of any person.
    const whose = meaningOf(refusal) === 'full' ? undefined : attempt.credentials
    const gaveUpSpares = concernsAll(refusal) && spares?.refused(whose)
    const user = fromWireText(parameters.get('user') ?? '')
    const error = refusalError(refusal, { user, method: credential.method })
    if (credential.method === 'given' && refusal.stage !== 'before password') {
      // It was sent once, and that is all.
      if (meaningOf(refusal) === 'token refused') {
        await attempt.credentials.renew(credential, attempt.signal)
      }
      return { next: 'failed', error }
    }
    switch (meaningOf(refusal)) {
      case 'waking':
        attempt.wake()
        return { next: 'retry', after: 'pause', error }
      case 'token refused':
        if (!attempt.hasNewToken) {
          attempt.hasNewToken =
            (await attempt.credentials.renew(credential, attempt.signal)) !== undefined
          if (attempt.hasNewToken) return { next: 'retry', after: 'correction' }
        }
        return this.#retryIfYoung(error, context, attempt)
      case 'access denied':
        return this.#explainDenied(error, context, attempt)
      case 'database missing':
        if (this.#recordWrongGuess(context, attempt)) return { next: 'retry', after: 'correction' }
        return { next: 'failed', error }
      case 'full':
        // A spare connection takes no client's place.
        return gaveUpSpares ? { next: 'retry', after: 'pause', error } : { next: 'failed', error }
      case 'final':
        if (maySettle(refusal)) return this.#retryIfYoung(error, context, attempt)
        return { next: 'failed', error }
    }
  }

  /** Roles and access rules of a branch that was just made may arrive in a moment. */
  #retryIfYoung(error: ProxyError, { endpoint }: LoginContext, attempt: Attempt): Outcome {
    const { database } = endpoint
    if (database === undefined || !isYoung(database, this.#options.clock.now())) {
      return { next: 'failed', error }
    }
    attempt.wake(database.apiState)
    return { next: 'retry', after: 'pause', error }
  }

  /** The front door says "External authorization failed" for many reasons: the state tells which. */
  async #explainDenied(
    error: ProxyError,
    { endpoint }: LoginContext,
    attempt: Attempt,
  ): Promise<Outcome> {
    const { endpoints, target, clock, starter } = this.#options
    const database = await endpoints.refreshState(attempt.signal).catch((reason: unknown) => {
      if (isGone(reason)) throw reason
      return undefined
    })
    if (database === undefined) return { next: 'failed', error }
    const refusal = refusalByState(database, target)
    if (refusal !== undefined) throw refusal
    if (database.state === 'starting' && starter !== undefined && !attempt.hasStarted) {
      return { next: 'start-instance' }
    }
    const hasChanged =
      database.state !== endpoint.database?.state ||
      // Deleted and made again, an instance has its old name and another host.
      hostOf(target, database) !== endpoint.host
    if (hasChanged || attempt.hasStarted || takesTime(database, clock.now())) {
      attempt.wake(database.apiState)
      return { next: 'retry', after: 'pause', error }
    }
    return { next: 'failed', error }
  }

  /**
   * A database named like the client's user is libpq's default: the client did not choose it. Whether
   * it was such a guess; then the next login asks for the target's database.
   */
  #recordWrongGuess({ parameters }: LoginContext, attempt: Attempt): boolean {
    const { guess } = attempt
    const asked = parameters.get('database')
    if (guess === undefined || guess !== asked || attempt.useDefaultDatabase) return false
    if (asked === toWireText(this.#options.target.database)) return false
    this.#guesses.recordWrong(guess)
    attempt.useDefaultDatabase = true
    return true
  }

  #afterError(error: unknown, attempt: Attempt): Outcome {
    const { starter, spares } = this.#options
    const kind = error instanceof ProxyError ? error.kind : undefined
    if (!attempt.clientLeft) spares?.refused(attempt.credentials)
    const mayTryAgain = !attempt.signal.aborted && !attempt.mayHaveSentOnlyOne
    if (error instanceof ProxyError && mayTryAgain) {
      if (kind === 'dial') {
        if (error.cause instanceof NoAnswer) attempt.silences++
        void this.#lookForWaking(attempt)
        return { next: 'retry', after: 'pause', error }
      }
      const isStarting = kind === 'stopped' || kind === 'starting'
      if (isStarting && starter !== undefined && !attempt.hasStarted) {
        return { next: 'start-instance' }
      }
      if (kind === 'starting') {
        attempt.wake()
        return { next: 'retry', after: 'pause', error }
      }
    }
    return { next: 'failed', error }
  }

  /** The client waits longer where the workspace says that its server takes time. */
  async #lookForWaking(attempt: Attempt): Promise<void> {
    if (attempt.isWaking) return
    const { endpoints, clock } = this.#options
    const database = await endpoints.recentState(attempt.signal).catch(() => undefined)
    if (database !== undefined && takesTime(database, clock.now())) attempt.wake(database.apiState)
  }

  async #pause(error: ProxyError, attempt: Attempt): Promise<void> {
    attempt.retrying(error)
    const delayMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt.retries++)
    this.#options.log.debug({ err: error, delayMs }, 'trying to connect again')
    await pause(this.#options.clock, delayMs * (0.5 + Math.random() / 2), attempt.signal)
  }
}

interface LoginContext {
  readonly endpoint: Endpoint
  readonly credential: LoginCredential
  readonly parameters: ReadonlyMap<string, WireText>
}
