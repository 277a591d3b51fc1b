/**
 * `follow-git`: one target whose clients go to the branch that belongs to what is checked out when they
 * come. Each branch has parts of its own, opened at its first client and closed ten minutes after its
 * last; sessions that are open stay where they are. A branch that this tool has made for a git branch
 * is kept alive while it is checked out or has sessions.
 */

import { BranchLife, LONG_LIVES_MS } from '../branches/branch-life.js'
import type { GitBranches, GitChoice } from '../branches/git-branches.js'
import type { TargetSettings } from '../config/resolve/settings.js'
import { SingleFlight, waitFor, withDeadline } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import type { Credentials } from '../credentials/credentials.js'
import { isGone } from '../databricks/lakebase/look-up.js'
import type { LakebaseDatabase } from '../databricks/lakebase/workspace.js'
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
  branches: (closing: AbortSignal) => Promise<GitBranches>
  /** Where the clients of its port go; undefined: to this target. */
  entrance: (() => Entrance) | undefined
  sharedListener: () => Listener | undefined
  /** Told when the next client goes to another branch than before. */
  moved: () => void
  /** Builds the parts of one branch. */
  build: (target: TargetSettings) => RunningTarget
}

interface OpenHow {
  readonly settings: TargetSettings
  /** `projects/P/branches/B`; undefined: the default branch. */
  readonly branch?: string
  readonly isReadOnly?: boolean
}

interface Opened {
  readonly key: string
  readonly isReadOnly: boolean
  readonly running: RunningTarget
  readonly serving: ServingTarget
  life: BranchLife | undefined
  sessions: number
  cancelClose: () => void
}

/** Where the next client goes, as far as it was looked at. */
interface Now {
  /** Undefined: to a branch that is not made yet, or to none. */
  readonly opened: Opened | undefined
  readonly refusal: ProxyError | undefined
}

const CLOSE_AFTER_MS = 10 * 60_000
const LOOK_AGAIN_MS = 5_000

export class GitTarget implements Entrance {
  readonly settings: TargetSettings
  /** Of all branches. */
  readonly sessions: TargetSessions
  /** Until a client's branch is known. */
  readonly serving: ServingTarget
  /** It may never listen: then clients come in by another. */
  readonly ownListener: Listener
  readonly #options: GitTargetOptions
  readonly #branches: Promise<GitBranches>
  /** The parts of the default branch, which stay. */
  readonly #default: Opened
  readonly #open = new Map<string, Opened>()
  /** Those too whose branch is gone, until they are closed. */
  readonly #all = new Set<Opened>()
  readonly #looking = new SingleFlight(() => this.#look())
  readonly #closing = new AbortController()
  /** Monotonic. */
  #failedAt = Number.NEGATIVE_INFINITY
  #lastSeen: Now

  constructor(options: GitTargetOptions) {
    const { target, branches } = options
    this.#options = options
    this.settings = target
    const { maxConnections, maxConnectionsPerUser, idleTimeoutMs } = target
    this.sessions = new TargetSessions({ maxConnections, maxConnectionsPerUser })
    this.#branches = branches(this.#closing.signal)
    this.#default = this.#opened('', { settings: { ...target, followGit: undefined } })
    this.#lastSeen = { opened: this.#default, refusal: undefined }
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
    const { opened, refusal } = this.#now
    return { isKnown: opened !== undefined, isReadOnly: opened?.isReadOnly === true, refusal }
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
    if (this.#now.refusal !== undefined) throw this.#now.refusal
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
    await Promise.all([...this.#all].map((opened) => this.#close(opened)))
  }

  get #now(): Now {
    return this.#lastSeen
  }

  set #now(now: Now) {
    const hasMoved = now.opened !== this.#lastSeen.opened
    this.#lastSeen = now
    if (hasMoved) this.#options.moved()
  }

  get #shown(): RunningTarget {
    return (this.#now.opened ?? this.#default).running
  }

  /** What serves a client that comes now. Errors: kind `target` (3D000), and those of the workspace. */
  async #choose(signal: AbortSignal): Promise<ServingTarget> {
    const { clock, target } = this.#options
    const { startTimeoutMs: ms } = target
    const reason = (): ProxyError =>
      new ProxyError('starting', `the branch was not made in ${ms / 1000} s`, {
        hint: 'Try again, or wait longer with --start-timeout.',
      })
    const opened = await withDeadline({ clock, ms, reason, signals: [signal] }, async (limit) => {
      const branches = await this.#branches
      return waitFor(this.#openFor(await branches.choose(limit)), limit)
    })
    this.#now = { opened, refusal: undefined }
    return opened.serving
  }

  async #look(): Promise<void> {
    const branches = await this.#branches
    const found = await branches.look(this.#closing.signal)
    this.#now =
      found.is === 'none'
        ? { opened: undefined, refusal: found.refusal }
        : { opened: await this.#openFor(found), refusal: undefined }
    // Shown to people once it is known; what stands in its way, `prime` tells.
    this.#shown.lookUp(this.#closing.signal).catch(this.#lookFailed)
  }

  /** A page that is open, and a script that waits, ask every moment: a workspace that fails has a pause. */
  #lookFailed = (): void => {
    this.#failedAt = this.#options.clock.monotonic()
  }

  async #openFor(choice: GitChoice): Promise<Opened> {
    const { target } = this.#options
    if (choice.is === 'default' && !choice.isReadOnly) return this.#default
    if (choice.is === 'default') {
      const database = await this.#default.running.lookUp(this.#closing.signal)
      const readOnly = target.readOnly || database?.readOnlyHost !== undefined
      const settings = { ...target, followGit: undefined, readOnly }
      return this.#parts('read-only', { settings, isReadOnly: true })
    }
    const { name, endsAt } = choice
    const [, project = '', , branch = ''] = name.split('/')
    const onBranch = { kind: 'autoscaling', project, branch } as const
    const settings = { ...target, target: onBranch, followGit: undefined }
    const opened = this.#parts(name, { settings, branch: name })
    if (endsAt !== undefined) await this.#keepAlive(opened, name, endsAt)
    return opened
  }

  /** Those that are open, or new ones. */
  #parts(key: string, how: OpenHow): Opened {
    if (this.#closing.signal.aborted) throw shuttingDown()
    const opened = this.#open.get(key) ?? this.#opened(key, how)
    this.#open.set(key, opened)
    this.#closeLater(opened)
    return opened
  }

  #opened(key: string, { settings, branch, isReadOnly = false }: OpenHow): Opened {
    const running = this.#options.build(settings)
    const { sessions } = this
    const { connector } = running.serving
    const admission: Admission = {
      check: () => sessions.check(),
      enter: (session) => {
        sessions.enter(session)
        opened.sessions += 1
      },
      enterAs: (session, person) => sessions.enterAs(session, person),
      leave: (session) => {
        sessions.leave(session)
        opened.sessions -= 1
        this.#closeLater(opened)
      },
    }
    const connect: ServingTarget['connector']['connect'] = async (login, ...rest) => {
      try {
        return await connector.connect(isReadOnly ? readOnly(login) : login, ...rest)
      } catch (error) {
        if (branch !== undefined && isGone(error)) await this.#isGone(opened, branch)
        throw error
      }
    }
    const opened: Opened = {
      ...{ key, running, isReadOnly, life: undefined, sessions: 0, cancelClose() {} },
      serving: { ...running.serving, admission, connector: { connect } },
    }
    this.#all.add(opened)
    return opened
  }

  async #keepAlive(opened: Opened, name: string, endsAt: number): Promise<void> {
    const { signedIn, clock, log } = this.#options
    const branches = await signedIn.workspace.branches()
    if (opened.life !== undefined || this.#open.get(opened.key) !== opened) return
    const leftMs = endsAt - clock.now()
    opened.life = new BranchLife({
      ...{ branches, name, leftMs, livesMs: LONG_LIVES_MS, clock, log },
    })
  }

  /** The branch is not there any more: it is looked for again. */
  async #isGone(opened: Opened, branch: string): Promise<void> {
    const branches = await this.#branches
    branches.forget(branch)
    opened.life?.end()
    if (this.#open.get(opened.key) === opened) this.#open.delete(opened.key)
    if (this.#now.opened === opened) this.#now = { opened: undefined, refusal: undefined }
  }

  #closeLater(opened: Opened): void {
    opened.cancelClose()
    if (opened === this.#default || opened.sessions > 0) return
    opened.cancelClose = this.#options.clock.after(CLOSE_AFTER_MS, () => {
      void this.look().then(() => {
        if (opened.sessions > 0) return
        if (this.#now.opened === opened) this.#closeLater(opened)
        else void this.#close(opened)
      })
    })
  }

  async #close(opened: Opened): Promise<void> {
    opened.cancelClose()
    opened.life?.end()
    if (this.#open.get(opened.key) === opened) this.#open.delete(opened.key)
    this.#all.delete(opened)
    await opened.running.close()
  }
}

/** The server refuses to write, unless the client asks it to: a read-only host does not. */
function readOnly(login: ClientLogin): ClientLogin {
  const parameters = new Map(login.parameters)
  parameters.set('default_transaction_read_only', toWireText('on'))
  return { ...login, parameters }
}
