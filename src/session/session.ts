/**
 * One client connection from its first byte to its last. The order of the lines is the protocol;
 * the phase is only for the people watching.
 */

import { randomUUID } from 'node:crypto'
import type { BlockList, Socket } from 'node:net'
import type { SecureContext } from 'node:tls'
import type { Clock } from '../core/clock.js'
import { LinkedAbort } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import { isLoopback } from '../core/loopback.js'
import { plainText } from '../core/plain-text.js'
import type { ConnectProgress } from '../upstream/attempt.js'
import type { Cancels } from '../upstream/cancel.js'
import type { Connected } from '../upstream/open.js'
import { negotiateProtocolVersion } from '../wire/backend.js'
import { type CancelRequest, fromWireText, type StartupMessage } from '../wire/frontend.js'
import type { ClientAuth } from './client-auth.js'
import { clientHandshake } from './client-handshake.js'
import { ClientLeaving, ClientLeft } from './client-leaving.js'
import { onceClosed, Pipe } from './pipe.js'
import { readProxyHeader } from './proxy-header.js'
import type { ReadBuffers } from './read-buffers.js'
import { replyWithError } from './refusal-reply.js'
import type { AdmittedSession, Router, ServingTarget } from './route.js'
import type { SessionObserver, SessionOutcome, SessionPhase, SessionView } from './session-view.js'

/** What a session needs of the port that it came in by. */
export interface SessionDeps {
  /** The name of the target it counts for until the client has chosen one. */
  target: string
  router: Router
  /** Undefined: `local-tls=off`. */
  localTls: { readonly context: SecureContext } | undefined
  /** Refuse clients that did not ask for TLS, where they come from beyond this machine. */
  requireTls: boolean
  /** They send the PROXY protocol, and no other client does; undefined: off. */
  loadBalancers?: BlockList | undefined
  cancels: Pick<Cancels, 'forward' | 'targetOf'>
  clock: Clock
  handshakeTimeoutMs: number
  observer: SessionObserver
  /** Shared by all sessions; undefined: they are read from without. */
  buffers?: ReadBuffers | undefined
  /** Told when a session has its place at a target, and when it has left it. */
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
  readonly phaseMs = new Map<SessionPhase, number>()
  phase: SessionPhase = 'client-handshake'
  user: string | undefined
  applicationName: string | undefined
  database: string | undefined
  role: string | undefined
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
  /** Ends what is before the pipe; undefined from then on. */
  #ending: AbortController | undefined = new AbortController()
  #phaseAt: number
  #outcome: SessionOutcome | undefined
  /** Where it has a place. */
  #servedBy: ServingTarget | undefined
  #pipe: Pipe | undefined
  #endsWhenIdle = false

  constructor(socket: Socket, deps: SessionDeps) {
    this.target = deps.target
    this.client = clientName(socket.remoteAddress, socket.remotePort)
    this.openedAt = deps.clock.now()
    this.#phaseAt = this.openedAt
    this.#client = socket
    this.#remoteAddress = socket.remoteAddress
    this.#deps = deps
    deps.observer.opened(this)
    socket.on('error', ignore) // an 'error' without a listener ends the process; the next read fails with it
    // Not one function from end to end: it would hold on to all that the way to the pipe has needed.
    this.done = this.#admit(this.#ending!.signal)
      .then((admitted) => admitted && this.#relay(admitted))
      .catch((error: unknown) => this.#fail(error))
      .then(() => onceClosed(socket))
  }

  get bytesUp(): number {
    return this.#pipe?.bytesUp ?? 0
  }

  get bytesDown(): number {
    return this.#pipe?.bytesDown ?? 0
  }

  /** On its way out already: only the closing of its sockets is left. */
  get isEnding(): boolean {
    return this.#pipe?.isEnding ?? false
  }

  /** Ends it if it is outside a transaction and has not waited for an answer for so long. */
  endIfIdle(quietMs: number): void {
    this.#pipe?.endIfIdle(quietMs)
  }

  /** Ends it so as soon as it can be. */
  endWhenIdle(): void {
    this.#endsWhenIdle = true
    this.#pipe?.endWhenIdle()
  }

  /** Ends the session now, in whatever phase it is. */
  end(error: ProxyError): void {
    if (this.#outcome !== undefined) this.#client.destroy() // it was told, and does not hang up
    this.#ending?.abort(error)
    this.#pipe?.endNow()
  }

  /** From accept to a logged-in upstream; undefined when it was over before. */
  async #admit(ending: AbortSignal): Promise<Admitted | undefined> {
    const { clock, localTls, handshakeTimeoutMs } = this.#deps
    // From accept until the client has said who it is, and proved it where that is asked for: one
    // deadline for all of it, however the bytes dribble.
    const handshake = new LinkedAbort(ending)
    handshake.abortAfter(clock, handshakeTimeoutMs, handshakeTimeout)
    try {
      const headerProblem = await this.#readProxyHeader(handshake.signal)
      if (headerProblem !== undefined) {
        this.#client.destroy()
        this.#closed('no startup packet', headerProblem)
        return undefined
      }
      const { client, encrypted, hello } = await clientHandshake(
        this.#client,
        localTls?.context,
        handshake.signal,
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
            return await this.#connect(encrypted, hello.packet, handshake, ending)
          }
          await this.#cancel(hello.packet, ending)
          return undefined
      }
    } finally {
      handshake.release()
    }
  }

  /** Of a load balancer; from then on the session has the real client's address. */
  async #readProxyHeader(signal: AbortSignal): Promise<string | undefined> {
    const { loadBalancers } = this.#deps
    const from = this.#remoteAddress
    if (loadBalancers === undefined || from === undefined) return undefined
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
    this.#enter('cancel')
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
    handshake: LinkedAbort,
    ending: AbortSignal,
  ): Promise<Admitted> {
    const { requireTls, router } = this.#deps
    const client = this.#client
    this.user = textOf(startup, 'user')
    this.database = textOf(startup, 'database')
    this.applicationName = textOf(startup, 'application_name')
    if (requireTls && !encrypted && !isFromHere(client)) throw tlsRequired()
    const { target: chosen, login, refusal, open } = router(startup)
    this.target = chosen.name
    // Before a password is asked for: to pg_isready that would be a yes.
    if (refusal === undefined) chosen.admission.check()
    if (startup.protocolMinor > 0 || startup.protocolOptions.length > 0) {
      client.write(negotiateProtocolVersion(startup.protocolOptions))
    }

    await this.#authenticate(chosen.clientAuth, handshake.signal)
    handshake.release()
    if (refusal !== undefined) throw refusal

    const leaving = new ClientLeaving(client, ending)
    try {
      if (open !== undefined) this.#enter('resolve')
      const target = open === undefined ? chosen : await open(leaving.signal)
      // Not earlier: a client that has not proved its password takes no place.
      this.#takePlace(target)
      const connected = await target.connector.connect(login, this.#progress(), leaving.signal)
      const idleTimeoutMs = isReplication(startup) ? 0 : target.idleTimeoutMs
      return { connected, target, idleTimeoutMs }
    } finally {
      leaving.release()
    }
  }

  #takePlace(target: ServingTarget): void {
    this.target = target.name
    target.admission.enter(this)
    this.#servedBy = target
    this.#deps.port.admitted(this)
  }

  #progress(): ConnectProgress {
    return {
      enter: (phase) => this.#enter(phase),
      retrying: (error) => {
        this.lastError = error
      },
    }
  }

  /** A client that has no password hangs up to ask its user for one: it has not failed, but left. */
  async #authenticate(clientAuth: ClientAuth | undefined, signal: AbortSignal): Promise<void> {
    if (clientAuth === undefined) return
    this.#enter('client-auth')
    const client = this.#client
    try {
      await clientAuth.authenticate(client, this.#remoteAddress, signal)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      throw client.readableEnded || client.destroyed ? new ClientLeft() : error
    }
  }

  #relay({ connected, target, idleTimeoutMs }: Admitted): Promise<void> {
    const { observer, clock, buffers } = this.#deps
    const { upstream, endpoint, greeting, key, database, role } = connected
    const { remotePort, localPort } = upstream.socket
    this.database = plainText(database, MAX_NAME_LENGTH)
    this.role = plainText(role, MAX_NAME_LENGTH)
    this.backendPid = key === undefined ? undefined : Number.parseInt(key.slice(0, 8), 16)
    this.upstream = hostAndPort(upstream.address, remotePort)
    this.upstreamLocalPort = localPort
    const unregister = target.cancels.register(key, endpoint, upstream.address)
    this.#enter('pipe')
    this.#client.write(greeting)
    const options = { clock, idleTimeoutMs, greeting, buffers }
    const pipe = new Pipe(this.#client, upstream.socket, options)
    this.#pipe = pipe
    observer.connected(this)
    if (this.#ending!.signal.aborted)
      pipe.endNow() // a moment ago
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
    this.#endPhase()
    this.#deps.observer.closed(this, outcome, reason)
  }

  #enter(phase: SessionPhase): void {
    if (phase === this.phase) return
    this.#endPhase()
    this.phase = phase
  }

  #endPhase(): void {
    const now = this.#deps.clock.now()
    const durationMs = now - this.#phaseAt
    this.phaseMs.set(this.phase, (this.phaseMs.get(this.phase) ?? 0) + durationMs)
    this.#phaseAt = now
  }
}

function ignore(): void {}

function endReason(outcome: SessionOutcome, endedFirst: Pipe['endedFirst']): string | undefined {
  if (outcome === 'upstream shutdown') return 'the compute was suspended or restarted'
  const isServersEnd = outcome === 'closed' && endedFirst === 'upstream'
  return isServersEnd ? 'server closed the connection' : undefined
}

function handshakeTimeout(): ProxyError {
  return new ProxyError('protocol', 'timeout expired before the client had said who it is', {
    hint: 'Raise --handshake-timeout of lakebase-proxy, if this client is slow for a reason.',
  })
}

/** Over loopback or a Unix socket: no other machine lies between. */
function isFromHere({ localAddress }: Socket): boolean {
  return localAddress === undefined || isLoopback(localAddress)
}

function tlsRequired(): ProxyError {
  return new ProxyError('identity', 'connection requires TLS', {
    hint: 'Connect with sslmode=require: this lakebase-proxy listens beyond this machine.',
  })
}

/** PostgreSQL cuts names to 63 bytes. */
const MAX_NAME_LENGTH = 128

/** As it is logged and shown. */
function textOf(startup: StartupMessage, name: string): string | undefined {
  const value = startup.parameters.get(name)
  return value === undefined ? undefined : plainText(fromWireText(value), MAX_NAME_LENGTH)
}

/** A walsender and its receiver have time-outs of their own, and may have nothing to say for long. */
function isReplication(startup: StartupMessage): boolean {
  const value = startup.parameters.get('replication')
  return value !== undefined && !/^(false|off|no|0)?$/i.test(value)
}

function clientName(address: string | undefined, port: number | undefined): string {
  return address === undefined ? 'unix socket' : hostAndPort(address, port)
}

function hostAndPort(address: string, port: number | undefined): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
