/**
 * The running proxy: builds each part once and joins them, starts them left to right and stops
 * them right to left.
 */

import type { ProxySettings, TargetSettings } from '../config/resolve/settings.js'
import { type Clock, systemClock } from '../core/clock.js'
import { pause, waitFor, withDeadline } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import type { RunCommand } from '../databricks/sign-in/run-command.js'
import { Resolver } from '../endpoints/resolver.js'
import type { Listener } from '../listener/listener.js'
import type { ProxyPhase } from '../observe/observed-proxy.js'
import type { ProxyStatus } from '../observe/status.js'
import { PasswordAttempts } from '../session/password-attempts.js'
import { workspaceTurns } from '../session/people.js'
import { ReadBuffers } from '../session/read-buffers.js'
import { CancelRoutes } from '../upstream/cancel.js'
import { BranchTargets } from './branch-targets.js'
import { buildTarget } from './build-target.js'
import type { NewBranch, NewBranchOptions } from './new-branch.js'
import { changedSettings, changesOf, planReload, type ReloadPlan } from './reload-plan.js'
import { type SharedParts, shareParts } from './shared-parts.js'
import { type RoutedTarget, TargetRouter } from './target-router.js'
import { Watch } from './watch.js'
import { type ClosableWorkspace, Workspaces } from './workspaces.js'

export interface DaemonOptions {
  settings: ProxySettings
  /** Signs in as the target's host and profile say; called once for each such pair. */
  openWorkspace: (target: TargetSettings, connectTimeoutMs: number) => Promise<ClosableWorkspace>
  /** Where keys of `local-tls=auto` are kept. */
  stateDir: string
  log: Log
  clock?: Clock
  /** Which repository a branch is for. Undefined: it is known by its folder alone. */
  runGit?: RunCommand
  /** How `branch-from` makes its branch. */
  newBranch?: NewBranchOptions
  /** Aborts the start, which then rejects with the signal's reason once everything is closed again. */
  stopping?: AbortSignal | undefined
}

// Busy sessions are left alone for a tenth of drain-timeout, but no longer than this.
const MAX_DRAIN_GRACE_MS = 2_000

export class Daemon {
  readonly #options: DaemonOptions
  readonly #clock: Clock
  #shared: SharedParts
  readonly #workspaces: Workspaces
  /** In the order of the settings. */
  #targets: readonly RoutedTarget[] = []
  /** The table of the port that serves every target, if there is one. */
  #router: TargetRouter
  /** Changed or removed by a reload: they take no clients, and go with their last one. */
  readonly #retired = new Set<RoutedTarget>()
  readonly #cancelRoutes = new CancelRoutes()
  readonly #buffers = new ReadBuffers()
  readonly #attempts: PasswordAttempts
  readonly #workspaceTurns = workspaceTurns()
  readonly #closing = new AbortController()
  #branch: NewBranch | undefined
  readonly #watch: Watch
  /** Resolves when the proxy has ended, for any reason: true when no session was cut short. */
  readonly done: Promise<boolean>
  #ended: (inTime: boolean) => void = () => {}
  #inTime = false
  #phase: ProxyPhase = 'starting'
  #drained: Promise<boolean> | undefined
  #closed: Promise<void> | undefined
  #reloaded: Promise<void> = Promise.resolve()

  private constructor(options: DaemonOptions) {
    this.#options = options
    const { settings, clock = systemClock } = options
    this.#clock = clock
    this.#attempts = new PasswordAttempts(clock)
    this.#router = new TargetRouter(settings, [])
    const resolver = new Resolver({ servers: settings.resolver, clock })
    this.#shared = { settings, resolver, localTls: undefined }
    this.#workspaces = new Workspaces({
      open: (target) => options.openWorkspace(target, settings.connectTimeoutMs),
      closing: this.#closing.signal,
    })
    this.#watch = new Watch({
      proxy: this,
      quiet: options.settings.quiet,
      hasAdminPort: options.settings.admin !== undefined,
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
    const { stopping } = options
    const stop = (): void => daemon.#closing.abort(stopping?.reason)
    try {
      stopping?.throwIfAborted()
      stopping?.addEventListener('abort', stop)
      await daemon.#takeBranch(options.settings)
      const settings = daemon.#branch?.settingsOn(options.settings) ?? options.settings
      // Listening comes first: what else is loaded, clients need not wait for.
      daemon.#shared = await shareParts(settings, undefined, { ...options, clock: daemon.#clock })
      const openAdminPort = (): Promise<void> => daemon.#watch.openAdminPort(settings.admin)
      const plan = { kept: [], leaving: [], starting: settings.targets }
      await daemon.#startTargets(plan, daemon.#shared, openAdminPort)
      const onBranch = daemon.#targets.find((each) => daemon.#branch?.serves(each.settings))
      await daemon.#branch?.waitForFirstLogin(() =>
        waitFor(onBranch?.tryLogin() ?? Promise.resolve(), daemon.#closing.signal),
      )
      stopping?.throwIfAborted()
      daemon.#phase = 'running'
      return daemon
    } catch (error) {
      await daemon.close()
      throw stopping?.aborted ? stopping.reason : error
    } finally {
      stopping?.removeEventListener('abort', stop)
    }
  }

  /** After each target that stands for many branches come those that are open. */
  get targets(): readonly RoutedTarget[] {
    return this.#targets.flatMap((target): RoutedTarget[] =>
      target instanceof BranchTargets ? [target, ...target.openTargets] : [target],
    )
  }

  get phase(): ProxyPhase {
    return this.#phase
  }

  get unreadyWhenFull(): boolean {
    return this.#shared.settings.unreadyWhenFull
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
    return this.#shared.localTls?.caFile
  }

  /**
   * Takes over new settings: targets that stayed the same, and the sessions of all, are not
   * touched. Targets that are gone or changed take no more clients; a changed one hands its sockets
   * to its successor, so that no client finds a closed port. Reloads run one after another.
   * Errors: kind `config`, when a new target cannot be listened for, and kind `stopping`; then the
   * old settings stay in force.
   */
  reload(settings: ProxySettings): Promise<void> {
    const reloaded = this.#reloaded.then(() => this.#reload(settings))
    this.#reloaded = reloaded.catch(() => {})
    return reloaded
  }

  async #reload(written: ProxySettings): Promise<void> {
    this.#checkRunning()
    const settings = this.#branch?.settingsOn(written) ?? written
    const { log } = this.#options
    const clock = this.#clock
    const before = this.#shared
    const plan = planReload(this.#targets, before.settings, settings)
    const shared = await shareParts(settings, before, { ...this.#options, clock })
    try {
      await this.#startTargets(plan, shared)
    } catch (error) {
      if (shared.localTls !== before.localTls) shared.localTls?.close()
      for (const { ownListener } of plan.leaving)
        await ownListener.reopen().catch((lost) => log.error(lost))
      throw error
    }
    this.#shared = shared
    if (shared.localTls !== before.localTls) before.localTls?.close()
    for (const running of plan.leaving) this.#retire(running)

    const changes = { settings: changedSettings(before.settings, settings), ...changesOf(plan) }
    log.info(changes, 'settings taken over')
    for (const name of plan.needRestart) log.warn(`${name} changed: it counts after a restart`)
  }

  #checkRunning(): void {
    if (this.#phase !== 'stopping') return
    throw new ProxyError('stopping', 'the proxy is shutting down')
  }

  /**
   * Lets clients go: after `drain-delay`, new ones are refused and idle ones ended. A busy one is ended
   * after a tenth of `drain-timeout`, as soon as it is idle, and at `drain-timeout` in any case. True when none was cut short. Safe to call twice.
   */
  drain(): Promise<boolean> {
    this.#drained ??= this.#drain()
    return this.#drained
  }

  async #drain(): Promise<boolean> {
    this.#phase = 'stopping'
    const { drainDelayMs, drainTimeoutMs } = this.#shared.settings
    const clock = this.#clock
    const closing = this.#closing.signal
    const graceMs = Math.min(drainTimeoutMs / 10, MAX_DRAIN_GRACE_MS)
    const after = (delayMs: number, fn: () => void) => clock.after(delayMs, fn)
    const reason = (): Error => new Error('drain-timeout')
    try {
      if (drainDelayMs > 0) await pause(clock, drainDelayMs, closing).catch(() => {})
      const deadline = { clock, ms: drainTimeoutMs, reason, signals: [closing] }
      const drained = await withDeadline(deadline, (limit) =>
        Promise.all(this.#all.map((target) => target.drain(limit, { graceMs, after }))),
      )
      this.#inTime = drained.every(Boolean)
      return this.#inTime
    } finally {
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
    await this.#branch?.release()
    this.#shared.localTls?.close()
    await this.#workspaces.close()
    await this.#watch.close()
    this.#ended(this.#inTime)
  }

  async #takeBranch({ newBranch: plan, targets }: ProxySettings): Promise<void> {
    const target = targets.find(({ name }) => plan?.targets.includes(name))
    const signedIn = target && this.#workspaces.of(target)
    if (plan === undefined || target === undefined || signedIn === undefined) return
    await waitFor(this.#workspaces.opened(), this.#closing.signal)
    const { NewBranch } = await import('./new-branch.js') // most proxies need none
    const { log, newBranch: how, runGit } = this.#options
    const { startTimeoutMs: timeoutMs } = target
    const options = { how, runGit, plan, signedIn, timeoutMs, clock: this.#clock, log }
    this.#branch = await NewBranch.take(options, this.#closing.signal)
  }

  get #all(): RoutedTarget[] {
    return [...this.#targets, ...this.#retired]
  }

  #retire(running: RoutedTarget): void {
    this.#retired.add(running)
    void running.retire().then(() => this.#retired.delete(running))
  }

  /**
   * Starts all targets of `plan`, or none. Only when all have started do they take over parts of those
   * that leave.
   */
  async #startTargets(
    plan: Pick<ReloadPlan<RoutedTarget>, 'kept' | 'leaving' | 'starting'>,
    shared: SharedParts,
    onListening?: () => Promise<void>,
  ): Promise<void> {
    const started: RoutedTarget[] = []
    let router: TargetRouter | undefined
    try {
      for (const target of plan.starting) {
        started.push(this.#buildTarget(target, shared, () => router ?? this.#router))
      }
      const { targets: order } = shared.settings
      const all = [...plan.kept, ...started]
      const targets = order.flatMap(
        ({ name }) => all.find((each) => each.settings.name === name) ?? [],
      )
      router = new TargetRouter(shared.settings, targets, () => this.#router)
      // Asked before anything is waited for: a sign-in that fails is forgotten at once.
      const opened = this.#workspaces.opened()
      opened.catch(() => {})
      if (shared.settings.runConnectionTest) {
        await waitFor(
          Promise.all(started.map((each) => testConnection(each, this.#options.log))),
          this.#closing.signal,
        )
      }
      const leaving = plan.leaving.map(({ ownListener }) => ownListener)
      for (const { settings, ownListener } of started) {
        if (settings.reach !== 'name') await ownListener.start(leaving)
      }
      await onListening?.()
      await waitFor(opened, this.#closing.signal).finally(() => this.#checkRunning())
      this.#targets = targets
      this.#router = router
    } catch (error) {
      await Promise.all(started.map((running) => running.close()))
      throw error
    } finally {
      router = undefined
    }
    for (const running of started) {
      running.ownListener.takeOver()
      void this.#watch.prime(running)
    }
  }

  #buildTarget(
    target: TargetSettings,
    own: SharedParts,
    entrance: () => TargetRouter,
  ): RoutedTarget {
    return buildTarget({
      ...own,
      target,
      cancelRoutes: this.#cancelRoutes,
      buffers: this.#buffers,
      attempts: this.#attempts,
      workspaceTurns: this.#workspaceTurns,
      clock: this.#clock,
      log: this.#options.log,
      sessionObserver: this.#watch.sessionObserver,
      workspaces: this.#workspaces,
      watch: this.#watch,
      runGit: this.#options.runGit,
      shared: { entrance, listener: () => this.#sharedListener },
    })
  }

  get #sharedListener(): Listener | undefined {
    return this.#targets.find(({ settings }) => settings.reach === 'shared port')?.ownListener
  }
}

/** `run-connection-test`. Errors: that of the login, with the name of the target. */
async function testConnection(target: RoutedTarget, log: Log): Promise<void> {
  const { name } = target.settings
  try {
    await target.tryLogin()
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error
    const { message, hint, detail } = error
    // Not `config`: it is the answer of a test, and not wrong usage.
    const kind = error.kind === 'config' ? 'credential' : error.kind
    const what = `target "${name}" failed the connection test: ${message}`
    throw new ProxyError(kind, what, { cause: error, hint, detail })
  }
  log.info({ target: name }, 'connection test passed')
}
