/**
 * Starts a stopped Provisioned instance, once for all who wait, and tells them when it is
 * available; one that somebody else has started is waited for all the same.
 */

import type { Clock } from '../core/clock.js'
import { LinkedAbort, pause, waitFor } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import type { LookUp } from '../databricks/lakebase/look-up.js'
import type { LakebaseDatabase, Workspace } from '../databricks/lakebase/workspace.js'
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
  #pending: Promise<void> | undefined

  constructor(options: StarterOptions) {
    this.#options = options
  }

  /**
   * Resolves once the instance is available. Errors: kind `starting` after `timeoutMs`, kind
   * `stopped` when it is in a state that it cannot be started from.
   */
  async start(signal: AbortSignal): Promise<void> {
    this.#pending ??= this.#startOnce().finally(() => {
      this.#pending = undefined
    })
    await waitFor(this.#pending, signal)
  }

  async #startOnce(): Promise<void> {
    const { database, workspace, timeoutMs, clock, log, closing } = this.#options
    const limit = new LinkedAbort(closing)
    const startedAt = clock.now()
    let last = await database.get(limit.signal)
    limit.abortAfter(clock, timeoutMs, () => notInTime(last, timeoutMs))
    try {
      checkStartable(last)
      if (last.state === 'stopped') {
        log.info({ target: last.name }, 'starting database instance')
        await workspace.startDatabase(last, limit.signal)
      }
      for (;;) {
        last = await database.askAgain(limit.signal)
        checkStartable(last)
        const seconds = Math.round((clock.now() - startedAt) / 1000)
        if (last.state === 'available' || last.state === 'idle') {
          log.info({ target: last.name, seconds }, 'database instance is available')
          return
        }
        log.info(
          { target: last.name, state: last.apiState, seconds },
          'waiting for database instance',
        )
        await pause(clock, POLL_MS, limit.signal)
      }
    } finally {
      limit.release()
    }
  }
}

function notInTime(database: LakebaseDatabase, timeoutMs: number): ProxyError {
  return new ProxyError(
    'starting',
    `database instance "${database.name}" did not become available in ${timeoutMs / 1000} s`,
    {
      detail: `The workspace reports the state ${database.apiState}.`,
      hint: `Look at it with: lakebase-proxy instances show ${database.name}; or wait longer with --start-timeout.`,
    },
  )
}
