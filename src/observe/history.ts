/** The last quarter of an hour, in samples of five seconds, for the status page's charts. */

import type { Clock } from '../core/clock.js'
import type { SessionPhase } from '../session/session-view.js'
import type { Tally } from './tally.js'

export interface Sample {
  /** Epoch ms of its end. */
  readonly at: number
  readonly sessions: number
  readonly bytesUpPerSecond: number
  readonly bytesDownPerSecond: number
  /** The mean time of each phase, over the sessions logged in since the last sample. */
  readonly connectMs: Readonly<Partial<Record<SessionPhase, number>>>
}

const EVERY_MS = 5_000
const KEPT = (15 * 60_000) / EVERY_MS

export class History {
  readonly #tally: Tally
  readonly #clock: Clock
  readonly #samples: Sample[] = []
  #bytes: { up: number; down: number }
  #at: number
  #cancel: () => void = () => {}
  #onSample: ((sample: Sample) => void) | undefined

  constructor(tally: Tally, clock: Clock) {
    this.#tally = tally
    this.#clock = clock
    this.#bytes = tally.bytes
    this.#at = clock.now()
    this.#wait()
  }

  get samples(): readonly Sample[] {
    return this.#samples
  }

  /** Called with every new sample. */
  set onSample(tell: (sample: Sample) => void) {
    this.#onSample = tell
  }

  close(): void {
    this.#cancel()
  }

  #wait(): void {
    this.#cancel = this.#clock.after(EVERY_MS, () => {
      this.#sample()
      this.#wait()
    })
  }

  #sample(): void {
    const at = this.#clock.now()
    const { up, down } = this.#tally.bytes
    // Longer than planned after a laptop has slept; never 0 or negative.
    const seconds = Math.max(at - this.#at, 1) / 1000
    const { count, phaseMs } = this.#tally.takeConnects()
    const sample: Sample = {
      at,
      sessions: this.#tally.sessions.length,
      bytesUpPerSecond: Math.round((up - this.#bytes.up) / seconds),
      bytesDownPerSecond: Math.round((down - this.#bytes.down) / seconds),
      connectMs: Object.fromEntries([...phaseMs].map(([phase, ms]) => [phase, ms / count])),
    }
    this.#at = at
    this.#bytes = { up, down }
    this.#samples.push(sample)
    if (this.#samples.length > KEPT) this.#samples.shift()
    this.#onSample?.(sample)
  }
}
