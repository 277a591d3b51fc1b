/**
 * One client's way to a logged-in upstream, over all its tries: how far it has come, what it has
 * learned, how long it may take, and what its client reads when the time is up.
 */

import type { Clock } from '../core/clock.js'
import type { LinkedAbort } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import type { Credentials } from '../credentials/credentials.js'
import type { WireText } from '../wire/frontend.js'
import type { Waking } from './waking.js'

export type ConnectPhase = 'resolve' | 'dial' | 'tls' | 'login' | 'start-instance'

/** The role and parameters that a client asks for in its StartupMessage. */
export interface ClientLogin {
  /** The parameters as the client sent them, without its choice of a target. */
  readonly parameters: ReadonlyMap<string, WireText>
  /** The role it named: its user name, without its choice of a target. Counts with `user=client`. */
  readonly role: WireText | undefined
}

/** Called as an attempt proceeds, for the log and the status. */
export interface ConnectProgress {
  enter(phase: ConnectPhase): void
  /** Called when this try failed and there will be another. */
  retrying(error: ProxyError): void
}

export interface AttemptOptions {
  credentials: Credentials
  progress: ConnectProgress
  clock: Clock
  /** The client's: it aborts when the client leaves, and here when the time is up. */
  limit: LinkedAbort
  connectTimeoutMs: number
  /** Takes the place of `connectTimeoutMs` for a server that is waking, where it is longer. */
  wakeTimeoutMs: number
  /** Counts the clients of the target that wait for its server to wake. */
  waking: Waking
}

export class Attempt {
  /** A second credential was minted after the first was refused. There is no third. */
  hasNewToken = false
  useDefaultDatabase = false
  /** A credential that may be sent only once may have been sent: there is no further try. */
  mayHaveSentOnlyOne = false
  /** The instance was started for it: its front door may take a moment more. */
  hasStarted = false
  retries = 0
  /** Tries that an address has let run out of patience. */
  silences = 0
  /** The credentials that this client logs in with, on every try. */
  readonly credentials: Credentials
  /** The database that is only libpq's default: the client's user name. */
  readonly guess: WireText | undefined
  readonly #options: AttemptOptions
  #phase: ConnectPhase = 'resolve'
  #lastError: ProxyError | undefined
  #isWaking = false
  #hasTimedOut = false
  /** The workspace's word for the state that this client waits for to change. */
  #apiState: string | undefined
  /** Monotonic; moved on by the time that an instance took to start. */
  #startedAt: number
  #cancelTimeout = (): void => {}

  constructor({ parameters }: ClientLogin, options: AttemptOptions) {
    this.#options = options
    this.credentials = options.credentials
    const database = parameters.get('database')
    this.guess = database === parameters.get('user') ? database : undefined
    this.#startedAt = options.clock.monotonic()
    this.#setTimeout()
  }

  /** Aborts when the client leaves and when its time is up. */
  get signal(): AbortSignal {
    return this.#options.limit.signal
  }

  get clientLeft(): boolean {
    return this.signal.aborted && !this.#hasTimedOut
  }

  get isWaking(): boolean {
    return this.#isWaking
  }

  enter(phase: ConnectPhase): void {
    this.#phase = phase
    this.#options.progress.enter(phase)
  }

  /** This try failed with `error`, and there will be another. */
  retrying(error: ProxyError): void {
    this.#lastError = error
    this.#options.progress.retrying(error)
  }

  /** The server is waking: its client waits longer. `apiState` where the workspace says so. */
  wake(apiState?: string): void {
    if (this.signal.aborted) return
    this.#apiState = apiState ?? this.#apiState
    if (this.#isWaking) return
    this.#isWaking = true
    this.#options.waking.waits(this, apiState)
    this.#cancelTimeout()
    this.#setTimeout()
  }

  /** Runs `work`, which has a deadline of its own; afterwards the client's time begins again. */
  async outsideTimeout(work: () => Promise<void>): Promise<void> {
    this.#cancelTimeout()
    await work()
    this.#startedAt = this.#options.clock.monotonic()
    this.#setTimeout()
  }

  /** Stops the clock. */
  release(isConnected: boolean): void {
    this.#options.waking.left(this, isConnected)
    this.#cancelTimeout()
  }

  get #timeout(): { name: string; ms: number } {
    const { connectTimeoutMs, wakeTimeoutMs } = this.#options
    return this.#isWaking && wakeTimeoutMs >= connectTimeoutMs
      ? { name: 'wake-timeout', ms: wakeTimeoutMs }
      : { name: 'connect-timeout', ms: connectTimeoutMs }
  }

  #setTimeout(): void {
    const { clock, limit } = this.#options
    const leftMs = Math.max(0, this.#startedAt + this.#timeout.ms - clock.monotonic())
    this.#cancelTimeout = limit.abortAfter(clock, leftMs, () => this.#timedOut())
  }

  #timedOut(): ProxyError {
    this.#hasTimedOut = true
    const { name, ms } = this.#timeout
    const seconds = `${ms / 1000} s (${name}).`
    const state =
      this.#apiState === undefined ? '' : ` The workspace reported the state ${this.#apiState}.`
    if (this.#lastError !== undefined) {
      const { kind, message, hint, sqlState } = this.#lastError
      const detail = `Tried for ${seconds}${state}`
      return new ProxyError(kind, message, { cause: this.#lastError, detail, hint, sqlState })
    }
    const kind = this.#phase === 'resolve' ? 'credential' : 'dial'
    return new ProxyError(kind, `${SLOW[this.#phase]}: timeout expired`, {
      detail: `Waited for ${seconds}${state}`,
      hint: 'Run "lakebase-proxy doctor" to see which step is slow.',
    })
  }
}

const SLOW: Record<ConnectPhase, string> = {
  resolve: 'workspace or DNS did not answer in time',
  dial: 'could not reach the server in time',
  tls: 'TLS with the server was not established in time',
  login: 'server did not complete the login in time',
  'start-instance': 'database instance did not start in time',
}
