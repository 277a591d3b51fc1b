/**
 * Holds one value that expires and keeps it usable: FRESH is handed out, STALE is handed out while
 * a refresh runs in the background, EXPIRED waits for one. The wall clock tells which, at the time of use,
 * because a timer does not run while a laptop sleeps. Any number of waiters share one request, and
 * a waiter that leaves does not end it.
 */

import type { Clock } from './clock.js'
import { SingleFlight, waitFor } from './deadline.js'

export type Freshness = 'fresh' | 'stale' | 'expired'

export interface FreshValueOptions<T> {
  readonly clock: Clock
  readonly fetch: () => Promise<T>
  readonly refreshed?: (held: Held<T>) => void
  /** How long before its end a value that lives for `lifeMs` becomes stale. */
  readonly staleMs: (lifeMs: number) => number
  /** How long a held value counts as fresh again, when it could not be refreshed. */
  readonly retryMs: (remainingMs: number) => number
  /** Called when a refresh in the background failed, with the time until the next. */
  readonly failedBehind: (error: unknown, retryMs: number) => void
}

interface Held<T> {
  readonly value: T
  readonly staleAt: number
  /** A little before its end, so that none expires on its way to the server. */
  readonly unusableAt: number
}

const MAX_EARLY_MS = 10_000
const RENEW_MS = 30_000

export class FreshValue<T extends { readonly expiresAt?: number | undefined }> {
  readonly #options: FreshValueOptions<T>
  readonly #refresh: SingleFlight<T>
  #held: Held<T> | undefined
  /** Monotonic, in ms. */
  #renewAt = Number.NEGATIVE_INFINITY

  constructor(options: FreshValueOptions<T>) {
    this.#options = options
    this.#refresh = new SingleFlight(async () => {
      const value = await options.fetch()
      this.#held = this.#times(value)
      options.refreshed?.(this.#held)
      return value
    })
  }

  get held(): Held<T> | undefined {
    return this.#held
  }

  get freshness(): Freshness {
    const now = this.#options.clock.now()
    if (this.#held === undefined || now >= this.#held.unusableAt) return 'expired'
    return now >= this.#held.staleAt ? 'stale' : 'fresh'
  }

  async get(signal: AbortSignal): Promise<T> {
    const { freshness } = this
    if (this.#held === undefined || freshness === 'expired') {
      signal.throwIfAborted()
      return waitFor(this.#refresh.join(), signal)
    }
    if (freshness === 'stale') this.refreshBehind()
    return this.#held.value
  }

  /**
   * After `refused` was refused: its successor, or undefined when asking would not help, for one
   * forced request in 30 s is all. The held value stays until there is another.
   */
  async renew(refused: T, signal: AbortSignal): Promise<T | undefined> {
    const held = this.#held?.value
    if (held !== undefined && held !== refused && this.freshness !== 'expired') return held
    if (!this.#refresh.isUnderWay()) {
      const now = this.#options.clock.monotonic()
      if (now < this.#renewAt) return undefined
      this.#renewAt = now + RENEW_MS
    }
    return waitFor(this.#refresh.join(), signal)
  }

  refreshBehind(): void {
    this.#refresh.join().catch((error: unknown) => {
      // Past its end, the next user asks.
      if (this.#held === undefined || this.freshness === 'expired') return
      const now = this.#options.clock.now()
      const retryMs = this.#options.retryMs(this.#held.unusableAt - now)
      // Otherwise every session of an outage would ask again.
      this.#held = { ...this.#held, staleAt: now + retryMs }
      this.#options.failedBehind(error, retryMs)
    })
  }

  forget(): void {
    this.#held = undefined
  }

  #times(value: T): Held<T> {
    const { expiresAt = Number.POSITIVE_INFINITY } = value
    const lifeMs = Math.max(0, expiresAt - this.#options.clock.now())
    const unusableAt = expiresAt - Math.min(lifeMs / 10, MAX_EARLY_MS)
    return { value, unusableAt, staleAt: expiresAt - this.#options.staleMs(lifeMs) }
  }
}
