/**
 * The side of the running proxy that is for people: counts and remembers what happens, asks for
 * what a target still lacks, and keeps the admin port.
 */

import type { ProxySettings } from '../config/resolve/settings.js'
import type { Clock } from '../core/clock.js'
import { ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import type { CredentialObserver } from '../credentials/credential-cache.js'
import type { Admin } from '../observe/admin.js'
import { CredentialLog } from '../observe/credential-log.js'
import { Journal } from '../observe/journal.js'
import type { ObservedProxy, ObservedTarget } from '../observe/observed-proxy.js'
import { hasCredential } from '../observe/readiness.js'
import { SessionLog } from '../observe/session-log.js'
import { type ProxyStatus, proxyStatus } from '../observe/status.js'
import { Tally } from '../observe/tally.js'
import { tellAll, tellAllOfCredentials } from '../observe/tell-all.js'
import type { SessionObserver } from '../session/session-view.js'

export interface WatchOptions {
  proxy: ObservedProxy & { readonly targets: readonly WatchedTarget[] }
  quiet: boolean
  clock: Clock
  log: Log
  /** Asked to at the admin port. */
  shutdown: () => void
}

export interface WatchedTarget extends ObservedTarget {
  prime(): Promise<void>
}

const ASK_AGAIN_MS = 5_000

export class Watch {
  readonly #options: WatchOptions
  readonly #tally = new Tally()
  readonly #journal: Journal
  readonly #startedAt: number
  #observers: SessionObserver[]
  readonly #uncounted: (() => void)[] = []
  #admin: Admin | undefined
  #askedAt = Number.NEGATIVE_INFINITY

  constructor(options: WatchOptions) {
    const { clock, log, quiet } = options
    this.#options = options
    this.#startedAt = clock.now()
    this.#journal = new Journal(clock)
    this.#observers = [new SessionLog(log, { quiet }), this.#tally, this.#journal]
  }

  /** Errors: kind `config`, when the port is in use and was set by hand. */
  async openAdminPort(settings: ProxySettings['admin']): Promise<void> {
    if (settings === undefined) return
    const { proxy, clock, log, shutdown } = this.#options
    // Not needed without an admin port, and then not loaded.
    const { Admin } = await import('../observe/admin.js')
    this.#admin = await Admin.start({
      settings,
      proxy,
      status: () => this.status(),
      tally: this.#tally,
      journal: this.#journal,
      clock,
      log,
      askAgain: () => this.#askAgain(),
      shutdown: () => {
        log.info('asked to stop at the admin port')
        shutdown()
      },
    })
    this.#observers.push(this.#admin.sessionObserver)
    for (const count of this.#uncounted.splice(0)) count()
  }

  get adminUrl(): string | undefined {
    return this.#admin?.url
  }

  get sessionObserver(): SessionObserver {
    return tellAll(this.#observers)
  }

  /** For a target that is built now: what was known of one of its name is forgotten. */
  credentialObserver(name: string): CredentialObserver {
    const observers: CredentialObserver[] = [
      new CredentialLog(this.#options.log, name),
      this.#journal.forget(name),
    ]
    const count = (): void => void observers.push(this.#admin!.credentialObserver(name))
    // The admin port opens when the first targets listen already.
    if (this.#admin === undefined) this.#uncounted.push(count)
    else count()
    return tellAllOfCredentials(observers)
  }

  status(): ProxyStatus {
    return proxyStatus({
      proxy: this.#options.proxy,
      tally: this.#tally,
      journal: this.#journal,
      startedAt: this.#startedAt,
      now: this.#options.clock.now(),
    })
  }

  /**
   * Asks for what the first client will need. Never rejects: a target that is not ready yet may be
   * when that client comes.
   */
  async prime(target: WatchedTarget): Promise<void> {
    const { log, clock, proxy } = this.#options
    const { name } = target.settings
    const notes = this.#journal.notes(name)
    const before = notes.trouble?.message
    this.#askedAt = clock.now()
    try {
      await target.prime()
      notes.succeeded()
      if (before !== undefined) log.info({ target: name }, 'ready again')
    } catch (error) {
      if (proxy.phase === 'stopping') return
      notes.notPrimed(error)
      if (notes.trouble?.message === before) return
      const hint = error instanceof ProxyError ? error.hint : undefined
      const reason = error instanceof Error ? error.message : String(error)
      log.warn({ target: name, reason, hint }, 'not ready yet, the first client will ask again')
    }
  }

  async close(): Promise<void> {
    await this.#admin?.close()
  }

  /** A load balancer sends no client, who would ask, to a proxy that is not ready: so its probe asks. */
  #askAgain(): void {
    const { proxy, clock } = this.#options
    if (proxy.phase !== 'running') return
    // A clock that was set back would else forbid it for as long.
    if (Math.abs(clock.now() - this.#askedAt) < ASK_AGAIN_MS) return
    for (const target of proxy.targets) if (!hasCredential(target)) void this.prime(target)
  }
}
