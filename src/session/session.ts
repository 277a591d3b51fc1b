/**
 * One client connection from its first byte to its last. The order of the lines is the protocol;
 * the phase is only for the people watching.
 */

import { randomUUID } from 'node:crypto'
import type { BlockList, Socket } from 'node:net'
import type { SecureContext } from 'node:tls'
import type { Clock } from '../core/clock.js'
import { LinkedAbort } from '../core/deadline.js'
import type { ProxyError } from '../core/errors.js'
import { plainText } from '../core/plain-text.js'
import type { ConnectProgress } from '../upstream/attempt.js'
import type { Cancels } from '../upstream/cancel.js'
import type { Connected } from '../upstream/open.js'
import { negotiateProtocolVersion } from '../wire/backend.js'
import type { CancelRequest, StartupMessage } from '../wire/frontend.js'
import {
  clientName,
  handshakeTimeout,
  hostAndPort,
  isFromHere,
  isReplication,
  MAX_NAME_LENGTH,
  textOf,
  tlsRequired,
  tlsRequiredForSecrets,
} from './client-facts.js'
import { clientHandshake } from './client-handshake.js'
import { abortWhenClientLeaves, ClientLeft } from './client-leaving.js'
import { askCleartextPassword } from './password-message.js'
import { type Claim, type LoginMethod, type Person, typedUser } from './person.js'
import { PhaseTimes } from './phase-times.js'
import { endReason, onceClosed, Pipe } from './pipe.js'
import { readProxyHeader } from './proxy-header.js'
import type { ReadBuffers } from './read-buffers.js'
import { replyWithError } from './refusal-reply.js'
import type { AdmittedSession, Route, Router, ServingTarget } from './route.js'
import type { SessionObserver, SessionOutcome, SessionPhase, SessionView } from './session-view.js'

/** The parts of its port that a session needs. */
export interface SessionDeps {
  /** The name of the target it counts for until the client has chosen one. */
  target: string
  router: Router
  /** Undefined: `local-tls=off`. */
  localTls: { readonly context: SecureContext } | undefined
  /** Refuse clients that did not ask for TLS, where they come from beyond this machine. */
  requireTls: boolean
  /** Addresses that send the PROXY protocol, as no other client may; undefined: off. */
  loadBalancers?: BlockList | undefined
  cancels: Pick<Cancels, 'forward' | 'targetOf'>
  clock: Clock
  handshakeTimeoutMs: number
  observer: SessionObserver
  /** Shared by all sessions; undefined: they are read from without. */
  buffers?: ReadBuffers | undefined
  /** Called when a session has its place at a target, and when it has left it. */
  port: { admitted(session: Session): void; left(session: Session): void }
}

/** Logged in: what it takes to relay. */
interface Admitted {
  readonly connected: Connected
  readonly target: ServingTarget
  readonly idleTimeoutMs: number
}

export class Session implements SessionView, AdmittedSession {
  readonly id = randomUUID().slice(0, 8) // from a pool of Node's own, unlike randomBytes
  target: string
  client: string
  readonly openedAt: number
  user: string | undefined
  applicationName: string | undefined
  database: string | undefined
  role: string | undefined
  method: LoginMethod | undefined
  backendPid: number | undefined
  upstream: string | undefined
  upstreamLocalPort: number | undefined
  lastError: ProxyError | undefined
  /** Resolves when nothing is left of it, the client's socket included; never rejects. */
  readonly done: Promise<void>

  /** The TLS one, from when it stands. */
  #client: Socket
  /** Undefined: it came over a Unix socket. */
  #remoteAddress: string | undefined
  readonly #deps: SessionDeps
  /** Ends what is before the pipe: one for all that can end it, as each costs memory. Undefined from then on. */
  #ending: LinkedAbort | undefined = new LinkedAbort()
  #isToEnd = false
  readonly #times: PhaseTimes
  #outcome: SessionOutcome | undefined
  /** The target at which it has a place. */
  #servedBy: ServingTarget | undefined
  #pipe: Pipe | undefined
  #endsWhenIdle = false

  constructor(socket: Socket, deps: SessionDeps) {
    this.target = deps.target
    this.client = clientName(socket.remoteAddress, socket.remotePort)
    this.openedAt = deps.clock.now()
    this.#times = new PhaseTimes(deps.clock)
    this.#client = socket
    this.#remoteAddress = socket.remoteAddress
    this.#deps = deps
    deps.observer.opened(this)
    socket.on('error', ignore) // an 'error' without a listener ends the process; the next read fails with it
    // Not one function from end to end: it would hold on to all that the way to the pipe has needed.
    this.done = this.#admit(this.#ending!)
      .then((admitted) => admitted && this.#relay(admitted))
      .catch((error: unknown) => this.#fail(error))
      .then(() => onceClosed(socket))
  }

  get phase(): SessionPhase {
    return this.#times.phase
  }

  get phaseMs(): ReadonlyMap<SessionPhase, number> {
    return this.#times.ms
  }

  get bytesUp(): number {
    return this.#pipe?.bytesUp ?? 0
  }

  get bytesDown(): number {
    return this.#pipe?.bytesDown ?? 0
  }

  /** True once only its sockets remain to be closed. */
  get isEnding(): boolean {
    return this.#pipe?.isEnding ?? false
  }

  /** Ends it if it is outside a transaction and has not waited for an answer for `quietMs`. */
  endIfIdle(quietMs: number): void {
    this.#pipe?.endIfIdle(quietMs)
  }

  /** Ends it so as soon as it can be. */
  endWhenIdle(): void {
    this.#endsWhenIdle = true
    this.#pipe?.endWhenIdle()
  }

  /** Ends the session now, in any phase. */
  end(error: ProxyError): void {
    if (this.#outcome !== undefined) this.#client.destroy() // it was told, and does not hang up
    this.#isToEnd = true
    this.#ending?.abort(error)
    this.#pipe?.endNow()
  }

  /** Runs from accept to a logged-in upstream; undefined when the session ended before. */
  async #admit(ending: LinkedAbort): Promise<Admitted | undefined> {
    const { clock, localTls, loadBalancers, handshakeTimeoutMs } = this.#deps
    // From accept until the client has said who it is, and proved it where that is asked for: one
    // deadline for all of it, however the bytes dribble.
    ending.abortAfter(clock, handshakeTimeoutMs, handshakeTimeout)
    try {
      const headerProblem =
        loadBalancers && (await this.#readProxyHeader(loadBalancers, ending.signal))
      if (headerProblem !== undefined) {
        this.#client.destroy()
        this.#closed('no startup packet', headerProblem)
        return undefined
      }
      const { client, encrypted, hello } = await clientHandshake(
        this.#client,
        localTls?.context,
        ending.signal,
      )
      this.#client = client
      switch (hello.type) {
        case 'probe':
          client.destroy()
          this.#closed('probe', undefined)
          return undefined
        case 'none':
          client.destroy()
          this.#closed('no startup packet', hello.reason)
          return undefined
        case 'broken':
          throw hello.error
        case 'packet':
          if (hello.packet.type === 'StartupMessage') {
            return await this.#connect(encrypted, hello.packet, ending)
          }
          ending.release()
          await this.#cancel(hello.packet, ending.signal)
          return undefined
      }
    } finally {
      ending.release()
    }
  }

  /** Reads the header of a load balancer: from then on the session has the real client's address. */
  async #readProxyHeader(
    loadBalancers: BlockList,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const from = this.#remoteAddress
    if (from === undefined) return undefined
    if (!loadBalancers.check(from, from.includes(':') ? 'ipv6' : 'ipv4')) return undefined
    try {
      const real = await readProxyHeader(this.#client, signal)
      if (real === undefined) return undefined
      this.#remoteAddress = real.address
      this.client = clientName(real.address, real.port)
      return undefined
    } catch (error) {
      return (error as Error).message
    }
  }

  /** No reply, and none is waited for: its client may leave at once. */
  async #cancel(request: CancelRequest, ending: AbortSignal): Promise<void> {
    const { cancels } = this.#deps
    this.target = cancels.targetOf(request) ?? this.target
    this.#times.enter('cancel')
    this.#client.resume()
    let failure: unknown
    try {
      await cancels.forward(request, ending)
    } catch (error) {
      failure = error
    }
    this.#client.destroy()
    this.#deps.observer.cancelled(this, failure)
    this.#closed('cancel request', undefined)
  }

  async #connect(
    encrypted: boolean,
    startup: StartupMessage,
    ending: LinkedAbort,
  ): Promise<Admitted> {
    const { requireTls, router } = this.#deps
    const client = this.#client
    this.user = textOf(startup, 'user')
    this.database = textOf(startup, 'database')
    this.applicationName = textOf(startup, 'application_name')
    if (requireTls && !encrypted && !isFromHere(client, this.#remoteAddress)) throw tlsRequired()
    const route = router(startup)
    const { target: chosen, refusal } = route
    this.target = chosen.name
    if (chosen.people !== undefined && !encrypted) throw tlsRequiredForSecrets()
    // Before a password is asked for: to pg_isready that would be a yes.
    if (refusal === undefined) chosen.admission.check()
    if (startup.protocolMinor > 0 || startup.protocolOptions.length > 0) {
      client.write(negotiateProtocolVersion(startup.protocolOptions))
    }

    const claim = await this.#authenticate(route, ending.signal)
    ending.release()
    const stopWatching = abortWhenClientLeaves(client, ending)
    try {
      const person = claim && (await chosen.people?.identify(claim, ending.signal))
      const logIn = (): Promise<Admitted> => this.#logIn(route, startup, { claim, person }, ending)
      return await (person?.whileUnproved?.(logIn, ending.signal) ?? logIn())
    } finally {
      stopWatching()
    }
  }

  /** Runs from the client's proof of identity to a logged-in upstream. */
  async #logIn(
    { target: chosen, login, refusal, open }: Route,
    startup: StartupMessage,
    client: { readonly claim: Claim | undefined; readonly person: Person | undefined },
    ending: LinkedAbort,
  ): Promise<Admitted> {
    const { signal } = ending
    if (refusal !== undefined) throw refusal
    if (open !== undefined) this.#times.enter('resolve')
    const target = open === undefined ? chosen : await open(signal)
    let { claim, person } = client
    // Credentials are for one target, so those of the target that serves are needed.
    if (target !== chosen) person = claim && (await target.people?.identify(claim, signal))
    // Not earlier: a client that has not proved its password takes no place.
    this.#takePlace(target)
    const connected = await this.#connectAs(person, target, () =>
      target.connector.connect(login, this.#progress(), ending, person?.credentials),
    )
    return { connected, target, idleTimeoutMs: isReplication(startup) ? 0 : target.idleTimeoutMs }
  }

  #takePlace(target: ServingTarget): void {
    this.target = target.name
    target.admission.enter(this)
    this.#servedBy = target
    this.#deps.port.admitted(this)
  }

  /** Only a proved name counts. A name that the server checks counts once the server has accepted it. */
  async #connectAs(
    person: Person | undefined,
    { admission }: ServingTarget,
    connect: () => Promise<Connected>,
  ): Promise<Connected> {
    if (person === undefined) return connect()
    this.method = person.method
    if (person.method !== 'database-credential') {
      admission.enterAs(this, person.name)
      return connect()
    }
    const connected = await connect()
    try {
      admission.enterAs(this, person.name)
      return connected
    } catch (error) {
      connected.upstream.socket.destroy()
      throw error
    }
  }

  #progress(): ConnectProgress {
    return {
      enter: (phase) => this.#times.enter(phase),
      retrying: (error) => {
        this.lastError = error
      },
    }
  }

  /** A client that has no password hangs up to ask its user for one: it has not failed, but left. */
  async #authenticate({ target, login }: Route, signal: AbortSignal): Promise<Claim | undefined> {
    const { clientAuth, people } = target
    if (clientAuth === undefined && people === undefined) return undefined
    this.#times.enter('client-auth')
    const client = this.#client
    const address = this.#remoteAddress
    try {
      await clientAuth?.authenticate(client, address, signal)
      if (people === undefined) return undefined
      const user = typedUser(login)
      return { user, password: await askCleartextPassword(client, signal), address }
    } catch (error) {
      if (signal.aborted) throw signal.reason
      throw client.readableEnded || client.destroyed ? new ClientLeft() : error
    }
  }

  #relay({ connected, target, idleTimeoutMs }: Admitted): Promise<void> {
    const { observer, clock, buffers } = this.#deps
    const { upstream, endpoint, greeting, key, database, role } = connected
    this.database = plainText(database, MAX_NAME_LENGTH)
    this.role = plainText(role, MAX_NAME_LENGTH)
    this.backendPid = key === undefined ? undefined : Number.parseInt(key.slice(0, 8), 16)
    this.upstream = hostAndPort(upstream.address, endpoint.port)
    this.upstreamLocalPort = upstream.socket.localPort
    const unregister = target.cancels.register(key, endpoint, upstream.address)
    this.#times.enter('pipe')
    this.#client.write(greeting)
    const options = { clock, idleTimeoutMs, greeting, buffers }
    const pipe = new Pipe(this.#client, upstream.socket, options)
    this.#pipe = pipe
    observer.connected(this)
    if (this.#isToEnd)
      pipe.endNow() // since a moment ago
    else if (this.#endsWhenIdle) pipe.endWhenIdle()
    this.#ending = undefined
    return pipe.done.then((outcome) => {
      unregister()
      this.#closed(outcome, endReason(outcome, pipe.endedFirst))
    })
  }

  #fail(error: unknown): void {
    const { observer, clock } = this.#deps
    if (error instanceof ClientLeft) {
      this.#client.destroy()
      this.#closed('client left', undefined)
      return
    }
    observer.failed(this, error)
    replyWithError(this.#client, error, { session: this.id, clock })
    this.#closed('failed', undefined)
  }

  #closed(outcome: SessionOutcome, reason: string | undefined): void {
    this.#outcome = outcome
    if (this.#servedBy !== undefined) {
      this.#servedBy.admission.leave(this)
      this.#deps.port.left(this)
    }
    this.#times.end()
    this.#deps.observer.closed(this, outcome, reason)
  }
}

function ignore(): void {}
