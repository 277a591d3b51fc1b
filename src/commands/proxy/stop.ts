/**
 * What signals do: the first SIGINT or SIGTERM drains the proxy, the second ends it now. SIGHUP reads
 * the settings again if they are in a file; otherwise it means a closed terminal, and drains too.
 */

import { ProxyError } from '../../core/errors.js'
import type { Log } from '../../core/log.js'
import type { Daemon } from '../../daemon/daemon.js'
import type { StopSignal, Surroundings } from '../invocation/command.js'

export interface StopOptions {
  readonly proxy: Pick<Daemon, 'done' | 'drain' | 'close'>
  readonly onSignal: Surroundings['onSignal']
  /** Undefined without a settings file. */
  readonly reload: (() => Promise<void>) | undefined
  /** True when there was a SIGHUP while the proxy started. */
  readonly hungUp: boolean
  readonly log: Log
}

/** Resolves to the exit code, once the proxy is closed or is to be left at once. */
export function untilStopped({
  proxy,
  onSignal,
  reload,
  hungUp,
  log,
}: StopOptions): Promise<number> {
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
    const handle = (signal: StopSignal): void => {
      if (signal === 'SIGHUP' && (reload !== undefined || draining)) {
        if (draining || reload === undefined) return
        reloading = reloading.then(reload)
      } else if (!draining) {
        drain(signal).catch(failed)
      } else {
        // Not awaited: a second signal means now.
        proxy.close().catch(() => {})
        finish(signal === 'SIGINT' ? 130 : 1)
      }
    }
    const stopListening = onSignal(handle)
    const finish = (exitCode: number): void => {
      stopListening()
      resolve(exitCode)
    }
    if (hungUp) handle('SIGHUP')
  })
}

export interface StartUpSignals {
  /** Aborts at SIGINT and SIGTERM: there is nothing to drain yet. */
  readonly stopping: AbortSignal
  /** Resolves to an exit code at the second of them. */
  readonly impatient: Promise<number>
  /** Stops listening. True when there was a SIGHUP, which the running proxy then has to handle. */
  over(): boolean
}

/** Signals that come before there is a proxy. Without this, each of them would kill the process. */
export function signalsDuringStartUp(onSignal: Surroundings['onSignal']): StartUpSignals {
  let hungUp = false
  let stopListening = (): void => {}
  const stopping = new AbortController()
  const impatient = new Promise<number>((resolve) => {
    stopListening = onSignal((signal) => {
      if (signal === 'SIGHUP') hungUp = true
      else if (stopping.signal.aborted) resolve(signal === 'SIGINT' ? 130 : 1)
      else stopping.abort(new ProxyError('stopping', `${signal} before the proxy was started`))
    })
  })
  const over = (): boolean => {
    stopListening()
    return hungUp
  }
  return { stopping: stopping.signal, impatient, over }
}

/**
 * For commands that only run until they are stopped: the first of our signals tells `work` to end, a
 * second one does not wait for that. Resolves to the exit code.
 */
export function untilSignal(
  onSignal: Surroundings['onSignal'],
  work: (signal: AbortSignal) => Promise<number>,
): Promise<number> {
  const stopping = new AbortController()
  const impatient = new Promise<number>((resolve) => {
    onSignal((signal) => {
      if (stopping.signal.aborted) resolve(signal === 'SIGINT' ? 130 : 1)
      stopping.abort()
    })
  })
  return Promise.race([work(stopping.signal), impatient])
}
