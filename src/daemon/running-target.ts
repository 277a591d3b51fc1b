/** The parts that serve one target, built once and joined; started left to right, closed in reverse. */

import { roleOf } from '../config/resolve/login.js'
import type { Login, TargetSettings } from '../config/resolve/settings.js'
import { LinkedAbort } from '../core/deadline.js'
import type { CredentialObserver } from '../credentials/credential-cache.js'
import {
  type Credentials,
  fixedCredentials,
  NO_SHARED_CREDENTIALS,
  TokenCredentials,
} from '../credentials/credentials.js'
import { LookUp } from '../databricks/lakebase/look-up.js'
import type { LakebaseDatabase } from '../databricks/lakebase/workspace.js'
import { Endpoints } from '../endpoints/endpoints.js'
import type { Resolver } from '../endpoints/resolver.js'
import { Starter } from '../endpoints/starter.js'
import type { Listener } from '../listener/listener.js'
import { type DrainOptions, TargetSessions } from '../listener/target-sessions.js'
import type { WorkspacePlace } from '../observe/observed-proxy.js'
import type { People, PersonalLogin } from '../session/people.js'
import type { Route, ServingTarget } from '../session/route.js'
import type { ClientLogin } from '../upstream/attempt.js'
import { Canceller } from '../upstream/cancel.js'
import { Connector } from '../upstream/connect.js'
import { Spares } from '../upstream/spares.js'
import { UpstreamTls } from '../upstream/tls-context.js'
import { TERMINATE, toWireText } from '../wire/frontend.js'
import { loadPreparation } from '../wire/scram.js'
import { clientAuthOf, type Entrance, type PortOptions, peopleOf, portListener } from './port.js'
import type { SignedIn } from './workspaces.js'

export interface RunningTargetOptions extends PortOptions {
  /** Undefined for a static URL. */
  signedIn: SignedIn | undefined
  resolver: Resolver
  credentialObserver: CredentialObserver
  /** Where the clients of its port go; undefined: to this target. */
  entrance: (() => Entrance) | undefined
  /** For a target without a port of its own: the listener by which it is reached. */
  sharedListener: () => Listener | undefined
  /** The workspace's description of it, where that is known already. */
  found?: LakebaseDatabase | undefined
  lastLeft?: (() => void) | undefined
}

export class RunningTarget {
  readonly settings: TargetSettings
  readonly credentials: Credentials
  readonly sessions: TargetSessions
  readonly serving: ServingTarget
  readonly canceller: Canceller
  /** The listener of its own port. It never listens where another listener serves its clients. */
  readonly ownListener: Listener
  /** Undefined with `warm=0`. */
  readonly spares: Spares | undefined
  readonly #endpoints: Endpoints
  readonly #tls: UpstreamTls
  readonly #connector: Connector
  readonly #identity: LookUp<string> | undefined
  readonly #database: LookUp<LakebaseDatabase> | undefined
  readonly #signedIn: SignedIn | undefined
  /** Identifies clients with `local-auth=databricks`. */
  readonly #people: People | undefined
  readonly #sharedListener: () => Listener | undefined
  readonly #closing = new AbortController()

  constructor(options: RunningTargetOptions) {
    const { target, settings, signedIn, resolver, clock, log } = options
    const closing = this.#closing.signal
    this.settings = target
    this.#signedIn = signedIn
    this.#identity = signedIn?.identity
    const database =
      signedIn &&
      new LookUp(() => signedIn.workspace.findDatabase(target.target, closing), options.found)
    this.#database = database
    this.credentials = buildCredentials(options, database, closing)
    this.#people = buildPeople(options, database, closing)
    const endpoints = new Endpoints({ target, resolver, database, clock })
    this.#endpoints = endpoints
    const tls = new UpstreamTls(target, { clock, log })
    this.#tls = tls
    const { credentials } = this
    const { connectTimeoutMs, wakeTimeoutMs } = settings
    const upstream = { endpoints, credentials, tls, clock, log }
    const { warm: count, warmTtlMs: ttlMs } = target
    this.spares =
      count === 0
        ? undefined
        : new Spares({ ...upstream, count, ttlMs, timeoutMs: connectTimeoutMs })
    const connector = new Connector({
      ...upstream,
      connectTimeoutMs,
      wakeTimeoutMs,
      target,
      starter: buildStarter(options, database, closing),
      spares: this.spares,
    })
    this.#connector = connector
    this.canceller = new Canceller({
      target: target.name,
      dialOptions: { tls, clock, dialled: () => {} },
      resolve: (signal) => endpoints.resolve(signal),
      routes: options.cancelRoutes,
    })
    const { maxConnections, maxConnectionsPerUser, idleTimeoutMs } = target
    const limits = { maxConnections, maxConnectionsPerUser }
    this.sessions = new TargetSessions({ ...limits, lastLeft: options.lastLeft })
    const serving: ServingTarget = {
      name: target.name,
      clientAuth: clientAuthOf(options),
      people: this.#people,
      admission: this.sessions,
      connector,
      cancels: this.canceller,
      idleTimeoutMs,
    }
    this.serving = serving
    const alone: Entrance = {
      route: ({ parameters }) => this.routed({ parameters, role: parameters.get('user') }),
      cancellers: this.cancellers,
    }
    this.ownListener = portListener(options, options.entrance ?? (() => alone))
    this.#sharedListener = options.sharedListener
  }

  /** Where clients reach it. */
  get listener(): Listener {
    return this.#sharedListener() ?? this.ownListener
  }

  /** The signed-in identity's role, once known. */
  get identity(): string | undefined {
    return this.#identity?.held
  }

  /** Where it was signed in, once known; undefined for a static URL. */
  get workspace(): WorkspacePlace | undefined {
    return this.#signedIn?.place
  }

  /** The latest description by the workspace; undefined for a static URL. */
  get database(): LakebaseDatabase | undefined {
    return this.#database?.held
  }

  /** How long clients have waited for the server to wake; undefined when none waits. */
  get wakingSeconds(): number | undefined {
    return this.#connector.wakingSeconds
  }

  get cancellers(): readonly Canceller[] {
    return [this.canceller]
  }

  routed(login: ClientLogin): Route {
    return { target: this.serving, login }
  }

  /** The description by the workspace, which is asked when it is not known. */
  async lookUp(signal: AbortSignal): Promise<LakebaseDatabase | undefined> {
    return this.#database?.get(signal)
  }

  /** Asks ahead for identity, endpoint, address and token, so that the first client need not wait. */
  async prime(): Promise<void> {
    this.#tls.load()
    const { signal } = this.#closing
    if (this.#people !== undefined) return void (await this.#endpoints.resolve(signal))
    // With user=client no session needs it; but it is the role that is most likely to be meant.
    const likely = this.settings.login.as === 'client' ? this.#identity?.get(signal) : undefined
    likely?.catch(() => {})
    await Promise.all([this.#endpoints.resolve(signal), this.credentials.get(signal)])
  }

  /**
   * Logs in once and leaves again, with the patience that clients get: a branch that was just made
   * refuses logins for a while. Errors: those of a client.
   */
  async tryLogin(): Promise<void> {
    const limit = new LinkedAbort(this.#closing.signal)
    try {
      const user = (await this.#identity?.get(limit.signal)) ?? ''
      const role = toWireText(user)
      const login = { parameters: new Map([['user', role]]), role }
      const progress = { enter() {}, retrying() {} }
      const { upstream } = await this.#connector.connect(login, progress, limit)
      upstream.socket.on('error', () => {})
      upstream.socket.end(TERMINATE)
    } finally {
      limit.release()
    }
  }

  drain(deadline: AbortSignal, how: DrainOptions): Promise<boolean> {
    this.spares?.close()
    return this.sessions.drain(deadline, how)
  }

  /** Takes no more clients, holds no more token, and is closed when its last session has ended. */
  async retire(): Promise<void> {
    this.ownListener.stopListening()
    this.spares?.close()
    this.credentials.close()
    this.#people?.close()
    await this.ownListener.lastGone()
    await this.sessions.lastGone()
    await this.close()
  }

  async close(): Promise<void> {
    this.spares?.close()
    await Promise.all([this.ownListener.close(), this.sessions.close()])
    this.#closing.abort()
    this.credentials.close()
    this.#people?.close()
  }
}

function buildCredentials(
  { target, signedIn, clock, credentialObserver }: RunningTargetOptions,
  database: LookUp<LakebaseDatabase> | undefined,
  closing: AbortSignal,
): Credentials {
  if (target.target.kind === 'static') {
    const { password } = target.target
    loadPreparation(password.reveal()).catch(() => {}) // the login that needs it says so
    return fixedCredentials({ user: roleOf(target.login, undefined), password, method: 'password' })
  }
  // Each client brings its own: with the proxy's, none can log in.
  if (target.login.as === 'person') return NO_SHARED_CREDENTIALS
  const { workspace, identity } = signedIn!
  const observer = credentialObserver
  return new TokenCredentials({
    target,
    workspace,
    identity,
    database: database!,
    clock,
    closing,
    observer,
  })
}

function buildPeople(
  options: RunningTargetOptions,
  database: LookUp<LakebaseDatabase> | undefined,
  closing: AbortSignal,
): People | undefined {
  const { target, clock, credentialObserver: observer } = options
  const credentialsFor = ({ workspace, name, group }: PersonalLogin): Credentials => {
    const login: Login = group === undefined ? { as: 'identity' } : { as: 'group', name: group }
    return new TokenCredentials({
      target: { ...target, login },
      identity: new LookUp(async () => name),
      ...{ workspace, database: database!, clock, closing, observer },
    })
  }
  return peopleOf(options, { credentialsFor, closing })
}

function buildStarter(
  { target, signedIn, clock, log }: RunningTargetOptions,
  database: LookUp<LakebaseDatabase> | undefined,
  closing: AbortSignal,
): Starter | undefined {
  if (!target.autoStart || signedIn === undefined || database === undefined) return undefined
  const { workspace } = signedIn
  return new Starter({ database, workspace, timeoutMs: target.startTimeoutMs, clock, log, closing })
}
