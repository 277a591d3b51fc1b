/** The system's clock, of which a test can skip hours: what falls due meanwhile runs at once. */

import { type Clock, systemClock } from '../../src/core/clock.js'

interface Timer {
  readonly dueAt: number
  readonly fn: () => void
  cancel: () => void
}

export class JumpingClock implements Clock {
  #ahead = 0
  readonly #timers = new Set<Timer>()

  now(): number {
    return systemClock.now() + this.#ahead
  }

  monotonic(): number {
    return systemClock.monotonic() + this.#ahead
  }

  after(delayMs: number, fn: () => void): () => void {
    const timer: Timer = { dueAt: this.monotonic() + delayMs, fn, cancel: () => {} }
    this.#timers.add(timer)
    this.#set(timer)
    return () => {
      this.#timers.delete(timer)
      timer.cancel()
    }
  }

  jump(ms: number): void {
    this.#ahead += ms
    for (const timer of this.#timers) {
      timer.cancel()
      this.#set(timer)
    }
  }

  #set(timer: Timer): void {
    timer.cancel = systemClock.after(Math.max(0, timer.dueAt - this.monotonic()), () => {
      this.#timers.delete(timer)
      timer.fn()
    })
  }
}

/** Resolves once `isSo`; for what another process does, or the emulator behind its API. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo()))
    await new Promise((resolve) => systemClock.after(10, () => resolve(undefined)))
}
