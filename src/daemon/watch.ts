/**
 * The side of the running proxy that is for people: counts and remembers what happens, asks for
 * what a target still lacks, and keeps the admin port.
 */

import type { ProxySettings, TargetSettings } from '../config/resolve/settings.js'
import type { Clock } from '../core/clock.js'
import { ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import type { CredentialObserver } from '../credentials/credential-cache.js'
import type { Admin } from '../observe/admin.js'
import { AuditLog } from '../observe/audit-log.js'
import { CredentialLog } from '../observe/credential-log.js'
import { Journal } from '../observe/journal.js'
import { LazyMetrics } from '../observe/lazy-metrics.js'
import type { ObservedProxy, ObservedTarget } from '../observe/observed-proxy.js'
import { hasCredential, type ReadinessQuestion, unconfirmed } from '../observe/readiness.js'
import { SessionLog } from '../observe/session-log.js'
import { type ProxyStatus, proxyStatus } from '../observe/status.js'
import { Tally } from '../observe/tally.js'
import { tellAll, tellAllOfCredentials } from '../observe/tell-all.js'
import type { SessionObserver } from '../session/session-view.js'

export interface WatchOptions {
  proxy: ObservedProxy & { readonly targets: readonly WatchedTarget[] }
  quiet: boolean
  /** Metrics are counted only for an admin port. */
  hasAdminPort: boolean
  clock: Clock
  log: Log
  /** Stops the proxy, when a user asks for it at the admin port. */
  shutdown: () => void
}

export interface WatchedTarget extends ObservedTarget {
  prime(): Promise<void>
}

/** The line of the log for a target whose first client will be refused if nothing changes. */
export const NOT_READY = 'not ready yet, the first client will ask again'

const ASK_AGAIN_MS = 5_000
const LOOK_MS = 500

export class Watch {
  readonly #options: WatchOptions
  readonly #tally = new Tally()
  readonly #journal: Journal
  readonly #startedAt: number
  readonly #metrics: LazyMetrics | undefined
  readonly sessionObserver: SessionObserver
  #admin: Admin | undefined
  #askedAt = Number.NEGATIVE_INFINITY

  constructor(options: WatchOptions) {
    const { proxy, clock, log, quiet, hasAdminPort } = options
    this.#options = options
    this.#startedAt = clock.now()
    this.#journal = new Journal(clock)
    const sources = { proxy, tally: this.#tally, journal: this.#journal }
    this.#metrics = hasAdminPort ? new LazyMetrics(sources, clock) : undefined
    const logs = [new SessionLog(log, { quiet }), new AuditLog(log)]
    const observers = [...logs, this.#tally, this.#journal, this.#metrics]
    this.sessionObserver = tellAll(observers.filter((observer) => observer !== undefined))
  }

  /** Errors: kind `config`, when the port is in use and was set by hand. */
  async openAdminPort(settings: ProxySettings['admin']): Promise<void> {
    if (settings === undefined || this.#metrics === undefined) return
    const { proxy, clock, log, shutdown } = this.#options
    // Not needed without an admin port, and then not loaded.
    const { Admin } = await import('../observe/admin.js')
    this.#admin = await Admin.start({
      settings,
      proxy,
      status: () => this.status(),
      tally: this.#tally,
      journal: this.#journal,
      metrics: this.#metrics,
      clock,
      log,
      look: () => this.#look(),
      askAgain: (question) => this.#askAgain(question),
      shutdown: () => {
        log.info('asked to stop at the admin port')
        shutdown()
      },
    })
  }

  get adminUrl(): string | undefined {
    return this.#admin?.url
  }

  /** For a target that is built now: what was known of an earlier one of its name is forgotten. */
  credentialObserver({ name, login }: TargetSettings): CredentialObserver {
    const ofPeople = login.as === 'person'
    const notes = this.#journal.forget(name)
    // A problem with one person's credential is not a problem of the target.
    const ofTarget = ofPeople ? [] : [new CredentialLog(this.#options.log, name), notes]
    const observers = [...ofTarget, this.#metrics?.watch(name, { ofPeople })]
    return tellAllOfCredentials(observers.filter((observer) => observer !== undefined))
  }

  /** Called when a target leads to another branch. */
  moved(name: string): void {
    this.#journal.notes(name).moved()
  }

  /** Forgets a target that was open for a while and is closed now. */
  forget(name: string): void {
    this.#journal.drop(name)
    this.#tally.forget(name)
    this.#metrics?.forget(name)
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
    const { log, clock, proxy, quiet } = this.#options
    const { name } = target.settings
    const notes = this.#journal.notes(name)
    const before = notes.trouble?.message
    this.#askedAt = clock.monotonic()
    try {
      await target.prime()
      notes.succeeded()
      const facts = { target: name, identity: target.identity, ...target.workspace }
      if (before !== undefined) log.info(facts, 'ready again')
      else log[quiet ? 'debug' : 'info'](facts, 'ready')
    } catch (error) {
      if (proxy.phase === 'stopping') return
      notes.notPrimed(error)
      if (notes.trouble?.message === before) return
      const hint = error instanceof ProxyError ? error.hint : undefined
      const reason = error instanceof Error ? error.message : String(error)
      log.warn({ target: name, reason, hint }, NOT_READY)
    }
  }

  async close(): Promise<void> {
    this.#metrics?.close()
    await this.#admin?.close()
  }

  /** Looks where targets lead now. Does not wait for a slow workspace: then the last answer counts. */
  async #look(): Promise<void> {
    const { proxy, clock } = this.#options
    const looks = proxy.targets.flatMap((target) => target.look?.() ?? [])
    if (looks.length === 0) return
    let cancel = (): void => {}
    const patience = new Promise<void>((resolve) => {
      cancel = clock.after(LOOK_MS, resolve)
    })
    await Promise.race([Promise.all(looks), patience]).finally(() => cancel())
  }

  /**
   * Asks for credentials at the probes of an unready proxy, which gets no clients whose sessions would
   * ask.
   */
  #askAgain({ confirmed = false }: ReadinessQuestion): void {
    const { proxy, clock } = this.#options
    if (proxy.phase !== 'running') return
    if (clock.monotonic() - this.#askedAt < ASK_AGAIN_MS) return
    const isMissing = confirmed
      ? (target: WatchedTarget) => unconfirmed(target) !== undefined
      : (target: WatchedTarget) => !hasCredential(target)
    for (const target of proxy.targets) if (isMissing(target)) void this.prime(target)
  }
}
