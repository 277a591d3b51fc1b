/**
 * What is made of files that may be replaced while the process runs: looked at when it is used, and
 * made again when the content is another. A file that cannot be read, or does not work, changes
 * nothing: the last good one stays.
 */

import type { Clock } from './clock.js'

export interface WatchedContentOptions<T> {
  readonly read: () => string
  readonly make: (content: string) => T
  readonly clock: Pick<Clock, 'monotonic'>
  readonly onChange?: (value: T) => void
  /** Called when the files cannot be used, once for each different problem. */
  readonly onProblem?: (error: Error) => void
}

/** How often the files are looked at, at most. */
const LOOK_EVERY_MS = 1_000

export class WatchedContent<T> {
  readonly #options: WatchedContentOptions<T>
  #content: string
  #value: T
  #lookedAt: number
  #problem: string | undefined

  /** Throws what `read` and `make` throw: there is no last good one yet. */
  constructor(options: WatchedContentOptions<T>) {
    this.#options = options
    this.#content = options.read()
    this.#value = options.make(this.#content)
    this.#lookedAt = options.clock.monotonic()
  }

  /** Never throws. */
  get value(): T {
    if (this.#options.clock.monotonic() - this.#lookedAt >= LOOK_EVERY_MS) this.#lookQuietly()
    return this.#value
  }

  /** Looks now. Throws what `read` and `make` throw; then the last good one stays. */
  look(): void {
    const { read, make, clock, onChange } = this.#options
    this.#lookedAt = clock.monotonic()
    const content = read()
    if (content !== this.#content) {
      this.#value = make(content)
      this.#content = content
      onChange?.(this.#value)
    }
    this.#problem = undefined
  }

  #lookQuietly(): void {
    try {
      this.look()
    } catch (error) {
      const { message } = error as Error
      if (message === this.#problem) return
      this.#problem = message
      this.#options.onProblem?.(error as Error)
    }
  }
}
