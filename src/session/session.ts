/**
 * One client connection from its first byte to its last. The order of the lines is the protocol;
 * the phase is only for the people watching.
 */

import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import type { SecureContext } from 'node:tls'

import { LinkedAbort } from '../abort.js'
import type { Clock } from '../clock.js'
import { isLoopback } from '../config/loopback.js'
import { ProxyError, toClientError } from '../errors.js'
import type { ConnectPhase, ConnectProgress } from '../upstream/attempt.js'
import type { Cancels } from '../upstream/cancel.js'
import type { Connector } from '../upstream/connect.js'
import { errorResponse, negotiateProtocolVersion } from '../wire/backend.js'
import { type CancelRequest, fromWireText, type StartupMessage } from '../wire/frontend.js'
import type { ClientAuth } from './client-auth.js'
import { clientHandshake } from './client-handshake.js'
import { ClientLeaving, ClientLeft } from './client-leaving.js'
import { onceClosed, Pipe, type PipeOutcome } from './pipe.js'
import type { ReadBuffers } from './read-buffers.js'

export type SessionPhase = 'client-handshake' | 'client-auth' | ConnectPhase | 'pipe' | 'cancel'

export type SessionOutcome =
  | PipeOutcome
  | 'probe'
  | 'no startup packet'
  | 'cancel request'
  | 'failed'
  | 'client left'

/** What a session shows of itself; only the session changes it. */
export interface SessionView {
  readonly id: string
  readonly target: string
  /** Address and port of the client, or the Unix socket's path. */
  readonly client: string
  readonly openedAt: number
  readonly phase: SessionPhase
  /** How long each phase took that is over, in ms. */
  readonly phaseMs: ReadonlyMap<SessionPhase, number>
  /** As the client named them. */
  readonly user: string | undefined
  readonly applicationName: string | undefined
  /** As the server was asked for, once logged in; else as the client named it. */
  readonly database: string | undefined
  readonly bytesUp: number
  readonly bytesDown: number
  /** What its last try to connect met, while it still tries and after. */
  readonly lastError: ProxyError | undefined
}

/** What this stage tells the one to its right. Implemented by observe/, and by nothing in tests. */
export interface SessionObserver {
  opened(session: SessionView): void
  /** `session.phase` is over and took so long; login's end comes as the end of `login`. */
  phaseEnded(session: SessionView, phase: SessionPhase, durationMs: number): void
  /** Logged in: from now on its bytes are moved. */
  connected(session: SessionView): void
  /** Once a failed session; `phase` is where it failed. */
  failed(session: SessionView, error: unknown): void
  cancelled(session: SessionView, error: unknown): void
  /** Once a session, whatever became of it. `reason` only says more. */
  closed(session: SessionView, outcome: SessionOutcome, reason: string | undefined): void
}

/** The stages to its left and the place it is given, as narrow as this stage needs them. */
export interface SessionDeps {
  target: string
  /** Undefined: `local-tls=off`. */
  localTls: { readonly context: SecureContext } | undefined
  /** Refuse clients that did not ask for TLS, where they come from beyond this machine. */
  requireTls: boolean
  /** Undefined: `local-auth=trust`. */
  clientAuth: ClientAuth | undefined
  connector: Pick<Connector, 'connect'>
  cancels: Cancels
  clock: Clock
  handshakeTimeoutMs: number
  idleTimeoutMs: number
  observer: SessionObserver
  /** Shared by all sessions; undefined: they are read from without. */
  buffers?: ReadBuffers | undefined
  door: Door
}

/** Whether there is room inside; who a client is, this stage finds out. */
export interface Door {
  /** Throws why nobody comes in for now. */
  check(): void
  /** Takes a place, or throws why there is none; the returned function gives it back. */
  enter(): () => void
}

export class Session implements SessionView {
  readonly id = randomBytes(4).toString('hex')
  readonly target: string
  readonly client: string
  readonly openedAt: number
  readonly phaseMs = new Map<SessionPhase, number>()
  phase: SessionPhase = 'client-handshake'
  user: string | undefined
  applicationName: string | undefined
  database: string | undefined
  lastError: ProxyError | undefined
  /** Resolves when nothing is left of it, the client's socket included; never rejects. */
  readonly done: Promise<void>

  readonly #socket: Socket
  readonly #deps: SessionDeps
  readonly #ending = new LinkedAbort()
  readonly #progress: ConnectProgress = {
    enter: (phase) => this.#enter(phase),
    retrying: (error) => {
      this.lastError = error
    },
  }
  #phaseAt: number
  #outcome: SessionOutcome | undefined
  #pipe: Pipe | undefined

  constructor(socket: Socket, deps: SessionDeps) {
    this.target = deps.target
    this.client = clientName(socket)
    this.openedAt = deps.clock.now()
    this.#phaseAt = this.openedAt
    this.#socket = socket
    this.#deps = deps
    this.done = this.#run()
      .catch((error: unknown) => this.#fail(socket, error))
      .then(() => onceClosed(socket))
      .finally(() => this.#ending.release())
  }

  get bytesUp(): number {
    return this.#pipe?.bytesUp ?? 0
  }

  get bytesDown(): number {
    return this.#pipe?.bytesDown ?? 0
  }

  get looksIdle(): boolean {
    return this.#pipe?.looksIdle ?? false
  }

  /** On its way out already: nothing is left to wait for but the closing. */
  get isEnding(): boolean {
    return this.#pipe?.isEnding ?? false
  }

  /** Ends an idle session as its own client would. */
  drain(): void {
    this.#pipe?.drain()
  }

  /** Ends the session now, in whatever phase it is. */
  end(error: ProxyError): void {
    if (this.#outcome !== undefined) this.#socket.destroy() // its client was told, and does not hang up
    this.#ending.abort(error)
    this.#pipe?.destroy('ended by shutdown')
  }

  async #run(): Promise<void> {
    const { observer, clock, localTls, handshakeTimeoutMs } = this.#deps
    observer.opened(this)
    const socket = this.#socket
    socket.on('error', () => {}) // an unheard 'error' ends the process; whoever reads next hears of it

    // From accept until the client has said who it is, and proved it where that is asked for: one
    // deadline for all of it, however the bytes dribble.
    const handshake = new LinkedAbort(this.#ending.signal)
    handshake.abortAfter(clock, handshakeTimeoutMs, handshakeTimeout)
    try {
      const { client, encrypted, hello } = await clientHandshake(
        socket,
        localTls?.context,
        handshake.signal,
      )
      switch (hello.type) {
        case 'probe':
          socket.destroy()
          return this.#closed('probe', undefined)
        case 'none':
          socket.destroy()
          return this.#closed('no startup packet', hello.reason)
        case 'broken':
          return this.#fail(client, hello.error)
        case 'packet':
          if (hello.packet.type === 'CancelRequest') return await this.#cancel(client, hello.packet)
          return await this.#serve(client, encrypted, hello.packet, handshake)
      }
    } finally {
      handshake.release()
    }
  }

  /** No reply, and none is waited for: its client may leave at once. */
  async #cancel(client: Socket, request: CancelRequest): Promise<void> {
    this.#enter('cancel')
    client.resume()
    let failure: unknown
    try {
      await this.#deps.cancels.forward(request, this.#ending.signal)
    } catch (error) {
      failure = error
    }
    client.destroy()
    this.#deps.observer.cancelled(this, failure)
    this.#closed('cancel request', undefined)
  }

  async #serve(
    client: Socket,
    encrypted: boolean,
    startup: StartupMessage,
    handshake: LinkedAbort,
  ): Promise<void> {
    const { door, requireTls, connector, cancels, observer, clock, idleTimeoutMs, buffers } =
      this.#deps
    this.user = textOf(startup, 'user')
    this.database = textOf(startup, 'database')
    this.applicationName = textOf(startup, 'application_name')
    let release = (): void => {}
    try {
      if (requireTls && !encrypted && !isFromHere(client)) throw tlsRequired()
      door.check() // before a password is asked for: to pg_isready that would be a yes
      if (startup.protocolMinor > 0 || startup.protocolOptions.length > 0) {
        client.write(negotiateProtocolVersion(startup.protocolOptions))
      }

      await this.#authenticate(client, handshake.signal)
      handshake.release()
      // Not before: who is nobody yet takes nobody's place.
      release = door.enter()

      const leaving = new ClientLeaving(client, this.#ending.signal)
      const connected = await connector
        .connect(startup, this.#progress, leaving.signal)
        .finally(() => leaving.release())
      this.database = connected.database

      const { upstream, endpoint, greeting, key } = connected
      const unregister = cancels.register(key, endpoint, upstream.address)
      this.#enter('pipe')
      client.write(greeting)
      const limits = { clock, idleTimeoutMs: isReplication(startup) ? 0 : idleTimeoutMs }
      this.#pipe = new Pipe(client, upstream.socket, { ...limits, greeting, buffers })
      observer.connected(this)
      if (this.#ending.signal.aborted) this.#pipe.destroy('ended by shutdown') // a moment ago
      const outcome = await this.#pipe.done
      unregister()
      const upstreamFirst = outcome === 'closed' && this.#pipe.endedFirst === 'upstream'
      this.#closed(outcome, upstreamFirst ? 'server closed the connection' : undefined)
    } catch (error) {
      this.#fail(client, error)
    } finally {
      release()
    }
  }

  /** A client that has no password hangs up to ask its user for one: it has not failed, but left. */
  async #authenticate(client: Socket, signal: AbortSignal): Promise<void> {
    const { clientAuth } = this.#deps
    if (clientAuth === undefined) return
    this.#enter('client-auth')
    try {
      await clientAuth.authenticate(client, signal)
    } catch (error) {
      throw client.readableEnded || client.destroyed ? new ClientLeft() : error
    }
  }

  #fail(client: Socket, error: unknown): void {
    const { observer, clock } = this.#deps
    if (error instanceof ClientLeft) {
      client.destroy()
      this.#closed('client left', undefined)
      return
    }
    observer.failed(this, error)
    const told = toClientError(error)
    const id = `session ${this.id}`
    const detail = told.detail === undefined ? id : `${told.detail}\n${id}`
    endGently(client, errorResponse({ ...told, detail }), clock)
    this.#closed('failed', undefined)
  }

  #closed(outcome: SessionOutcome, reason: string | undefined): void {
    this.#outcome = outcome
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
    this.#deps.observer.phaseEnded(this, this.phase, durationMs)
  }
}

const ERROR_PATIENCE_MS = 2_000

/** Closing with unread bytes would be a reset, which can take the error's text away from its reader. */
function endGently(client: Socket, lastBytes: Buffer, clock: Clock): void {
  client.end(lastBytes)
  client.resume()
  const cancel = clock.after(ERROR_PATIENCE_MS, () => client.destroy())
  client.once('close', cancel)
  client.once('end', () => client.destroySoon())
}

function handshakeTimeout(): ProxyError {
  return new ProxyError('protocol', 'timeout expired before the client had said who it is', {
    hint: 'Raise --handshake-timeout of lakebase-proxy, if this client is slow for a reason.',
  })
}

/** Over loopback or a Unix socket: nobody else's machine lies between. */
function isFromHere({ localAddress }: Socket): boolean {
  return localAddress === undefined || isLoopback(localAddress)
}

function tlsRequired(): ProxyError {
  return new ProxyError('identity', 'connection requires TLS', {
    hint: 'Connect with sslmode=require: this lakebase-proxy listens beyond this machine.',
  })
}

function textOf(startup: StartupMessage, name: string): string | undefined {
  const value = startup.parameters.get(name)
  return value === undefined ? undefined : fromWireText(value)
}

/** A walsender and its receiver have time-outs of their own, and may have nothing to say for long. */
function isReplication(startup: StartupMessage): boolean {
  const value = startup.parameters.get('replication')
  return value !== undefined && !/^(false|off|no|0)?$/i.test(value)
}

function clientName(socket: Socket): string {
  if (socket.remoteAddress === undefined) return 'unix socket'
  const { remoteAddress, remotePort } = socket
  return remoteAddress.includes(':')
    ? `[${remoteAddress}]:${remotePort}`
    : `${remoteAddress}:${remotePort}`
}
