/** Limits how much work runs at once and how much waits for its turn, in order; the rest is refused. */

import { waitFor } from './deadline.js'

export interface TurnsOptions {
  readonly atOnce: number
  readonly waiting: number
  /** Thrown when the queue is full. */
  readonly full: () => Error
}

export class Turns {
  readonly #options: TurnsOptions
  #underWay = 0
  readonly #waiting = new Set<() => void>()

  constructor(options: TurnsOptions) {
    this.#options = options
  }

  /** True when nothing is under way, and so nothing waits. */
  get isIdle(): boolean {
    return this.#underWay === 0
  }

  /** Runs `work` when it is its turn. Errors: `full`, the signal's reason, and those of `work`. */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#take(signal)
    try {
      return await work()
    } finally {
      this.#pass()
    }
  }

  async #take(signal: AbortSignal): Promise<void> {
    const { atOnce, waiting, full } = this.#options
    if (this.#underWay < atOnce) {
      this.#underWay++
      return
    }
    if (this.#waiting.size >= waiting) throw full()
    let begin = (): void => {}
    const turn = new Promise<void>((resolve) => {
      begin = resolve
    })
    this.#waiting.add(begin)
    try {
      await waitFor(turn, signal)
    } catch (error) {
      if (!this.#waiting.delete(begin)) this.#pass() // the turn came, but too late
      throw error
    }
  }

  #pass(): void {
    const [next] = this.#waiting
    if (next === undefined) {
      this.#underWay--
      return
    }
    this.#waiting.delete(next)
    next()
  }
}
