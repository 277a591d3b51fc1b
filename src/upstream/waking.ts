/** A server that is waking, as people see it: how long its clients have waited, in log and status. */

import type { Clock } from '../core/clock.js'
import type { Log } from '../core/log.js'

export interface WakingOptions {
  target: string
  clock: Clock
  log: Log
}

const EVERY_MS = 10_000

export class Waking {
  readonly #options: WakingOptions
  readonly #clients = new Set<object>()
  /** Monotonic, in ms. */
  #since = 0
  #cancelTimer = (): void => {}

  constructor(options: WakingOptions) {
    this.#options = options
  }

  /** How long clients have waited, in whole seconds; undefined when none waits. */
  get seconds(): number | undefined {
    if (this.#clients.size === 0) return undefined
    return Math.round((this.#options.clock.monotonic() - this.#since) / 1000)
  }

  /** This client waits, until it is told to have left. Safe to call twice. */
  waits(client: object, apiState: string | undefined): void {
    if (this.#clients.size === 0) {
      const { clock, log, target } = this.#options
      this.#since = clock.monotonic()
      log.info({ target, state: apiState }, 'server is waking, and its clients wait')
      this.#tellLater()
    }
    this.#clients.add(client)
  }

  /** Logged in, or gone. */
  left(client: object, isAwake: boolean): void {
    const { seconds } = this
    if (!this.#clients.delete(client) || this.#clients.size > 0) return
    this.#cancelTimer()
    const { log, target } = this.#options
    log.info({ target, seconds }, isAwake ? `server woke in ${seconds} s` : 'no client waits now')
  }

  #tellLater(): void {
    const { clock, log, target } = this.#options
    this.#cancelTimer = clock.after(EVERY_MS, () => {
      const { seconds } = this
      log.info({ target, seconds }, `waking, ${seconds} s`)
      this.#tellLater()
    })
  }
}
