/**
 * One answer of the workspace, such as where a target lives: asked for once, however many wait,
 * and kept while asking again fails.
 */

import { waitFor } from '../abort.js'

export class LookUp<T> {
  readonly #ask: () => Promise<T>
  #answer: { value: T } | undefined
  #pending: Promise<T> | undefined

  constructor(ask: () => Promise<T>) {
    this.#ask = ask
  }

  /** The answer that is held, if any. */
  get held(): T | undefined {
    return this.#answer?.value
  }

  async get(signal: AbortSignal): Promise<T> {
    return this.#answer === undefined ? this.#askOnce(signal) : this.#answer.value
  }

  /** Asks anew; when that fails, the old answer stays. Rejects only where there is none. */
  async askAgain(signal: AbortSignal): Promise<T> {
    try {
      return await this.#askOnce(signal)
    } catch (error) {
      if (this.#answer === undefined || signal.aborted) throw error
      return this.#answer.value
    }
  }

  #askOnce(signal: AbortSignal): Promise<T> {
    this.#pending ??= this.#ask()
      .then((value) => {
        this.#answer = { value }
        return value
      })
      .finally(() => {
        this.#pending = undefined
      })
    return waitFor(this.#pending, signal)
  }
}
