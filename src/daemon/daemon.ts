/**
 * The running proxy: builds each part once and joins them, starts them left to right and stops
 * them right to left.
 */

import { LinkedAbort, pause } from '../abort.js'
import { type Clock, systemClock } from '../clock.js'
import type { ProxySettings, TargetSettings } from '../config/settings.js'
import { Resolver } from '../endpoints/resolver.js'
import { LocalTls } from '../listener/local-tls.js'
import type { Log } from '../log.js'
import type { ProxyPhase, ProxyStatus } from '../observe/status.js'
import { LookUp } from '../workspace/look-up.js'
import type { Workspace } from '../workspace/workspace.js'
import { RunningTarget, type SignedIn } from './running-target.js'
import { isSameTarget } from './same-target.js'
import { Watch } from './watch.js'

export interface DaemonOptions {
  settings: ProxySettings
  /** Signs in as the target's host and profile say; called once for each such pair. */
  openWorkspace: (target: TargetSettings) => Promise<Workspace & { close(): Promise<void> }>
  /** Where keys of `local-tls=auto` are kept. */
  stateDir: string
  log: Log
  clock?: Clock
}

const IDLE_CHECK_MS = 250

export class Daemon {
  readonly #options: DaemonOptions
  readonly #clock: Clock
  #settings: ProxySettings
  #resolver: Resolver
  #localTls: LocalTls | undefined
  readonly #workspaces = new Map<string, SignedIn & { close: () => Promise<void> }>()
  #targets: RunningTarget[] = []
  /** Changed or removed by a reload: they take no clients, and go with their last one. */
  readonly #retired = new Set<RunningTarget>()
  readonly #closing = new AbortController()
  readonly #watch: Watch
  /** Resolves when the proxy has ended, by whatever: true when no session was cut short. */
  readonly done: Promise<boolean>
  #ended: (inTime: boolean) => void = () => {}
  #inTime = false
  #phase: ProxyPhase = 'starting'
  #drained: Promise<boolean> | undefined
  #closed: Promise<void> | undefined

  private constructor(options: DaemonOptions) {
    this.#options = options
    this.#settings = options.settings
    this.#clock = options.clock ?? systemClock
    this.#resolver = new Resolver({ servers: options.settings.resolver, clock: this.#clock })
    this.#watch = new Watch({
      proxy: this,
      quiet: options.settings.quiet,
      clock: this.#clock,
      log: options.log,
      shutdown: () => void this.drain(),
    })
    this.done = new Promise((resolve) => {
      this.#ended = resolve
    })
  }

  /** Resolves once every target is listened for. Errors: kind `config`. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(options)
    try {
      await daemon.#watch.openAdminPort(options.settings.admin)
      daemon.#localTls = await daemon.#openLocalTls(options.settings)
      daemon.#targets = await daemon.#startTargets(options.settings.targets)
      daemon.#phase = 'running'
      return daemon
    } catch (error) {
      await daemon.close()
      throw error
    }
  }

  get targets(): readonly RunningTarget[] {
    return this.#targets
  }

  get phase(): ProxyPhase {
    return this.#phase
  }

  /** `http://127.0.0.1:9090`; undefined without an admin port. */
  get adminUrl(): string | undefined {
    return this.#watch.adminUrl
  }

  /** The targets, where to connect and as whom, and what goes on: for the banner and the status. */
  status(): ProxyStatus {
    return this.#watch.status()
  }

  /** Path of the CA that verifies `local-tls=auto`. */
  get localCaFile(): string | undefined {
    return this.#localTls?.caFile
  }

  /**
   * Takes over new settings: targets that stayed the same, and the sessions of all, are not
   * touched. Targets that are gone or changed take no more clients. The admin port and the log stay
   * as they are. Errors: kind `config`, when a new target cannot be listened for; then the old
   * settings are back in force.
   */
  async reload(settings: ProxySettings): Promise<void> {
    const before = { settings: this.#settings, resolver: this.#resolver, localTls: this.#localTls }
    const localTls = await this.#openLocalTls(settings)
    const stays = (running: RunningTarget): boolean =>
      settings.targets.some((target) => isSameTarget(running, target, before.settings, settings))
    const kept = this.#targets.filter(stays)
    const leaving = this.#targets.filter((running) => !stays(running))
    const isNew = (target: TargetSettings): boolean =>
      !kept.some((running) => running.settings.name === target.name)

    for (const { listener } of leaving) listener.stopListening()
    this.#settings = settings
    this.#localTls = localTls
    this.#resolver = new Resolver({ servers: settings.resolver, clock: this.#clock })
    try {
      const started = await this.#startTargets(settings.targets.filter(isNew))
      this.#targets = [...kept, ...started]
    } catch (error) {
      this.#settings = before.settings
      this.#localTls = before.localTls
      this.#resolver = before.resolver
      localTls?.close()
      for (const { listener } of leaving) await listener.start()
      throw error
    }
    before.localTls?.close()
    for (const running of leaving) this.#retire(running)
  }

  /**
   * Lets clients go: after `drain-delay`, new ones are refused, idle ones closed, and the others
   * get `drain-timeout`. True when none was cut short. Safe to call twice.
   */
  drain(): Promise<boolean> {
    this.#drained ??= this.#drain()
    return this.#drained
  }

  async #drain(): Promise<boolean> {
    this.#phase = 'stopping'
    const { drainDelayMs, drainTimeoutMs } = this.#settings
    const limit = new LinkedAbort(this.#closing.signal)
    try {
      if (drainDelayMs > 0) await pause(this.#clock, drainDelayMs, limit.signal).catch(() => {})
      limit.abortAfter(this.#clock, drainTimeoutMs, () => new Error('drain-timeout'))
      const checkAgain = (fn: () => void): (() => void) => this.#clock.after(IDLE_CHECK_MS, fn)
      const drained = this.#all.map(({ listener }) => listener.drain(limit.signal, checkAgain))
      this.#inTime = (await Promise.all(drained)).every(Boolean)
      return this.#inTime
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
    this.#phase = 'stopping'
    this.#closing.abort()
    await Promise.all(this.#all.map((target) => target.close()))
    this.#localTls?.close()
    await Promise.all([...this.#workspaces.values()].map((workspace) => workspace.close()))
    await this.#watch.close()
    this.#ended(this.#inTime)
  }

  get #all(): RunningTarget[] {
    return [...this.#targets, ...this.#retired]
  }

  #retire(running: RunningTarget): void {
    this.#retired.add(running)
    void running.listener.lastGone().then(async () => {
      await running.close()
      this.#retired.delete(running)
    })
  }

  #openLocalTls({ localTls: setting }: ProxySettings): Promise<LocalTls | undefined> {
    return LocalTls.open({ setting, stateDir: this.#options.stateDir, clock: this.#clock })
  }

  /** All of them, or none. */
  async #startTargets(targets: readonly TargetSettings[]): Promise<RunningTarget[]> {
    const started: RunningTarget[] = []
    try {
      for (const target of targets) {
        const running = await this.#buildTarget(target)
        started.push(running)
        await running.listener.start()
      }
    } catch (error) {
      await Promise.all(started.map((running) => running.close()))
      throw error
    }
    for (const running of started) void this.#watch.prime(running)
    return started
  }

  async #buildTarget(settings: TargetSettings): Promise<RunningTarget> {
    const { log } = this.#options
    const signedIn = settings.target.kind === 'static' ? undefined : await this.#signIn(settings)
    return new RunningTarget({
      target: settings,
      settings: this.#settings,
      signedIn,
      resolver: this.#resolver,
      localTls: this.#localTls,
      clock: this.#clock,
      log,
      sessionObserver: this.#watch.sessionObserver,
      credentialObserver: this.#watch.credentialObserver(settings.name),
    })
  }

  async #signIn(target: TargetSettings): Promise<SignedIn> {
    const key = JSON.stringify([target.databricksHost, target.profile])
    const known = this.#workspaces.get(key)
    if (known !== undefined) return known
    const workspace = await this.#options.openWorkspace(target)
    const signedIn = {
      workspace,
      identity: new LookUp(() => workspace.identity(this.#closing.signal)),
      close: () => workspace.close(),
    }
    this.#workspaces.set(key, signedIn)
    return signedIn
  }
}
