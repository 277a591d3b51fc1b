/**
 * One answer of the workspace, such as where a target lives: asked for once, however many wait,
 * and kept while asking again fails. That there is no such thing any more is no failure to ask.
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

  /** The answer that is held, if any. */
  get held(): T | undefined {
    return this.#answer?.value
  }

  async get(signal: AbortSignal): Promise<T> {
    return this.#answer === undefined ? this.#askOnce(signal) : this.#answer.value
  }

  /** Asks anew; when that fails, the old answer stays. Rejects where there is none, or it `isGone`. */
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

/** The workspace has no such thing, or no more. Its failures to say so are another matter. */
export function isGone(error: unknown): boolean {
  if (!(error instanceof ProxyError) || error.kind !== 'target') return false
  return !('status' in error) || error.status === 404
}
