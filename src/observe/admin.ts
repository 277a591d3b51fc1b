/** What the admin interface shows: status, history and metrics, and the server that shows them. */

import type { ProxySettings } from '../config/resolve/settings.js'
import type { Clock } from '../core/clock.js'
import type { Log } from '../core/log.js'
import { redact, redactedJson } from '../core/redact.js'
import { packageVersion } from '../core/version.js'
import { AdminServer } from './admin-server.js'
import { EventStreams } from './event-streams.js'
import { History } from './history.js'
import type { Journal } from './journal.js'
import type { LazyMetrics } from './lazy-metrics.js'
import type { ObservedProxy } from './observed-proxy.js'
import { type ReadinessQuestion, readiness, targetReadiness } from './readiness.js'
import type { ProxyStatus } from './status.js'
import type { Tally } from './tally.js'

export interface AdminOptions {
  settings: NonNullable<ProxySettings['admin']>
  proxy: ObservedProxy
  status: () => ProxyStatus
  tally: Tally
  journal: Journal
  metrics: LazyMetrics
  clock: Clock
  log: Log
  /** Lets targets look where their next client goes. Never rejects. */
  look: () => Promise<void>
  /** A probe waits for readiness: asks the workspace again for what is missing. */
  askAgain: (question: ReadinessQuestion) => void
  shutdown: () => void
}

export class Admin {
  readonly #options: AdminOptions
  readonly #history: History
  readonly #events: EventStreams
  readonly #server: AdminServer
  #url = ''

  private constructor(options: AdminOptions) {
    const { settings, proxy, clock, log } = options
    this.#options = options
    this.#history = new History(options.tally, clock)
    this.#events = new EventStreams({
      clock,
      status: () => this.#status({}),
      history: () => JSON.stringify(this.#history.samples),
    })
    this.#history.onSample = (sample) => this.#events.send('sample', JSON.stringify(sample))
    this.#server = new AdminServer({
      place: settings,
      events: this.#events,
      log,
      answers: {
        isListening: () => proxy.phase !== 'starting',
        readiness: async (question) => {
          await options.look()
          options.askAgain(question)
          const { target } = question
          const found =
            target === undefined
              ? readiness(proxy, options.journal, question)
              : targetReadiness(target, proxy, options.journal, question)
          return found && { ...found, reasons: found.reasons.map(redact) }
        },
        targetNames: () => proxy.targets.map(({ settings }) => redact(settings.name)),
        status: () => this.#status({ history: this.#history.samples }),
        metrics: async () => {
          const metrics = await options.metrics.load()
          return { type: metrics.contentType, text: redact(await metrics.text()) }
        },
        shutdown: options.shutdown,
      },
    })
  }

  /** Errors: kind `config`, when its place is in use and was set by hand. */
  static async start(options: AdminOptions): Promise<Admin> {
    const admin = new Admin(options)
    try {
      admin.#url = await admin.#server.start()
      return admin
    } catch (error) {
      await admin.close()
      throw error
    }
  }

  /** `http://127.0.0.1:9090`, or the path of its Unix socket; also when it is closed already. */
  get url(): string {
    return this.#url
  }

  async close(): Promise<void> {
    this.#history.close()
    this.#events.close()
    await this.#server.close()
  }

  async #status(more: object): Promise<string> {
    await this.#options.look()
    const memoryBytes = await (await this.#options.metrics.load()).memoryBytes()
    return redactedJson({ version, memoryBytes, ...this.#options.status(), ...more })
  }
}

const version = packageVersion()
