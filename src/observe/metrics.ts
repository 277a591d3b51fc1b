/**
 * The numbers of one proxy in Prometheus' text format, from a registry of its own. What stands
 * somewhere already (open sessions, bytes, expiry) is read when it is asked for, so that a long
 * session's bytes are seen while they move.
 */

import { version as nodeVersion } from 'node:process'

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

import { errorKind } from '../core/errors.js'
import { packageVersion } from '../core/version.js'
import type { SessionOutcome, SessionPhase } from '../session/session-view.js'
import type { Journal } from './journal.js'
import type { ObservedProxy, ObservedTarget } from './observed-proxy.js'
import { targetReadiness } from './readiness.js'
import type { Tally } from './tally.js'

export interface MetricsSources {
  proxy: ObservedProxy
  tally: Tally
  journal: Journal
}

// A token refresh and a cold start take seconds, a good connection some tens of milliseconds.
export type RefreshOutcome = 'succeeded' | 'failed' | 'refused'

const CONNECT_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60]

export class Metrics {
  readonly #register = new Registry()
  readonly #sources: MetricsSources
  readonly #sessions: Counter<'target' | 'outcome'>
  readonly #connect: Histogram<'target' | 'phase'>
  readonly #errors: Counter<'target' | 'kind'>
  readonly #refreshes: Counter<'target' | 'outcome'>
  readonly #cancels: Counter<'target' | 'outcome'>

  constructor(sources: MetricsSources) {
    this.#sources = sources
    const registers = [this.#register]
    collectDefaultMetrics({ register: this.#register })
    this.#sessions = new Counter({
      name: 'lakebase_proxy_sessions_total',
      help: 'Client connections that are over, by what became of them; cancel requests are not counted.',
      labelNames: ['target', 'outcome'],
      registers,
    })
    this.#connect = new Histogram({
      name: 'lakebase_proxy_connect_seconds',
      help: 'Time each phase took of the sessions that were logged in.',
      labelNames: ['target', 'phase'],
      buckets: CONNECT_BUCKETS,
      registers,
    })
    this.#errors = new Counter({
      name: 'lakebase_proxy_errors_total',
      help: 'Sessions that failed before login, by kind of error.',
      labelNames: ['target', 'kind'],
      registers,
    })
    this.#refreshes = new Counter({
      name: 'lakebase_proxy_credential_refreshes_total',
      help: 'Requests for a database credential that are over: succeeded, failed, or, for a client of a gateway, refused to that client.',
      labelNames: ['target', 'outcome'],
      registers,
    })
    this.#cancels = new Counter({
      name: 'lakebase_proxy_cancels_total',
      help: 'Cancel requests: delivered or failed.',
      labelNames: ['target', 'outcome'],
      registers,
    })
    new Gauge({
      name: 'lakebase_proxy_build_info',
      help: 'Always 1; its labels are the versions of lakebase-proxy and of Node.',
      labelNames: ['version', 'node'],
      registers,
    }).set({ version: packageVersion(), node: nodeVersion }, 1)
    this.#readWhenAsked()
  }

  /** From now on a target's series are there, at 0, so that their first change is seen as one. */
  watch(target: string, refreshes: readonly RefreshOutcome[]): void {
    for (const outcome of ['closed', 'failed', 'upstream reset']) {
      this.#sessions.inc({ target, outcome }, 0)
    }
    for (const outcome of refreshes) this.#refreshes.inc({ target, outcome }, 0)
    for (const outcome of ['delivered', 'failed']) this.#cancels.inc({ target, outcome }, 0)
    for (const kind of ['credential', 'dial', 'identity']) this.#errors.inc({ target, kind }, 0)
    for (const phase of ['resolve', 'dial', 'tls', 'login']) this.#connect.zero({ target, phase })
  }

  /** A target that was open for a while: series of names that come and go would add up. */
  forget(target: string): void {
    const all = [this.#sessions, this.#connect, this.#errors, this.#refreshes, this.#cancels]
    for (const metric of all) void removeSeries(metric, target)
  }

  get contentType(): string {
    return this.#register.contentType
  }

  text(): Promise<string> {
    return this.#register.metrics()
  }

  async memoryBytes(): Promise<number> {
    const metric = await this.#register.getSingleMetric('process_resident_memory_bytes')?.get()
    return metric?.values[0]?.value ?? 0
  }

  refreshed(target: string, outcome: RefreshOutcome): void {
    this.#refreshes.inc({ target, outcome })
  }

  connected(target: string, phaseMs: ReadonlyMap<SessionPhase, number>): void {
    for (const [phase, ms] of phaseMs) this.#connect.observe({ target, phase }, ms / 1000)
  }

  failed(target: string, error: unknown): void {
    this.#errors.inc({ target, kind: errorKind(error) })
  }

  cancelled(target: string, delivered: boolean): void {
    this.#cancels.inc({ target, outcome: delivered ? 'delivered' : 'failed' })
  }

  closed(target: string, outcome: SessionOutcome): void {
    if (outcome !== 'cancel request') this.#sessions.inc({ target, outcome })
  }

  #readWhenAsked(): void {
    const { proxy, tally, journal } = this.#sources
    const perTarget = { labelNames: ['target'] as const, registers: [this.#register] }
    const names = (): Set<string> => new Set(proxy.targets.map(({ settings }) => settings.name))
    // Two targets have one name while an opened branch is closed, after a reload has named it too.
    const summed = (read: (target: ObservedTarget) => number | undefined) =>
      function collect(this: Gauge<'target'> | Counter<'target'>): void {
        this.reset()
        for (const target of proxy.targets) {
          const value = read(target)
          if (value !== undefined) this.inc({ target: target.settings.name }, value)
        }
      }
    const named = (read: (target: string) => number | undefined) =>
      function collect(this: Gauge<'target'>): void {
        this.reset()
        for (const target of names()) {
          const value = read(target)
          if (value !== undefined) this.set({ target }, value)
        }
      }

    new Gauge({
      name: 'lakebase_proxy_sessions_open',
      help: 'Sessions past their handshake: what max-connections counts.',
      ...perTarget,
      collect: summed(({ sessions }) => sessions.admitted),
    })
    new Gauge({
      name: 'lakebase_proxy_target_ready',
      help: 'Whether new clients of the target can be served: what /readiness?target=NAME answers.',
      ...perTarget,
      collect: named((name) => (targetReadiness(name, proxy, journal)?.ready ? 1 : 0)),
    })
    new Gauge({
      name: 'lakebase_proxy_sessions_limit',
      help: 'The setting max-connections; absent where there is no limit.',
      ...perTarget,
      collect: summed(({ settings }) => settings.maxConnections || undefined),
    })
    new Gauge({
      name: 'lakebase_proxy_spares',
      help: 'Spare connections held for the next clients; absent with warm=0.',
      ...perTarget,
      collect: summed(({ spares }) => spares?.held),
    })
    new Counter({
      name: 'lakebase_proxy_spare_hits_total',
      help: 'Sessions that were given a spare connection; absent with warm=0.',
      ...perTarget,
      collect: summed(({ spares }) => spares?.hits),
    })
    new Gauge({
      name: 'lakebase_proxy_credential_expires_at_seconds',
      help: 'When the latest credential expires or has expired, in seconds since the epoch.',
      ...perTarget,
      collect: named((name) => {
        const { expiresAt } = journal.notes(name)
        return expiresAt === undefined ? undefined : expiresAt / 1000
      }),
    })
    new Counter({
      name: 'lakebase_proxy_bytes_total',
      help: 'Bytes moved after login: up, from clients to the server, and down.',
      labelNames: ['target', 'direction'],
      registers: [this.#register],
      collect() {
        this.reset()
        for (const target of names()) {
          const { bytesUp, bytesDown } = tally.totals(target)
          this.inc({ target, direction: 'up' }, bytesUp)
          this.inc({ target, direction: 'down' }, bytesDown)
        }
      },
    })
  }
}

async function removeSeries(
  metric: Counter<'target'> | Histogram<'target'>,
  target: string,
): Promise<void> {
  const { values } = await metric.get()
  for (const { labels } of values) {
    if (labels.target !== target) continue
    const { le: _, ...own } = labels as Record<string, string | number>
    metric.remove(own)
  }
}
