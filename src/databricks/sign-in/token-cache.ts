/**
 * Holds one workspace token: fresh is handed out, stale is handed out while a refresh runs behind
 * it, expired waits for one. Any number of waiters share one request, which none of them can end.
 * There is no timer: a workspace token is used about once an hour, when a database credential is
 * minted, and is asked for again only then, so that an idle laptop runs no CLI.
 */

import type { Clock } from '../../core/clock.js'
import { SingleFlight, waitFor } from '../../core/deadline.js'
import type { Log } from '../../core/log.js'
import type { WorkspaceToken } from './sign-in-method.js'

export interface TokenCacheOptions {
  readonly clock: Clock
  readonly log: Log
  readonly fetch: () => Promise<WorkspaceToken>
}

/** As Databricks' SDKs: half the life, at most 20 minutes, before the end. */
const MAX_STALE_MS = 20 * 60_000
const MAX_EARLY_MS = 10_000
const RETRY_MS = 60_000
const RENEW_MS = 30_000

export class TokenCache {
  readonly #options: TokenCacheOptions
  #held: WorkspaceToken | undefined
  #staleAt = Number.POSITIVE_INFINITY
  #unusableAt = Number.POSITIVE_INFINITY
  #renewAt = 0
  readonly #refreshing: SingleFlight<WorkspaceToken>

  constructor(options: TokenCacheOptions) {
    this.#options = options
    this.#refreshing = new SingleFlight(async () => this.#hold(await options.fetch()))
  }

  async get(signal: AbortSignal): Promise<WorkspaceToken> {
    signal.throwIfAborted()
    const now = this.#options.clock.now()
    if (this.#held === undefined || now >= this.#unusableAt) {
      return waitFor(this.#refreshing.join(), signal)
    }
    if (now >= this.#staleAt) this.#refreshBehind()
    return this.#held
  }

  /**
   * After the workspace refused `token`: its successor, or undefined when asking would not help,
   * for one forced request in 30 s is all. The held token stays until there is another.
   */
  async renew(token: WorkspaceToken, signal: AbortSignal): Promise<WorkspaceToken | undefined> {
    if (this.#held !== undefined && this.#held !== token) return this.#held
    if (!this.#refreshing.isUnderWay()) {
      const now = this.#options.clock.now()
      // Further away than it was ever set: the clock was set back since.
      const waitMs = this.#renewAt - now
      if (waitMs > 0 && waitMs <= RENEW_MS) return undefined
      this.#renewAt = now + RENEW_MS
    }
    return waitFor(this.#refreshing.join(), signal)
  }

  #refreshBehind(): void {
    this.#refreshing.join().catch((error: unknown) => {
      this.#staleAt = this.#options.clock.now() + RETRY_MS
      this.#options.log.warn(
        { err: error },
        'could not refresh the workspace token ahead of expiry',
      )
    })
  }

  #hold(token: WorkspaceToken): WorkspaceToken {
    this.#held = token
    this.#staleAt = Number.POSITIVE_INFINITY
    this.#unusableAt = Number.POSITIVE_INFINITY
    if (token.expiresAt !== undefined) {
      const lifeMs = Math.max(0, token.expiresAt - this.#options.clock.now())
      this.#staleAt = token.expiresAt - Math.min(lifeMs / 2, MAX_STALE_MS)
      this.#unusableAt = token.expiresAt - Math.min(lifeMs / 10, MAX_EARLY_MS)
    }
    return token
  }
}
