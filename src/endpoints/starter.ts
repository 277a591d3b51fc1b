/**
 * Starts a stopped Provisioned instance, once for all clients that wait, and tells them when it is
 * available. An instance that another program has started is waited for as well.
 */

import type { Clock } from '../core/clock.js'
import { pause, SingleFlight, waitFor, withDeadline } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import type { Workspace } from '../databricks/lakebase/connect-workspace.js'
import type { LookUp } from '../databricks/lakebase/look-up.js'
import type { LakebaseDatabase } from '../databricks/lakebase/workspace.js'
import { checkStartable } from './availability.js'

export interface StarterOptions {
  database: LookUp<LakebaseDatabase>
  workspace: Pick<Workspace, 'startDatabase'>
  timeoutMs: number
  clock: Clock
  log: Log
  closing: AbortSignal
}

const POLL_MS = 2_000

export class Starter {
  readonly #options: StarterOptions
  readonly #starting = new SingleFlight(() => this.#start())

  constructor(options: StarterOptions) {
    this.#options = options
  }

  /**
   * Resolves once the instance is available. Errors: kind `starting` after `timeoutMs`, kind
   * `stopped` when it is in a state that it cannot be started from.
   */
  async start(signal: AbortSignal): Promise<void> {
    await waitFor(this.#starting.join(), signal)
  }

  async #start(): Promise<void> {
    const { database, workspace, timeoutMs, clock, log, closing } = this.#options
    const startedAt = clock.monotonic()
    let last = await database.get(closing)
    const { name: target } = last
    const late = `database instance "${target}" did not become available in ${timeoutMs / 1000} s`
    const reason = (): ProxyError =>
      new ProxyError('starting', late, {
        detail: `The workspace reports the state ${last.apiState}.`,
        hint: `Look at it with: lakebase-proxy instances show ${target}; or wait longer with --start-timeout.`,
      })
    await withDeadline({ clock, ms: timeoutMs, reason, signals: [closing] }, async (signal) => {
      checkStartable(last)
      if (last.state === 'stopped') {
        log.info({ target }, 'starting database instance')
        await workspace.startDatabase(last, signal)
      }
      for (;;) {
        last = await database.askAgain(signal)
        checkStartable(last)
        const seconds = Math.round((clock.monotonic() - startedAt) / 1000)
        if (last.state === 'available' || last.state === 'idle') {
          log.info({ target, seconds }, 'database instance is available')
          return
        }
        log.info({ target, state: last.apiState, seconds }, 'waiting for database instance')
        await pause(clock, POLL_MS, signal)
      }
    })
  }
}
