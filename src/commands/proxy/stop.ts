/**
 * How a running proxy comes to its end: the first SIGINT or SIGTERM drains it, the second ends it
 * now. SIGHUP reads the settings again where there is a file of them; else it is the closed
 * terminal, and drains too.
 */

import type { Log } from '../../core/log.js'
import type { StopSignal, Surroundings } from '../cli/command.js'

export interface StoppableProxy {
  /** Resolves when it has ended, by whatever; as `drain` does. */
  readonly done: Promise<boolean>
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

    const end = (inTime: boolean): void => {
      log.info(inTime ? 'stopped' : 'stopped; drain-timeout was over, sessions were cut short')
      finish(inTime ? 0 : 1)
    }
    const failed = (error: unknown): void => {
      log.error({ err: error }, 'drain failed')
      finish(1)
    }
    const drain = async (signal: StopSignal): Promise<void> => {
      draining = true
      log.info(`${signal}: draining; once more to stop now`)
      await proxy.drain()
    }
    // Also after POST /shutdown.
    proxy.done.then(end, failed)
    const stopListening = onSignal((signal) => {
      if (signal === 'SIGHUP' && (reload !== undefined || draining)) {
        if (draining || reload === undefined) return
        reloading = reloading.then(reload)
      } else if (!draining) {
        drain(signal).catch(failed)
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

/**
 * For commands that only run until they are stopped: `signal` aborts with the first of our
 * signals. A second one, for whom the end takes too long, resolves `impatient` to an exit code.
 */
export function stopOnSignal(onSignal: Surroundings['onSignal']): {
  readonly signal: AbortSignal
  readonly impatient: Promise<number>
} {
  const stopping = new AbortController()
  const impatient = new Promise<number>((resolve) => {
    onSignal((signal) => {
      if (stopping.signal.aborted) resolve(signal === 'SIGINT' ? 130 : 1)
      stopping.abort()
    })
  })
  return { signal: stopping.signal, impatient }
}
