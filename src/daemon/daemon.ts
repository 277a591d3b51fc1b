/**
 * The running proxy: builds each part once and joins them, starts them left to right and stops
 * them right to left.
 */

import { LinkedAbort, pause } from '../abort.js'
import { type Clock, systemClock } from '../clock.js'
import type { ProxySettings, TargetSettings } from '../config/settings.js'
import { Resolver } from '../endpoints/resolver.js'
import type { Log } from '../log.js'
import { SessionLog } from '../observe/session-log.js'
import { LookUp } from '../workspace/look-up.js'
import type { Workspace } from '../workspace/workspace.js'
import { RunningTarget, type SignedIn } from './running-target.js'

export interface DaemonOptions {
  settings: ProxySettings
  /** Signs in as the target's host and profile say; called once for each such pair. */
  openWorkspace: (target: TargetSettings) => Workspace & { close(): Promise<void> }
  log: Log
  clock?: Clock
}

const IDLE_CHECK_MS = 250

export class Daemon {
  readonly #options: DaemonOptions
  readonly #clock: Clock
  readonly #settings: ProxySettings
  readonly #resolver: Resolver
  readonly #workspaces = new Map<string, SignedIn & { close: () => Promise<void> }>()
  readonly #targets: RunningTarget[] = []
  readonly #closing = new AbortController()
  #closed: Promise<void> | undefined

  private constructor(options: DaemonOptions) {
    this.#options = options
    this.#settings = options.settings
    this.#clock = options.clock ?? systemClock
    this.#resolver = new Resolver({ servers: options.settings.resolver, clock: this.#clock })
  }

  /** Resolves once every target is listened for. Errors: kind `config`. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(options)
    try {
      for (const target of options.settings.targets) await daemon.#startTarget(target)
      return daemon
    } catch (error) {
      await daemon.close()
      throw error
    }
  }

  get targets(): readonly RunningTarget[] {
    return this.#targets
  }

  /**
   * Lets clients go: after `drain-delay`, new ones are refused, idle ones closed, and the others
   * get `drain-timeout`. True when none was cut short.
   */
  async drain(): Promise<boolean> {
    const { drainDelayMs, drainTimeoutMs } = this.#settings
    const limit = new LinkedAbort(this.#closing.signal)
    try {
      if (drainDelayMs > 0) await pause(this.#clock, drainDelayMs, limit.signal).catch(() => {})
      limit.abortAfter(this.#clock, drainTimeoutMs, () => new Error('drain-timeout'))
      const checkAgain = (fn: () => void): (() => void) => this.#clock.after(IDLE_CHECK_MS, fn)
      const drained = this.#targets.map(({ listener }) => listener.drain(limit.signal, checkAgain))
      const inTime = await Promise.all(drained)
      return inTime.every(Boolean)
    } finally {
      limit.release()
      await this.close()
    }
  }

  /** Ends every session now. Safe to call twice. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#closing.abort()
    await Promise.all(this.#targets.map((target) => target.close()))
    await Promise.all([...this.#workspaces.values()].map((workspace) => workspace.close()))
  }

  async #startTarget(settings: TargetSettings): Promise<void> {
    const { log } = this.#options
    const target = new RunningTarget({
      target: settings,
      settings: this.#settings,
      signedIn: settings.target.kind === 'static' ? undefined : this.#signIn(settings),
      resolver: this.#resolver,
      localTls: undefined,
      clock: this.#clock,
      log,
      sessionObserver: new SessionLog(log),
      credentialObserver: {
        refreshed: () => {},
        refreshFailed: (error, stillGood) => {
          if (stillGood)
            log.warn(
              { target: settings.name, reason: String(error) },
              'credential not refreshed, the held one is still good',
            )
        },
      },
    })
    this.#targets.push(target)
    await target.listener.start()
    target.prime().catch((error: unknown) => {
      if (this.#closing.signal.aborted) return
      log.warn(
        { target: settings.name, reason: String(error) },
        'not ready yet, the first client will ask again',
      )
    })
  }

  #signIn(target: TargetSettings): SignedIn {
    const key = JSON.stringify([target.databricksHost, target.profile])
    const known = this.#workspaces.get(key)
    if (known !== undefined) return known
    const workspace = this.#options.openWorkspace(target)
    const signedIn = {
      workspace,
      identity: new LookUp(() => workspace.identity(this.#closing.signal)),
      close: () => workspace.close(),
    }
    this.#workspaces.set(key, signedIn)
    return signedIn
  }
}
