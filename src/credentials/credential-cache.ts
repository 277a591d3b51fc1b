/**
 * Holds one database credential and refreshes it ahead of its end, by a timer, so that no client
 * waits for it. A credential that has expired is dropped.
 */

import type { Clock } from '../core/clock.js'
import { type Freshness, FreshValue } from '../core/fresh-value.js'
import type { DatabaseCredential } from '../databricks/lakebase/workspace.js'

export interface CredentialCacheOptions {
  clock: Clock
  /** Its result is good for a while: `mintCredential` refuses one that has expired. */
  fetch: () => Promise<DatabaseCredential>
  /** Called at the end of every request to the workspace. */
  observer?: CredentialObserver
  /** 0 ≤ random() < 1, so that many proxies do not ask at the same second. */
  random?: () => number
}

export interface CredentialObserver {
  refreshed(expiresAt: number): void
  /** `stillGood`: the held credential stays in use, and no client noticed the failure. */
  refreshFailed(error: unknown, stillGood: boolean): void
}

const MAX_STALE_MS = 10 * 60_000
const MAX_JITTER_MS = 60_000
const MAX_RETRY_MS = 30_000
const MIN_RETRY_MS = 250

export class CredentialCache {
  readonly #options: CredentialCacheOptions
  readonly #credential: FreshValue<DatabaseCredential>
  #cancelRefresh: () => void = () => {}
  #cancelDrop: () => void = () => {}
  #closed = false

  constructor(options: CredentialCacheOptions) {
    this.#options = options
    const { random = Math.random } = options
    this.#credential = new FreshValue({
      clock: options.clock,
      fetch: () => this.#fetch(),
      refreshed: ({ staleAt, unusableAt, value }) => {
        if (this.#closed) return this.#credential.forget()
        this.#scheduleRefresh(staleAt - options.clock.now())
        this.#scheduleDrop(unusableAt)
        options.observer?.refreshed(value.expiresAt)
      },
      staleMs: (lifeMs) =>
        Math.min(lifeMs / 2, MAX_STALE_MS) - random() * Math.min(lifeMs / 20, MAX_JITTER_MS),
      retryMs: (remainingMs) => Math.min(MAX_RETRY_MS, Math.max(MIN_RETRY_MS, remainingMs / 5)),
      failedBehind: (_, retryMs) => this.#scheduleRefresh(retryMs),
    })
  }

  get state(): Freshness {
    return this.#credential.freshness
  }

  /** Epoch ms, or undefined when none is held. */
  get expiresAt(): number | undefined {
    return this.#credential.held?.value.expiresAt
  }

  get(signal: AbortSignal): Promise<DatabaseCredential> {
    return this.#credential.get(signal)
  }

  /**
   * After the server refused `credential`: its successor, or undefined when asking would not help.
   * A wrong role is refused with any token, so that it is not asked for again and again.
   */
  renew(refused: DatabaseCredential, signal: AbortSignal): Promise<DatabaseCredential | undefined> {
    return this.#credential.renew(refused, signal)
  }

  close(): void {
    this.#closed = true
    this.#cancelRefresh()
    this.#cancelDrop()
    this.#credential.forget()
  }

  async #fetch(): Promise<DatabaseCredential> {
    const { fetch, observer } = this.#options
    try {
      return await fetch()
    } catch (error) {
      observer?.refreshFailed(error, this.state !== 'expired')
      throw error
    }
  }

  #scheduleRefresh(delayMs: number): void {
    this.#cancelRefresh()
    if (this.#closed) return
    this.#cancelRefresh = this.#options.clock.after(delayMs, () => this.#credential.refreshBehind())
  }

  /** Refreshes when it is time. A timer may fire a moment early: then it is set again. */
  #scheduleDrop(unusableAt: number): void {
    const { clock } = this.#options
    this.#cancelDrop()
    this.#cancelDrop = clock.after(unusableAt - clock.now(), () => {
      if (this.state === 'expired') this.#credential.forget()
      else this.#scheduleDrop(unusableAt)
    })
  }
}
