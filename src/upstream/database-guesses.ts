/**
 * Databases that libpq guessed from the user name and that do not exist, remembered for a minute:
 * the next client with the same guess is given the target's database at once.
 */

import type { Clock } from '../core/clock.js'

const REMEMBERED_MS = 60_000
const MAX_GUESSES = 1_000

export class DatabaseGuesses {
  readonly #clock: Clock
  /** Until when each is remembered. Monotonic, in ms. */
  readonly #wrong = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  isWrong(guess: string | undefined): boolean {
    const until = guess === undefined ? undefined : this.#wrong.get(guess)
    return until !== undefined && until > this.#clock.monotonic()
  }

  /** The server has no such database. */
  recordWrong(guess: string): void {
    // Forgetting a guess costs its next client one more login, so there is no order to keep.
    if (this.#wrong.size >= MAX_GUESSES) this.#wrong.clear()
    this.#wrong.set(guess, this.#clock.monotonic() + REMEMBERED_MS)
  }
}
