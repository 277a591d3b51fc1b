/** Which phase a session is in, and how long each took that is over. Only people watching need it. */

import type { Clock } from '../core/clock.js'
import type { SessionPhase } from './session-view.js'

export class PhaseTimes {
  phase: SessionPhase = 'client-handshake'
  /** In ms. A phase that is entered again, by another try, adds up. */
  readonly ms = new Map<SessionPhase, number>()
  readonly #clock: Clock
  #since: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#since = clock.monotonic()
  }

  enter(phase: SessionPhase): void {
    if (phase === this.phase) return
    this.end()
    this.phase = phase
  }

  /** Counts the phase up to now. */
  end(): void {
    const now = this.#clock.monotonic()
    this.ms.set(this.phase, (this.ms.get(this.phase) ?? 0) + now - this.#since)
    this.#since = now
  }
}
