/**
 * Holds one database credential and keeps it usable: FRESH is handed out, STALE is handed out
 * while a refresh runs behind it, EXPIRED waits for one. Which it is, the wall clock says at the
 * time of use, because a timer does not run while a laptop sleeps. Any number of waiters share one
 * request, and a waiter who leaves does not end it.
 */

import type { Clock } from '../core/clock.js'
import { SingleFlight, waitFor } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import type { DatabaseCredential } from '../databricks/lakebase/workspace.js'

export type CredentialState = 'fresh' | 'stale' | 'expired'

export interface CredentialCacheOptions {
  clock: Clock
  fetch: () => Promise<DatabaseCredential>
  /** Told of every request to the workspace that ended. */
  observer?: CredentialObserver
  /** 0 ≤ random() < 1, so that many proxies do not ask at the same second. */
  random?: () => number
}

export interface CredentialObserver {
  refreshed(expiresAt: number): void
  /** `stillGood`: the held credential goes on being used, and no client noticed. */
  refreshFailed(error: unknown, stillGood: boolean): void
}

const MAX_STALE_MS = 10 * 60_000
const MAX_JITTER_MS = 60_000
const MAX_EARLY_MS = 10_000
const MAX_RETRY_MS = 30_000
const MIN_RETRY_MS = 250
const RENEW_MS = 30_000

interface Held {
  readonly credential: DatabaseCredential
  /** A little before `expiresAt`, so that none expires on its way to the server. */
  readonly unusableAt: number
}

export class CredentialCache {
  readonly #clock: Clock
  readonly #fetch: () => Promise<DatabaseCredential>
  readonly #observer: CredentialObserver | undefined
  readonly #random: () => number
  #held: Held | undefined
  #staleAt = 0
  /** By the monotonic clock. */
  #renewAt = 0
  readonly #refresh = new SingleFlight(() => this.#fetchAndHold())
  #cancelRefresh: () => void = () => {}
  #cancelDrop: () => void = () => {}
  #closed = false

  constructor(options: CredentialCacheOptions) {
    this.#clock = options.clock
    this.#fetch = options.fetch
    this.#observer = options.observer
    this.#random = options.random ?? Math.random
  }

  get state(): CredentialState {
    const now = this.#clock.now()
    if (this.#held === undefined || now >= this.#held.unusableAt) return 'expired'
    return now >= this.#staleAt ? 'stale' : 'fresh'
  }

  /** Epoch ms, or undefined when none is held. */
  get expiresAt(): number | undefined {
    return this.#held?.credential.expiresAt
  }

  async get(signal: AbortSignal): Promise<DatabaseCredential> {
    const state = this.state
    if (this.#held === undefined || state === 'expired') {
      return waitFor(this.#refresh.join(), signal)
    }
    if (state === 'stale') this.#refreshBehind()
    return this.#held.credential
  }

  /**
   * After the server refused `credential`: its successor, or undefined when asking would not help.
   * A wrong role is refused with any token, so one forced request in 30 s is all; the held
   * credential stays until there is another.
   */
  async renew(
    refused: DatabaseCredential,
    signal: AbortSignal,
  ): Promise<DatabaseCredential | undefined> {
    const held = this.#held?.credential
    if (held !== undefined && held !== refused && this.state !== 'expired') return held
    if (!this.#refresh.isUnderWay()) {
      const now = this.#clock.monotonic()
      if (now < this.#renewAt) return undefined
      this.#renewAt = now + RENEW_MS
    }
    return waitFor(this.#refresh.join(), signal)
  }

  close(): void {
    this.#closed = true
    this.#cancelRefresh()
    this.#cancelDrop()
    this.#held = undefined
  }

  async #fetchAndHold(): Promise<DatabaseCredential> {
    try {
      return this.#hold(await this.#fetch())
    } catch (error) {
      this.#observer?.refreshFailed(error, this.state !== 'expired')
      throw error
    }
  }

  #refreshBehind(): void {
    this.#refresh.join().catch(() => {
      // Past expiry the timer stops: the next client asks.
      if (this.#held === undefined || this.state === 'expired') return
      const remainingMs = this.#held.unusableAt - this.#clock.now()
      const retryMs = Math.min(MAX_RETRY_MS, Math.max(MIN_RETRY_MS, remainingMs / 5))
      // Count as fresh for a while, or every session of an outage would ask again.
      this.#staleAt = this.#clock.now() + retryMs
      this.#scheduleRefresh(retryMs)
    })
  }

  #hold(credential: DatabaseCredential): DatabaseCredential {
    const now = this.#clock.now()
    const lifeMs = credential.expiresAt - now
    if (lifeMs <= 0) {
      throw new ProxyError(
        'credential',
        'workspace returned a credential that has already expired',
        {
          hint: "Check this machine's clock, then try again.",
        },
      )
    }
    if (this.#closed) return credential
    const unusableAt = credential.expiresAt - Math.min(lifeMs / 10, MAX_EARLY_MS)
    this.#held = { credential, unusableAt }
    const jitterMs = this.#random() * Math.min(lifeMs / 20, MAX_JITTER_MS)
    this.#staleAt = credential.expiresAt - Math.min(lifeMs / 2, MAX_STALE_MS) + jitterMs
    this.#scheduleRefresh(this.#staleAt - now)
    this.#scheduleDrop(unusableAt)
    this.#observer?.refreshed(credential.expiresAt)
    return credential
  }

  #scheduleRefresh(delayMs: number): void {
    this.#cancelRefresh()
    if (this.#closed) return
    this.#cancelRefresh = this.#clock.after(delayMs, () => this.#refreshBehind())
  }

  /** What has expired is of no use to anybody here. A timer may be a moment early: then it waits on. */
  #scheduleDrop(unusableAt: number): void {
    this.#cancelDrop()
    this.#cancelDrop = this.#clock.after(unusableAt - this.#clock.now(), () => {
      if (this.state === 'expired') this.#held = undefined
      else this.#scheduleDrop(unusableAt)
    })
  }
}
