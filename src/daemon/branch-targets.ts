/**
 * `projects/P/branches/*`: a target for every branch of a project. One is opened at its first client,
 * once for any number of them, and closed ten minutes after its last. A branch that does not exist
 * opens nothing, and floods of made-up names reach the workspace as a trickle.
 */

import { settingsOfBranch } from '../config/resolve/routing.js'
import type { TargetSettings } from '../config/resolve/settings.js'
import { SingleFlight, waitFor, withDeadline } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import { Turns } from '../core/turns.js'
import { NO_SHARED_CREDENTIALS } from '../credentials/credentials.js'
import { isGone } from '../databricks/lakebase/look-up.js'
import type { LakebaseDatabase } from '../databricks/lakebase/workspace.js'
import type { Listener } from '../listener/listener.js'
import { type DrainOptions, shuttingDown, TargetSessions } from '../listener/target-sessions.js'
import type { WorkspacePlace } from '../observe/observed-proxy.js'
import type { People } from '../session/people.js'
import type { ServingTarget } from '../session/route.js'
import type { ClientLogin } from '../upstream/attempt.js'
import type { Canceller } from '../upstream/cancel.js'
import { toWireText } from '../wire/frontend.js'
import { clientAuthOf, type Entrance, type PortOptions, peopleOf, portListener } from './port.js'
import type { RunningTarget } from './running-target.js'
import type { SignedIn } from './workspaces.js'

export interface BranchTargetsOptions extends PortOptions {
  signedIn: SignedIn
  entrance: () => Entrance
  sharedListener: () => Listener | undefined
  /** Builds the target of one branch, which calls `lastLeft` when its last session has left. */
  build: (target: TargetSettings, found: LakebaseDatabase, lastLeft: () => void) => RunningTarget
  /** Called when the target of a branch is closed: nothing of it need be remembered. */
  closed: (name: string) => void
}

interface OpenBranch {
  readonly running: RunningTarget
  cancelIdle: () => void
}

interface Missing {
  readonly error: ProxyError
  /** Monotonic, in ms. */
  readonly until: number
}

const MAX_OPEN = 100
const IDLE_MS = 10 * 60_000
const LOOK_UPS = { atOnce: 4, waiting: 64 }
const MISSING_MS = 5_000
const MAX_MISSING = 1_000
// How many names that do not exist are asked for in a minute; further ones have to wait.
const MAX_MISSES = 30
const MISSES_MS = 60_000

export class BranchTargets {
  readonly settings: TargetSettings
  /** It needs no credentials of its own, so they count as fresh. */
  readonly credentials = { state: 'fresh', expiresAt: undefined } as const
  readonly database = undefined
  readonly spares = undefined
  readonly wakingSeconds = undefined
  /** Always empty: sessions are those of a branch. */
  readonly sessions = new TargetSessions({ maxConnections: 0, maxConnectionsPerUser: 0 })
  /** Serves a client until its branch is open. */
  readonly serving: ServingTarget
  readonly #options: BranchTargetsOptions
  readonly #ownListener: Listener
  /** With `local-auth=databricks`: no branch is opened, nor looked for, for anyone else. */
  readonly #people: People | undefined
  /** The branch that has been without clients for longest comes first. */
  readonly #open = new Map<string, OpenBranch>()
  readonly #retired = new Set<RunningTarget>()
  readonly #opening = new SingleFlight((branch: string) => this.#openBranch(branch))
  readonly #lookUps = new Turns({ ...LOOK_UPS, full: tooMany })
  readonly #missing = new Map<string, Missing>()
  #misses = 0
  /** Monotonic, in ms. */
  #missesSince = Number.NEGATIVE_INFINITY
  readonly #closing = new AbortController()
  #stopping = false

  constructor(options: BranchTargetsOptions) {
    const { target } = options
    this.#options = options
    this.settings = target
    this.#ownListener = portListener(options, options.entrance)
    this.#people = peopleOf(options, {
      credentialsFor: () => NO_SHARED_CREDENTIALS, // they are of the branch that is opened
      closing: this.#closing.signal,
    })
    this.serving = {
      name: target.name,
      clientAuth: clientAuthOf(options),
      people: this.#people,
      admission: this.sessions,
      connector: { connect: () => Promise.reject(new Error('no branch is open')) },
      cancels: { register: () => () => {} },
      idleTimeoutMs: target.idleTimeoutMs,
    }
  }

  get identity(): string | undefined {
    return this.#options.signedIn.identity.held
  }

  get workspace(): WorkspacePlace | undefined {
    return this.#options.signedIn.place
  }

  /** Where clients reach it. */
  get listener(): Listener {
    return this.#options.sharedListener() ?? this.#ownListener
  }

  get ownListener(): Listener {
    return this.#ownListener
  }

  get openTargets(): readonly RunningTarget[] {
    return [...this.#open.values()].map(({ running }) => running)
  }

  get cancellers(): readonly Canceller[] {
    return this.openTargets.map(({ canceller }) => canceller)
  }

  /**
   * What serves clients that choose `name`: a branch, an endpoint of it, or a database of it, which opens
   * the branch itself, so that made-up databases open nothing. Errors: kind `route` (3D000) when it does not exist, `limit`
   * (53300) when too many are open or asked for, and those of the workspace.
   */
  async open(name: string, signal: AbortSignal): Promise<ServingTarget> {
    const [branch = name, isOfDatabase] = name.split('/databases/')
    const database = isOfDatabase && settingsOfBranch(this.settings, name).database
    const open = this.#open.get(branch)
    const running = open?.running ?? (await waitFor(this.#opening.join(branch), signal))
    if (running.sessions.admitted === 0) this.#closeWhenIdle(branch) // not before this client is in
    const { connector } = running.serving
    return {
      ...running.serving,
      connector: {
        connect: async (login, ...how) => {
          try {
            return await connector.connect(withDatabase(login, database), ...how)
          } catch (error) {
            throw isGone(error) ? this.#recordMissing(branch, error as ProxyError, running) : error
          }
        },
      },
    }
  }

  /** Asks ahead for what every branch needs. */
  async prime(): Promise<void> {
    await this.#options.signedIn.identity.get(this.#closing.signal)
  }

  /** Only asks ahead, since no client has chosen a branch to log in to. */
  tryLogin(): Promise<void> {
    return this.prime()
  }

  /** Opens no more branches, and drains those that are open. */
  async drain(deadline: AbortSignal, how: DrainOptions): Promise<boolean> {
    this.#refuse()
    const drained = [...this.openTargets, ...this.#retired].map((each) => each.drain(deadline, how))
    return (await Promise.all(drained)).every(Boolean)
  }

  /** Takes no more clients, and is closed when its last session has ended. */
  async retire(): Promise<void> {
    this.#ownListener.stopListening()
    const retireOpen = (): void => {
      for (const [branch, open] of this.#open) this.#retire(branch, open)
    }
    retireOpen()
    await this.#ownListener.lastGone() // a client on its way is served
    this.#refuse()
    retireOpen()
    await Promise.all([...this.#retired].map(({ sessions }) => sessions.lastGone()))
    await this.close()
  }

  async close(): Promise<void> {
    this.#refuse()
    this.#closing.abort(shuttingDown())
    this.#people?.close()
    const all = [...this.openTargets, ...this.#retired]
    for (const { cancelIdle } of this.#open.values()) cancelIdle()
    this.#open.clear()
    await Promise.all([this.#ownListener.close(), ...all.map((running) => running.close())])
  }

  #refuse(): void {
    this.#stopping = true
    this.sessions.refuse()
  }

  async #openBranch(branch: string): Promise<RunningTarget> {
    this.#checkAskable(branch)
    const { target, signedIn, clock, settings, build } = this.#options
    const one = settingsOfBranch(target, branch)
    const deadline = {
      clock,
      ms: settings.connectTimeoutMs,
      reason: () =>
        new ProxyError('credential', 'workspace did not answer in time: timeout expired', {
          hint: 'Run "lakebase-proxy doctor" to see which step is slow.',
        }),
      signals: [this.#closing.signal],
    }
    const found = await withDeadline(deadline, (limit) =>
      this.#lookUps.run(async () => {
        this.#checkAskable(branch)
        return signedIn.workspace.findDatabase(one.target, limit)
      }, limit),
    ).catch((error: unknown) => {
      if (isGone(error)) throw this.#recordMissing(branch, error as ProxyError)
      if (error instanceof ProxyError && error.kind === 'identity') this.#missed()
      throw error
    })
    if (this.#stopping) throw shuttingDown()
    this.#makeRoom()
    const running = build(one, found, () => this.#closeWhenIdle(branch))
    this.#open.set(branch, { running, cancelIdle: () => {} })
    this.#closeWhenIdle(branch)
    return running
  }

  /** Throws, when the workspace is not to be asked for this name now. */
  #checkAskable(branch: string): void {
    if (this.#stopping) throw shuttingDown()
    const now = this.#options.clock.monotonic()
    const missing = this.#missing.get(branch)
    if (missing !== undefined && now < missing.until) throw missing.error
    if (now - this.#missesSince >= MISSES_MS) this.#misses = 0
    if (this.#misses >= MAX_MISSES) throw tooMany()
  }

  /** The workspace has no such branch: that is remembered for a while. Returns what its clients read. */
  #recordMissing(branch: string, cause: ProxyError, running?: RunningTarget): ProxyError {
    const { message, hint, detail } = cause
    const error = new ProxyError('route', message, { cause, hint, detail })
    const now = this.#options.clock.monotonic()
    this.#missing.delete(branch)
    this.#missing.set(branch, { error, until: now + MISSING_MS })
    const [oldest] = this.#missing.keys()
    if (this.#missing.size > MAX_MISSING && oldest !== undefined) this.#missing.delete(oldest)
    this.#missed()
    const open = this.#open.get(branch)
    if (open !== undefined && open.running === running) this.#retire(branch, open)
    return error
  }

  #missed(): void {
    if (this.#misses === 0) this.#missesSince = this.#options.clock.monotonic()
    this.#misses++
  }

  /** Closes the open branch that has had no client for longest. Throws when all have clients. */
  #makeRoom(): void {
    if (this.#open.size < MAX_OPEN) return
    for (const [branch, open] of this.#open) {
      if (open.running.sessions.admitted > 0) continue
      this.#retire(branch, open)
      return
    }
    throw new ProxyError('limit', 'too many branches have clients', {
      detail: `At most ${MAX_OPEN} branches of "${this.settings.name}" are open at a time.`,
      hint: 'Close connections to branches that are not used.',
    })
  }

  #closeWhenIdle(branch: string): void {
    const open = this.#open.get(branch)
    if (open === undefined) return
    open.cancelIdle()
    // Now it is the last in the order of `#open`.
    this.#open.delete(branch)
    this.#open.set(branch, open)
    open.cancelIdle = this.#options.clock.after(IDLE_MS, () => {
      if (open.running.sessions.admitted === 0) this.#retire(branch, open)
    })
  }

  #retire(branch: string, open: OpenBranch): void {
    const { running } = open
    open.cancelIdle()
    if (this.#open.get(branch) === open) this.#open.delete(branch)
    this.#retired.add(running)
    void running.retire().then(() => {
      this.#retired.delete(running)
      if (!this.#open.has(branch)) this.#options.closed(running.settings.name)
    })
  }
}

/** The login with this database, where the client names none but libpq's default, its user name. */
function withDatabase(login: ClientLogin, database: string | undefined): ClientLogin {
  const { parameters } = login
  const asked = parameters.get('database') ?? ''
  const isNamed = asked !== '' && asked !== parameters.get('user')
  if (database === undefined || isNamed) return login
  return { ...login, parameters: new Map(parameters).set('database', toWireText(database)) }
}

function tooMany(): ProxyError {
  return new ProxyError('limit', 'too many branches are asked for that are not open', {
    hint: 'Try again in a minute. Names that do not exist use up the same allowance.',
  })
}
