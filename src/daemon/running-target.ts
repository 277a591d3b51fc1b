/** The parts that serve one target, built once and joined; started left to right, closed in reverse. */

import { BlockList } from 'node:net'

import { roleOf } from '../config/resolve/login.js'
import type { ProxySettings, TargetSettings } from '../config/resolve/settings.js'
import type { Clock } from '../core/clock.js'
import type { Log } from '../core/log.js'
import type { CredentialObserver } from '../credentials/credential-cache.js'
import {
  type Credentials,
  NativeCredentials,
  TokenCredentials,
} from '../credentials/credentials.js'
import { LookUp } from '../databricks/lakebase/look-up.js'
import type { LakebaseDatabase } from '../databricks/lakebase/workspace.js'
import { Endpoints } from '../endpoints/endpoints.js'
import type { Resolver } from '../endpoints/resolver.js'
import { Starter } from '../endpoints/starter.js'
import { Listener } from '../listener/listener.js'
import type { LocalTls } from '../listener/local-tls.js'
import type { WorkspacePlace } from '../observe/observed-proxy.js'
import { ClientAuth } from '../session/client-auth.js'
import type { PasswordAttempts } from '../session/password-attempts.js'
import type { ReadBuffers } from '../session/read-buffers.js'
import type { SessionObserver } from '../session/session-view.js'
import { type CancelRoutes, Cancels } from '../upstream/cancel.js'
import { Connector } from '../upstream/connect.js'
import { Spares } from '../upstream/spares.js'
import { UpstreamTls } from '../upstream/tls-context.js'
import { TERMINATE, toWireText } from '../wire/frontend.js'
import type { SignedIn } from './workspaces.js'

export interface RunningTargetOptions {
  target: TargetSettings
  settings: ProxySettings
  /** Undefined for a static URL. */
  signedIn: SignedIn | undefined
  resolver: Resolver
  localTls: LocalTls | undefined
  /** Of all targets: a session that a reload has left behind is cancelled at its successor's port. */
  cancelRoutes: CancelRoutes
  attempts: PasswordAttempts
  buffers: ReadBuffers
  clock: Clock
  log: Log
  sessionObserver: SessionObserver
  credentialObserver: CredentialObserver
}

export class RunningTarget {
  readonly settings: TargetSettings
  readonly credentials: Credentials
  readonly listener: Listener
  /** Undefined with `warm=0`. */
  readonly spares: Spares | undefined
  readonly #endpoints: Endpoints
  readonly #tls: UpstreamTls
  readonly #connector: Connector
  readonly #identity: LookUp<string> | undefined
  readonly #database: LookUp<LakebaseDatabase> | undefined
  readonly #signedIn: SignedIn | undefined
  readonly #closing = new AbortController()

  constructor(options: RunningTargetOptions) {
    const { target, settings, signedIn, resolver, attempts, clock, log } = options
    const closing = this.#closing.signal
    this.settings = target
    this.#signedIn = signedIn
    this.#identity = signedIn?.identity
    const database =
      signedIn && new LookUp(() => signedIn.workspace.findDatabase(target.target, closing))
    this.#database = database
    this.credentials = buildCredentials(options, database, closing)
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
    const cancels = new Cancels({
      target: target.name,
      dialOptions: { tls, clock, dialled: () => {} },
      resolve: (signal) => endpoints.resolve(signal),
      routes: options.cancelRoutes,
      clock,
    })
    this.listener = new Listener({
      ...target.listen,
      maxConnections: target.maxConnections,
      session: {
        target: target.name,
        localTls: options.localTls,
        requireTls: !settings.unsafeListen,
        loadBalancers: loadBalancers(target.proxyProtocolFrom),
        clientAuth:
          target.localAuth === 'password' && settings.localPassword !== undefined
            ? new ClientAuth({ password: settings.localPassword, attempts, clock, log })
            : undefined,
        connector,
        cancels,
        clock,
        handshakeTimeoutMs: settings.handshakeTimeoutMs,
        idleTimeoutMs: target.idleTimeoutMs,
        observer: options.sessionObserver,
        buffers: options.buffers,
      },
    })
  }

  /** The signed-in identity's role, once known. */
  get identity(): string | undefined {
    return this.#identity?.held
  }

  /** Where it was signed in, once known; undefined for a static URL. */
  get workspace(): WorkspacePlace | undefined {
    return this.#signedIn?.place
  }

  /** As the workspace described it last; undefined for a static URL. */
  get database(): LakebaseDatabase | undefined {
    return this.#database?.held
  }

  /** How long clients have waited for the server to wake; undefined when none waits. */
  get wakingSeconds(): number | undefined {
    return this.#connector.wakingSeconds
  }

  /** Asks ahead for identity, endpoint, address and token, so that the first client need not wait. */
  async prime(): Promise<void> {
    this.#tls.load()
    const { signal } = this.#closing
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
    const { signal } = this.#closing
    const user = (await this.#identity?.get(signal)) ?? ''
    const parameters = new Map([['user', toWireText(user)]])
    const startup = {
      type: 'StartupMessage',
      protocolMinor: 0,
      parameters,
      protocolOptions: [],
    } as const
    const progress = { enter() {}, retrying() {} }
    const { upstream } = await this.#connector.connect(startup, progress, signal)
    upstream.socket.on('error', () => {})
    upstream.socket.end(TERMINATE)
  }

  /** As the listener's: spare connections go first. */
  drain(...how: Parameters<Listener['drain']>): Promise<boolean> {
    this.spares?.close()
    return this.listener.drain(...how)
  }

  /** Takes no more clients, holds no more token, and is closed when its last session has ended. */
  async retire(): Promise<void> {
    this.listener.stopListening()
    this.spares?.close()
    this.credentials.close()
    await this.listener.lastGone()
    await this.close()
  }

  async close(): Promise<void> {
    this.spares?.close()
    await this.listener.close()
    this.#closing.abort()
    this.credentials.close()
  }
}

function buildCredentials(
  { target, signedIn, clock, credentialObserver }: RunningTargetOptions,
  database: LookUp<LakebaseDatabase> | undefined,
  closing: AbortSignal,
): Credentials {
  if (target.target.kind === 'static') {
    return new NativeCredentials(roleOf(target.login, undefined), target.target.password)
  }
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

function buildStarter(
  { target, signedIn, clock, log }: RunningTargetOptions,
  database: LookUp<LakebaseDatabase> | undefined,
  closing: AbortSignal,
): Starter | undefined {
  if (!target.autoStart || signedIn === undefined || database === undefined) return undefined
  const { workspace } = signedIn
  return new Starter({ database, workspace, timeoutMs: target.startTimeoutMs, clock, log, closing })
}

function loadBalancers(networks: TargetSettings['proxyProtocolFrom']): BlockList | undefined {
  if (networks === undefined) return undefined
  const list = new BlockList()
  for (const { address, prefix } of networks) {
    list.addSubnet(address, prefix, address.includes(':') ? 'ipv6' : 'ipv4')
  }
  return list
}
