import type { Clock } from '../../src/core/clock.js'

/** A clock that stands still until told to move, and runs what fell due on the way. */
export class FakeClock implements Clock {
  #elapsed = 0
  /** Wall time minus elapsed time: only `set` and `sleep` change it. */
  #wallAhead = 0
  #timers: { dueAt: number; fn: () => void }[] = []

  now(): number {
    return this.#elapsed + this.#wallAhead
  }

  monotonic(): number {
    return this.#elapsed
  }

  after(delayMs: number, fn: () => void): () => void {
    const timer = { dueAt: this.#elapsed + delayMs, fn }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  /** How many timers are set. */
  get pending(): number {
    return this.#timers.length
  }

  async advance(ms: number): Promise<void> {
    const until = this.#elapsed + ms
    for (;;) {
      const due = this.#timers.filter((t) => t.dueAt <= until).sort((a, b) => a.dueAt - b.dueAt)[0]
      if (due === undefined) break
      this.#timers = this.#timers.filter((other) => other !== due)
      this.#elapsed = Math.max(this.#elapsed, due.dueAt)
      due.fn()
      await settle()
    }
    this.#elapsed = until
    await settle()
  }

  /** Lets time pass until this is over: what waits for the clock would otherwise wait for ever. */
  async runUntil(done: Promise<unknown>): Promise<void> {
    let isOver = false
    const over = done.finally(() => {
      isOver = true
    })
    while (!isOver) await this.advance(1_000)
    await over
  }

  /** A user sets the wall clock: it jumps by `byMs`. Timers and durations do not notice. */
  set(byMs: number): void {
    this.#wallAhead += byMs
  }

  /** The machine sleeps: the wall clock goes on. Timers and the monotonic clock stand still, as on Linux. */
  sleep(ms: number): void {
    this.#wallAhead += ms
  }
}

/** Lets promises that are already resolved run their reactions. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
