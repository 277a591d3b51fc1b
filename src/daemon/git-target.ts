/**
 * `follow-git`: one target whose clients go to the branch that belongs to what is checked out when they
 * come. Each branch has parts of its own, opened at its first client and closed ten minutes after its
 * last; sessions that are open stay where they are. A branch that this tool has made for a git branch
 * is kept alive while it is checked out or has sessions.
 */

import { BranchLife, LONG_LIVES_MS } from '../branches/branch-life.js'
import { GitBranches, type GitChoice } from '../branches/git-branches.js'
import { repositoryOf } from '../branches/repository.js'
import type { TargetSettings } from '../config/resolve/settings.js'
import { branchTarget } from '../config/schema/target-text.js'
import { SingleFlight, waitFor, withDeadline } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import type { Credentials } from '../credentials/credentials.js'
import { isGone } from '../databricks/lakebase/look-up.js'
import type { BranchRef, LakebaseDatabase } from '../databricks/lakebase/workspace.js'
import type { RunCommand } from '../databricks/sign-in/run-command.js'
import type { Listener } from '../listener/listener.js'
import { type DrainOptions, shuttingDown, TargetSessions } from '../listener/target-sessions.js'
import type { Following, WorkspacePlace } from '../observe/observed-proxy.js'
import type { Admission, Route, ServingTarget } from '../session/route.js'
import type { ClientLogin } from '../upstream/attempt.js'
import type { Canceller } from '../upstream/cancel.js'
import type { Spares } from '../upstream/spares.js'
import { type StartupMessage, toWireText } from '../wire/frontend.js'
import { clientAuthOf, type Entrance, type PortOptions, portListener } from './port.js'
import type { RunningTarget } from './running-target.js'
import type { SignedIn } from './workspaces.js'

export interface GitTargetOptions extends PortOptions {
  signedIn: SignedIn
  runGit: RunCommand | undefined
  /** Where the clients of its port go; undefined: to this target. */
  entrance: (() => Entrance) | undefined
  sharedListener: () => Listener | undefined
  /** Called when the next client goes to another branch than before. */
  moved: () => void
  build: (target: TargetSettings) => RunningTarget
}

interface OpenBranch {
  /** `projects/P/branches/B`, or one of those below. */
  readonly key: string
  readonly isReadOnly: boolean
  readonly running: RunningTarget
  readonly serving: ServingTarget
  life: BranchLife | undefined
  sessionCount: number
  cancelIdle: () => void
}

/** Where the next client goes, as far as it was looked at. */
interface Destination {
  /** Undefined: to a branch that is not made yet, or to none. */
  readonly open: OpenBranch | undefined
  readonly refusal: ProxyError | undefined
}

/** The keys of the default branch. */
const DEFAULT = 'default'
const READ_ONLY = 'read-only'

const IDLE_MS = 10 * 60_000
const LOOK_AGAIN_MS = 5_000

export class GitTarget implements Entrance {
  readonly settings: TargetSettings
  /** The sessions of all branches. */
  readonly sessions: TargetSessions
  /** Serves a client until its branch is known. */
  readonly serving: ServingTarget
  /** The listener of its own port. It never listens where another listener serves its clients. */
  readonly ownListener: Listener
  readonly #options: GitTargetOptions
  readonly #branches: GitBranches
  /** The parts of the default branch, which stay. */
  readonly #default: OpenBranch
  readonly #openByKey = new Map<string, OpenBranch>()
  /** The same, and those whose branch is gone, until they are closed. */
  readonly #all = new Set<OpenBranch>()
  readonly #looking = new SingleFlight(() => this.#look())
  readonly #closing = new AbortController()
  /** When looking failed last. Monotonic, in ms. */
  #failedAt = Number.NEGATIVE_INFINITY
  #destination: Destination

  constructor(options: GitTargetOptions) {
    const { target, signedIn, runGit, clock, log } = options
    const { signal: closing } = this.#closing
    const followGit = target.followGit!
    this.#options = options
    this.settings = target
    const { maxConnections, maxConnectionsPerUser, idleTimeoutMs } = target
    this.sessions = new TargetSessions({ maxConnections, maxConnectionsPerUser })
    const owner = async () => ({
      identity: await signedIn.identity.get(closing),
      repository: await repositoryOf(followGit.folder, runGit, closing),
    })
    const { workspace } = signedIn
    this.#branches = new GitBranches({ ...followGit, workspace, owner, clock, log, closing })
    this.#default = this.#build(DEFAULT, { ...target, followGit: undefined })
    this.#destination = { open: this.#default, refusal: undefined }
    this.serving = {
      name: target.name,
      clientAuth: clientAuthOf(options),
      admission: this.sessions,
      connector: { connect: () => Promise.reject(new Error('no branch is chosen')) },
      cancels: { register: () => () => {} },
      idleTimeoutMs,
    }
    this.ownListener = portListener(options, options.entrance ?? (() => this))
  }

  get identity(): string | undefined {
    return this.#options.signedIn.identity.held
  }

  get workspace(): WorkspacePlace | undefined {
    return this.#options.signedIn.place
  }

  get credentials(): Credentials {
    return this.#shown.credentials
  }

  get database(): LakebaseDatabase | undefined {
    return this.#shown.database
  }

  get spares(): Spares | undefined {
    return this.#shown.spares
  }

  get wakingSeconds(): number | undefined {
    return this.#shown.wakingSeconds
  }

  /** Where the next client goes, as far as it was looked at. */
  get following(): Following {
    const { open, refusal } = this.#destination
    return { isKnown: open !== undefined, isReadOnly: open?.isReadOnly === true, refusal }
  }

  /** Where clients reach it. */
  get listener(): Listener {
    return this.#options.sharedListener() ?? this.ownListener
  }

  get cancellers(): readonly Canceller[] {
    return [...this.#all].map(({ running }) => running.canceller)
  }

  route({ parameters }: StartupMessage): Route {
    return this.routed({ parameters, role: parameters.get('user') })
  }

  routed(login: ClientLogin): Route {
    return { target: this.serving, login, open: (signal) => this.#choose(signal) }
  }

  /** Looks where the next client goes, and makes nothing for it. Never rejects. */
  async look(): Promise<void> {
    if (this.#options.clock.monotonic() - this.#failedAt < LOOK_AGAIN_MS) return
    await this.#looking.join().catch(this.#lookFailed)
  }

  /** Asks ahead for what the next client will need. */
  async prime(): Promise<void> {
    await this.#looking.join()
    await this.#shown.prime()
  }

  /** Where the next client goes. Errors: those of a client. */
  async tryLogin(): Promise<void> {
    await this.#looking.join()
    const { refusal } = this.#destination
    if (refusal !== undefined) throw refusal
    await this.#shown.tryLogin()
  }

  drain(deadline: AbortSignal, how: DrainOptions): Promise<boolean> {
    for (const { running } of this.#all) running.spares?.close()
    return this.sessions.drain(deadline, how)
  }

  /** Takes no more clients, and is closed when its last session has ended. */
  async retire(): Promise<void> {
    this.ownListener.stopListening()
    await this.ownListener.lastGone()
    await this.sessions.lastGone()
    await this.close()
  }

  async close(): Promise<void> {
    await Promise.all([this.ownListener.close(), this.sessions.close()])
    this.#closing.abort(shuttingDown())
    await Promise.all([...this.#all].map((open) => this.#close(open)))
  }

  #moveTo(destination: Destination): void {
    const hasMoved = destination.open !== this.#destination.open
    this.#destination = destination
    if (hasMoved) this.#options.moved()
  }

  get #shown(): RunningTarget {
    return (this.#destination.open ?? this.#default).running
  }

  /**
   * What serves a client that comes now. Errors: kind `target` with SQLSTATE 3D000, and those of the
   * workspace.
   */
  async #choose(signal: AbortSignal): Promise<ServingTarget> {
    const { clock, target } = this.#options
    const { startTimeoutMs: ms } = target
    const reason = (): ProxyError =>
      new ProxyError('starting', `the branch was not found or created in ${ms / 1000} s`, {
        hint: 'Try again, or wait longer with --start-timeout.',
      })
    const open = await withDeadline({ clock, ms, reason, signals: [signal] }, async (limit) =>
      waitFor(this.#openChoice(await this.#branches.choose(limit)), limit),
    )
    this.#moveTo({ open, refusal: undefined })
    return open.serving
  }

  async #look(): Promise<void> {
    const found = await this.#branches.look(this.#closing.signal)
    this.#moveTo(
      found.is === 'none'
        ? { open: undefined, refusal: found.refusal }
        : { open: await this.#openChoice(found), refusal: undefined },
    )
    // Shown to people once it is known; what stands in its way, `prime` tells.
    this.#shown.lookUp(this.#closing.signal).catch(this.#lookFailed)
  }

  /** The workspace fails: pages and scripts, which ask all the time, wait before they ask again. */
  #lookFailed = (): void => {
    this.#failedAt = this.#options.clock.monotonic()
  }

  async #openChoice(choice: GitChoice): Promise<OpenBranch> {
    const { target } = this.#options
    if (choice.is === 'default' && !choice.isReadOnly) return this.#default
    if (choice.is === 'default') {
      const database = await this.#default.running.lookUp(this.#closing.signal)
      const readOnly = target.readOnly || database?.readOnlyHost !== undefined
      const settings = { ...target, followGit: undefined, readOnly }
      return this.#openOrBuild(READ_ONLY, settings)
    }
    const { name, uid, endsAt } = choice
    const settings = { ...target, target: branchTarget(name), followGit: undefined }
    const open = this.#openOrBuild(name, settings)
    if (endsAt !== undefined) await this.#keepAlive(open, { name, uid }, endsAt)
    return open
  }

  /** The branch that is open under this key, or its parts built now. */
  #openOrBuild(key: string, settings: TargetSettings): OpenBranch {
    if (this.#closing.signal.aborted) throw shuttingDown()
    const open = this.#openByKey.get(key) ?? this.#build(key, settings)
    this.#openByKey.set(key, open)
    this.#closeWhenIdle(open)
    return open
  }

  #build(key: string, settings: TargetSettings): OpenBranch {
    const isReadOnly = key === READ_ONLY
    const running = this.#options.build(settings)
    const { sessions } = this
    const { connector } = running.serving
    const admission: Admission = {
      check: () => sessions.check(),
      enter: (session) => {
        sessions.enter(session)
        open.sessionCount += 1
      },
      enterAs: (session, person) => sessions.enterAs(session, person),
      leave: (session) => {
        sessions.leave(session)
        open.sessionCount -= 1
        this.#closeWhenIdle(open)
      },
    }
    const connect: ServingTarget['connector']['connect'] = async (login, ...rest) => {
      try {
        return await connector.connect(isReadOnly ? readOnly(login) : login, ...rest)
      } catch (error) {
        if (key !== DEFAULT && !isReadOnly && isGone(error)) this.#forgetBranch(open)
        throw error
      }
    }
    const open: OpenBranch = {
      ...{ key, running, isReadOnly, life: undefined, sessionCount: 0, cancelIdle() {} },
      serving: { ...running.serving, admission, connector: { connect } },
    }
    this.#all.add(open)
    return open
  }

  async #keepAlive(open: OpenBranch, branch: BranchRef, endsAt: number): Promise<void> {
    const { signedIn, clock, log } = this.#options
    const branches = await signedIn.workspace.branches()
    if (open.life !== undefined && open.life.branch.uid === branch.uid) return
    if (this.#openByKey.get(open.key) !== open) return
    open.life?.end() // of an earlier branch with the name
    const leftMs = endsAt - clock.now()
    open.life = new BranchLife({
      ...{ branches, branch, leftMs, livesMs: LONG_LIVES_MS, clock, log },
    })
  }

  /** The workspace no longer has the branch: the next client looks for it again. */
  #forgetBranch(open: OpenBranch): void {
    this.#branches.forget(open.key)
    open.life?.end()
    if (this.#openByKey.get(open.key) === open) this.#openByKey.delete(open.key)
    if (this.#destination.open === open) this.#moveTo({ open: undefined, refusal: undefined })
  }

  #closeWhenIdle(open: OpenBranch): void {
    open.cancelIdle()
    if (open === this.#default || open.sessionCount > 0) return
    open.cancelIdle = this.#options.clock.after(IDLE_MS, () => {
      void this.look().then(() => {
        if (open.sessionCount > 0) return
        if (this.#destination.open === open) this.#closeWhenIdle(open)
        else void this.#close(open)
      })
    })
  }

  async #close(open: OpenBranch): Promise<void> {
    open.cancelIdle()
    open.life?.end()
    if (this.#openByKey.get(open.key) === open) this.#openByKey.delete(open.key)
    this.#all.delete(open)
    await open.running.close()
  }
}

/** The server refuses to write, unless the client asks it to: a read-only host does not. */
function readOnly(login: ClientLogin): ClientLogin {
  const parameters = new Map(login.parameters)
  parameters.set('default_transaction_read_only', toWireText('on'))
  return { ...login, parameters }
}
