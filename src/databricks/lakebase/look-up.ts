/**
 * One answer of the workspace, such as where a target lives. It is requested once for any number of
 * waiters, and kept when a later request fails. "It no longer exists" is an answer, not a failure.
 */

import { SingleFlight, waitFor } from '../../core/deadline.js'
import { ProxyError } from '../../core/errors.js'

export class LookUp<T> {
  readonly #asking: SingleFlight<T>
  #answer: { value: T } | undefined

  /** `first`: an answer that is there already. */
  constructor(ask: () => Promise<T>, first?: T) {
    if (first !== undefined) this.#answer = { value: first }
    this.#asking = new SingleFlight(async () => {
      const value = await ask()
      this.#answer = { value }
      return value
    })
  }

  get held(): T | undefined {
    return this.#answer?.value
  }

  async get(signal: AbortSignal): Promise<T> {
    return this.#answer === undefined ? this.#askOnce(signal) : this.#answer.value
  }

  /**
   * Asks again; when that fails, returns the old answer. Rejects when there is no old answer, when the
   * error `isGone`, and when `signal` aborts.
   */
  async askAgain(signal: AbortSignal): Promise<T> {
    try {
      return await this.#askOnce(signal)
    } catch (error) {
      if (this.#answer === undefined || signal.aborted || isGone(error)) throw error
      return this.#answer.value
    }
  }

  #askOnce(signal: AbortSignal): Promise<T> {
    return waitFor(this.#asking.join(), signal)
  }
}

/** Whether the thing does not exist, no longer does, or its name means another or several now. */
export function isGone(error: unknown): boolean {
  if (!(error instanceof ProxyError) || error.kind !== 'target') return false
  if (error.sqlState === '3D000') return false // the server's word: it is there, and lacks a database
  return !('status' in error) || error.status === 404
}
