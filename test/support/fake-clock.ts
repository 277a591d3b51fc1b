import type { Clock } from '../../src/core/clock.js'

/** A clock that stands still until told to move, and runs what fell due on the way. */
export class FakeClock implements Clock {
  #now = 0
  #timers: { dueAt: number; fn: () => void }[] = []

  now(): number {
    return this.#now
  }

  after(delayMs: number, fn: () => void): () => void {
    const timer = { dueAt: this.#now + delayMs, fn }
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
    const until = this.#now + ms
    for (;;) {
      const due = this.#timers.filter((t) => t.dueAt <= until).sort((a, b) => a.dueAt - b.dueAt)[0]
      if (due === undefined) break
      this.#timers = this.#timers.filter((other) => other !== due)
      this.#now = Math.max(this.#now, due.dueAt)
      due.fn()
      await settle()
    }
    this.#now = until
    await settle()
  }

  /** Somebody sets the wall clock: it jumps by so much, and timers do not care. */
  set(byMs: number): void {
    this.#now += byMs
    for (const timer of this.#timers) timer.dueAt += byMs
  }

  /** The machine sleeps: the wall clock goes on, and no timer runs, then or in between. */
  sleep(ms: number): void {
    this.#now += ms
    for (const timer of this.#timers) timer.dueAt += ms
  }
}

/** Lets promises that are already resolved run their reactions. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
