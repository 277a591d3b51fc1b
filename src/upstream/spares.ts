/**
 * Spare connections: logged in ahead with exactly what the last client's login said, each given to
 * one client, once, and never taken back. While one is held nothing may come from its server: not
 * even a notice, or it is dropped. None is held, and no timer runs, `warm-ttl` after the last client.
 */

import type { TLSSocket } from 'node:tls'
import type { Clock } from '../core/clock.js'
import { withDeadline } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import type { Secret } from '../core/secret.js'
import type { Credentials, LoginCredential } from '../credentials/credentials.js'
import type { Endpoints } from '../endpoints/endpoints.js'
import { READY_IDLE } from '../wire/backend.js'
import { startupMessage, TERMINATE, toWireText, type WireText } from '../wire/frontend.js'
import { ADDRESS_PATIENCE_MS } from './dial.js'
import { type Connected, type OpenRequest, openUpstream } from './open.js'
import { refusalError, saslError } from './refusal.js'
import type { UpstreamTls } from './tls-context.js'

export interface SparesOptions {
  /** How many are held at the most. */
  count: number
  ttlMs: number
  endpoints: Pick<Endpoints, 'resolve' | 'dialled'>
  tls: UpstreamTls
  clock: Clock
  log: Log
  /** The limit for one login. */
  timeoutMs: number
}

const FIRST_REST_MS = 1_000
const MAX_REST_MS = 60_000

/** The start-up packet of the next spare connection, as values and as bytes to compare, and whose it is. */
interface Wanted {
  readonly credentials: Credentials
  readonly parameters: ReadonlyMap<string, WireText>
  readonly packet: Buffer
}

export class Spares {
  readonly #options: SparesOptions
  /** All of them say what is wanted; the oldest first. */
  readonly #held = new Set<SpareConnection>()
  #wanted: Wanted | undefined
  #lastUsedAt = 0
  #hits = 0
  #loginsUnderWay = 0
  /** Aborted when what is under way would be of no use any more. */
  #dropped = new AbortController()
  /** In a row, without a spare given to a client in between. */
  #failures = 0
  #cancelRest: (() => void) | undefined
  #cancelExpiry: (() => void) | undefined
  #closed = false

  constructor(options: SparesOptions) {
    this.#options = options
  }

  /** Ready to be given to a client. */
  get held(): number {
    return this.#held.size
  }

  /** Given to clients so far. */
  get hits(): number {
    return this.#hits
  }

  /**
   * A spare connection equal to the one that a login would make now, if there is one. It was made with
   * these very credentials, so that no person gets the connection of another. The caller owns it.
   */
  take(
    { parameters, endpoint, credential }: OpenRequest,
    credentials: Credentials,
  ): Connected | undefined {
    if (this.#hasExpired) this.#forget() // no timer runs while a laptop sleeps
    if (!this.#wants(startupMessage(parameters), credentials)) return undefined
    for (const spare of this.#held) {
      this.#held.delete(spare)
      const { endpoint: at, upstream } = spare.connected
      const isThere =
        at.host === endpoint.host &&
        at.port === endpoint.port &&
        endpoint.addresses.includes(upstream.address)
      if (isThere && spare.token === credential.password && spare.handOver()) {
        this.#hits++
        this.#failures = 0
        return spare.connected
      }
      spare.end()
    }
    return undefined
  }

  /** A client has been logged in with these parameters: the next client may want the same. */
  seen(parameters: ReadonlyMap<string, WireText>, credentials: Credentials): void {
    if (this.#closed || parameters.has('replication')) return
    const packet = startupMessage(parameters)
    if (!this.#wants(packet, credentials)) {
      this.#drop()
      this.#wanted = { parameters, packet, credentials }
    }
    const { clock, ttlMs } = this.#options
    this.#lastUsedAt = clock.now()
    this.#cancelExpiry ??= clock.after(ttlMs, () => this.#expire())
    this.#fill()
  }

  /**
   * A login was refused. All spare connections are closed, and for a while none are made. `whose`: the
   * refusal does not concern spare connections of other credentials. True when there were any: their
   * places at the server are free again.
   */
  refused(whose?: Credentials): boolean {
    if (whose !== undefined && this.#wanted?.credentials !== whose) return false
    const hadAny = this.#held.size + this.#loginsUnderWay > 0
    this.#drop()
    this.#rest()
    return hadAny
  }

  /** Holds none from now on. Safe to call twice. */
  close(): void {
    this.#closed = true
    this.#forget()
  }

  #wants(packet: Buffer, credentials: Credentials): boolean {
    if (this.#wanted?.credentials !== credentials) return false
    return this.#wanted.packet.equals(packet)
  }

  #fill(): void {
    if (this.#wanted === undefined || this.#cancelRest !== undefined) return
    const atOnce = this.#failures === 0 ? this.#options.count : 1
    while (
      this.#loginsUnderWay < atOnce &&
      this.#held.size + this.#loginsUnderWay < this.#options.count
    ) {
      void this.#add(this.#wanted)
    }
  }

  async #add(wanted: Wanted): Promise<void> {
    const { clock, timeoutMs, log } = this.#options
    const { signal } = this.#dropped
    const reason = (): ProxyError => new ProxyError('dial', 'timeout expired')
    const deadline = { clock, ms: timeoutMs, reason, signals: [signal] }
    this.#loginsUnderWay++
    try {
      const spare = await withDeadline(deadline, (limit) => this.#logIn(wanted, limit))
      if (signal.aborted) {
        spare.end()
      } else {
        this.#held.add(spare)
        spare.watch(() => this.#lost(spare))
      }
    } catch (error) {
      if (!signal.aborted) {
        log.debug({ err: error }, 'no spare connection could be made')
        this.refused()
      }
    } finally {
      this.#loginsUnderWay--
      this.#fill()
    }
  }

  /** One try: only a client's login is retried. */
  async #logIn({ parameters, credentials }: Wanted, signal: AbortSignal): Promise<SpareConnection> {
    const { endpoints } = this.#options
    const [endpoint, credential] = await Promise.all([
      endpoints.resolve(signal),
      credentials.get(signal),
    ])
    checkRole(parameters, credential)
    const request = { endpoint, credential, parameters }
    const lastPatienceMs = ADDRESS_PATIENCE_MS
    const result = await openUpstream({ ...this.#options, ...request, lastPatienceMs }, signal)
    switch (result.outcome) {
      case 'connected':
        return new SpareConnection(result.connected, credential.password)
      case 'sasl required':
        throw saslError()
      case 'refused': {
        const { method } = credential
        throw refusalError(result, { user: parameters.get('user') ?? '', method })
      }
    }
  }

  /** The server closed it or sent something, so it is not replaced at once. */
  #lost(spare: SpareConnection): void {
    if (!this.#held.delete(spare)) return
    spare.end()
    this.#rest()
  }

  #rest(): void {
    if (this.#wanted === undefined || this.#cancelRest !== undefined) return
    const restMs = Math.min(MAX_REST_MS, FIRST_REST_MS * 2 ** this.#failures++)
    this.#cancelRest = this.#options.clock.after(restMs, () => {
      this.#cancelRest = undefined
      this.#fill()
    })
  }

  get #hasExpired(): boolean {
    // `abs`: a clock that was set back must not keep them for longer.
    return Math.abs(this.#options.clock.now() - this.#lastUsedAt) >= this.#options.ttlMs
  }

  /** One timer, set again when it finds that a client came since. */
  #expire(): void {
    const { clock, ttlMs } = this.#options
    if (this.#hasExpired) this.#forget()
    else {
      const leftMs = this.#lastUsedAt + ttlMs - clock.now()
      this.#cancelExpiry = clock.after(Math.min(leftMs, ttlMs), () => this.#expire())
    }
  }

  #forget(): void {
    this.#wanted = undefined
    this.#failures = 0
    this.#cancelRest?.()
    this.#cancelRest = undefined
    this.#cancelExpiry?.()
    this.#cancelExpiry = undefined
    this.#drop()
  }

  #drop(): void {
    this.#dropped.abort(new ProxyError('dial', 'spare connection is not needed any more'))
    this.#dropped = new AbortController()
    for (const spare of this.#held) spare.end()
    this.#held.clear()
  }
}

/** Under the same profile another identity may be signed in by now. */
function checkRole(parameters: ReadonlyMap<string, WireText>, { user }: LoginCredential): void {
  if (user === undefined || toWireText(user) === parameters.get('user')) return
  throw new ProxyError('identity', 'another identity is signed in by now')
}

/** One connection that waits for its client, and is lost when its server says something or leaves. */
class SpareConnection {
  readonly connected: Connected
  /** It was logged in with; one object as long as it is the same. */
  readonly token: Secret
  readonly #socket: TLSSocket
  #onLost = (): void => {}

  constructor(connected: Connected, token: Secret) {
    this.connected = connected
    this.token = token
    this.#socket = connected.upstream.socket
  }

  /** `onLost` is called, perhaps at once, when it is of no use any more. */
  watch(onLost: () => void): void {
    this.#onLost = onLost
    const socket = this.#socket
    socket.on('readable', onLost).on('end', onLost).on('close', onLost).on('error', onLost)
    if (!this.#isUntouched) onLost()
  }

  /** True when it is still as it was logged in; then no listener is left, nor a byte. */
  handOver(): boolean {
    this.#unwatch()
    return this.#isUntouched
  }

  /** As a client would: Terminate, and away. */
  end(): void {
    this.#unwatch()
    if (!this.#socket.destroyed) this.#socket.end(TERMINATE)
    this.#socket.destroySoon()
  }

  get #isUntouched(): boolean {
    const { readable, writable, readableLength } = this.#socket
    const { greeting } = this.connected
    return (
      readable &&
      writable &&
      readableLength === 0 &&
      // Bytes after it were not asked for.
      greeting.subarray(-READY_IDLE.length).equals(READY_IDLE)
    )
  }

  #unwatch(): void {
    const socket = this.#socket
    const onLost = this.#onLost
    socket.off('readable', onLost).off('end', onLost).off('close', onLost).off('error', onLost)
  }
}
