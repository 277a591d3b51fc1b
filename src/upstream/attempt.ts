/**
 * One client's way to a logged-in upstream, over all its tries: how far it has come, what it has
 * learned, and what is to be said when its time is up.
 */

import { ProxyError } from '../core/errors.js'
import type { StartupMessage } from '../wire/frontend.js'

export type ConnectPhase = 'resolve' | 'dial' | 'tls' | 'login' | 'start-instance'

/** Told of how it goes, for those who watch. */
export interface ConnectProgress {
  enter(phase: ConnectPhase): void
  /** This try failed; there will be another. */
  retrying(error: ProxyError): void
}

/** What one client's tries have learned so far. */
export class Attempt {
  /** One was minted after the first was refused: there is no third. */
  hasNewToken = false
  useDefaultDatabase = false
  /** The instance was started for it: its front door may take a moment more. */
  hasStarted = false
  retries = 0
  phase: ConnectPhase = 'resolve'
  lastError: ProxyError | undefined
  readonly #progress: ConnectProgress
  /** The database that is only libpq's default: the client's user name. */
  readonly guess: string | undefined

  constructor({ parameters }: StartupMessage, progress: ConnectProgress) {
    this.#progress = progress
    const database = parameters.get('database')
    this.guess = database === parameters.get('user') ? database : undefined
  }

  enter(phase: ConnectPhase): void {
    this.phase = phase
    this.#progress.enter(phase)
  }

  /** This try failed with `error`, and there will be another. */
  retrying(error: ProxyError): void {
    this.lastError = error
    this.#progress.retrying(error)
  }

  timedOut(timeoutMs: number): ProxyError {
    const { lastError, phase } = this
    const seconds = `${timeoutMs / 1000} s`
    if (lastError !== undefined) {
      const { kind, message, hint, sqlState } = lastError
      const detail = `Tried for ${seconds} (connect-timeout).`
      return new ProxyError(kind, message, { cause: lastError, detail, hint, sqlState })
    }
    const kind = phase === 'resolve' ? 'credential' : 'dial'
    return new ProxyError(kind, `${SLOW[phase]}: timeout expired`, {
      detail: `Waited for ${seconds} (connect-timeout).`,
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
