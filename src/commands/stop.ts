/**
 * How a running proxy comes to its end: the first SIGINT or SIGTERM drains it, the second ends it
 * now. SIGHUP reads the settings again where there is a file of them; else it is the closed
 * terminal, and drains too.
 */

import type { Log } from '../log.js'
import type { StopSignal, Surroundings } from './command.js'

export interface StoppableProxy {
  /** True when no session was cut short. */
  drain(): Promise<boolean>
  close(): Promise<void>
}

export interface StopOptions {
  readonly proxy: StoppableProxy
  readonly onSignal: Surroundings['onSignal']
  /** Undefined without a settings file. */
  readonly reload: (() => Promise<void>) | undefined
  readonly log: Log
}

/** Resolves to the exit code, once the proxy is closed or is to be left at once. */
export function untilStopped({ proxy, onSignal, reload, log }: StopOptions): Promise<number> {
  return new Promise((resolve) => {
    let draining = false
    let reloading: Promise<void> = Promise.resolve()

    const drain = async (signal: StopSignal): Promise<void> => {
      draining = true
      log.info(`${signal}: draining; once more to stop now`)
      await reloading
      const inTime = await proxy.drain()
      log.info(inTime ? 'drained' : 'drain-timeout is over, sessions were cut short')
      finish(inTime ? 0 : 1)
    }
    const onDrainFailed = (error: unknown): void => {
      log.error({ err: error }, 'drain failed')
      finish(1)
    }
    const stopListening = onSignal((signal) => {
      if (signal === 'SIGHUP' && (reload !== undefined || draining)) {
        if (draining || reload === undefined) return
        reloading = reloading.then(reload)
      } else if (!draining) {
        drain(signal).catch(onDrainFailed)
      } else {
        // Not awaited: who asks twice does not want to wait.
        proxy.close().catch(() => {})
        finish(signal === 'SIGINT' ? 130 : 1)
      }
    })
    const finish = (exitCode: number): void => {
      stopListening()
      resolve(exitCode)
    }
  })
}
