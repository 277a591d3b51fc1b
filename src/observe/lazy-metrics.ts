/**
 * The metrics, loaded after start-up: prom-client takes longer to load than everything else
 * together, and clients should not wait for it. Events until then are kept and counted afterwards.
 */

import type { Clock } from '../core/clock.js'
import { errorKind } from '../core/errors.js'
import type { CredentialObserver } from '../credentials/credential-cache.js'
import type { SessionObserver, SessionOutcome, SessionView } from '../session/session-view.js'
import type { Metrics, MetricsSources, RefreshOutcome } from './metrics.js'

const AFTER_MS = 1_000
const OF_TARGET: readonly RefreshOutcome[] = ['succeeded', 'failed']
const OF_PEOPLE: readonly RefreshOutcome[] = [...OF_TARGET, 'refused']

export class LazyMetrics implements Partial<SessionObserver> {
  readonly #sources: MetricsSources
  readonly #cancel: () => void
  #waiting: ((metrics: Metrics) => void)[] = []
  #loading: Promise<Metrics> | undefined
  #metrics: Metrics | undefined

  /** Loads the metrics a second from now, or when they are first asked for. */
  constructor(sources: MetricsSources, clock: Clock) {
    this.#sources = sources
    this.#cancel = clock.after(AFTER_MS, () => {
      this.load().catch(() => {}) // a request for them reports the failure
    })
  }

  load(): Promise<Metrics> {
    this.#loading ??= this.#load()
    return this.#loading
  }

  close(): void {
    this.#cancel()
  }

  /**
   * From now on the target's series are there. `ofPeople`: its clients have credentials of their own,
   * and a no to one of them is not a failure of the target.
   */
  watch(target: string, { ofPeople }: { readonly ofPeople: boolean }): CredentialObserver {
    const tell = (outcome: RefreshOutcome): void =>
      this.#tell((metrics) => metrics.refreshed(target, outcome))
    this.#tell((metrics) => metrics.watch(target, ofPeople ? OF_PEOPLE : OF_TARGET))
    return {
      refreshed: () => tell('succeeded'),
      refreshFailed: (error) => {
        const kind = errorKind(error)
        tell(ofPeople && (kind === 'password' || kind === 'identity') ? 'refused' : 'failed')
      },
    }
  }

  /** The target is closed: its series go. */
  forget(target: string): void {
    this.#tell((metrics) => metrics.forget(target))
  }

  connected({ target, phaseMs }: SessionView): void {
    if (this.#metrics !== undefined) {
      this.#metrics.connected(target, phaseMs)
      return
    }
    // The session goes on, and its phases with it: what counts is how it was connected.
    const phases = new Map(phaseMs)
    this.#waiting.push((metrics) => metrics.connected(target, phases))
  }

  failed({ target }: SessionView, error: unknown): void {
    this.#tell((metrics) => metrics.failed(target, error))
  }

  cancelled({ target }: SessionView, error: unknown): void {
    this.#tell((metrics) => metrics.cancelled(target, error === undefined))
  }

  closed({ target }: SessionView, outcome: SessionOutcome): void {
    this.#tell((metrics) => metrics.closed(target, outcome))
  }

  #tell(event: (metrics: Metrics) => void): void {
    if (this.#metrics === undefined) this.#waiting.push(event)
    else event(this.#metrics)
  }

  async #load(): Promise<Metrics> {
    this.#cancel()
    const { Metrics } = await import('./metrics.js')
    const metrics = new Metrics(this.#sources)
    for (const event of this.#waiting.splice(0)) event(metrics)
    this.#metrics = metrics
    return metrics
  }
}
