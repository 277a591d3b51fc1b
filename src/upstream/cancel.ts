/**
 * Carries a CancelRequest to the address of its session, and waits until the server has taken it.
 * It needs no token and gets no answer, and it is finished even when its client has left. Requests
 * whose key belongs to a session of this process have a queue of their own, so that a flood of
 * made-up ones does not delay them. An unknown key may belong to a session of another replica: it
 * goes to each target of the port, where that is now, a few at a time.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
 */

import type { TLSSocket } from 'node:tls'

import type { Clock } from '../core/clock.js'
import { withDeadline } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import { Turns } from '../core/turns.js'
import type { Endpoint } from '../endpoints/endpoints.js'
import type { CancelRequest } from '../wire/frontend.js'
import { type DialOptions, dial } from './dial.js'

export interface CancelRoute {
  readonly endpoint: Endpoint
  readonly dialOptions: DialOptions
}

/** Where each session of this process is: by target, and by the key that its server gave it. */
export class CancelRoutes {
  readonly #byTarget = new Map<string, Map<string, CancelRoute>>()

  /** From now until the returned function is called. */
  add(target: string, key: string, route: CancelRoute): () => void {
    const routes = this.#byTarget.get(target) ?? new Map<string, CancelRoute>()
    this.#byTarget.set(target, routes.set(key, route))
    return () => {
      if (routes.get(key) === route) routes.delete(key)
      if (routes.size === 0 && this.#byTarget.get(target) === routes) this.#byTarget.delete(target)
    }
  }

  /**
   * The target of the session that has this key: the first of `targets` that has one, else any: after
   * a reload, a port may serve other targets than those of the sessions which came in by it.
   */
  targetOf(targets: Iterable<string>, key: string): string | undefined {
    for (const target of targets) if (this.#byTarget.get(target)?.has(key)) return target
    for (const [target, routes] of this.#byTarget) if (routes.has(key)) return target
    return undefined
  }

  get(target: string, key: string): CancelRoute | undefined {
    return this.#byTarget.get(target)?.get(key)
  }
}

export interface CancellerOptions {
  target: string
  dialOptions: DialOptions
  /** Where the target is now. */
  resolve: (signal: AbortSignal) => Promise<Endpoint>
  routes: CancelRoutes
}

/** Cancels the queries of one target's sessions. */
export class Canceller {
  readonly #options: CancellerOptions

  constructor(options: CancellerOptions) {
    this.#options = options
  }

  get target(): string {
    return this.#options.target
  }

  /** From now until the returned function is called, `key` cancels at this address. */
  register(key: string | undefined, endpoint: Endpoint, address: string): () => void {
    if (key === undefined) return () => {}
    const { routes, dialOptions, target } = this.#options
    return routes.add(target, key, { endpoint: { ...endpoint, addresses: [address] }, dialOptions })
  }

  /** Where the target is now. Errors: those of the workspace and of DNS. */
  async whereItIs(signal: AbortSignal): Promise<CancelRoute> {
    const { resolve, dialOptions } = this.#options
    return { endpoint: await resolve(signal), dialOptions }
  }
}

const KNOWN = { atOnce: 16, waiting: 256 }
const UNKNOWN = { atOnce: 4, waiting: 64 }
/** For each unknown key. */
const TARGETS_AT_ONCE = 8
const TIMEOUT_MS = 10_000

export interface CancelsOptions {
  /**
   * Of the targets that the port serves, the port's own first: a server can choose a key that
   * another one has given.
   */
  targets: () => readonly Canceller[]
  routes: CancelRoutes
  clock: Clock
}

/** Takes the CancelRequests of one port. */
export class Cancels {
  readonly #options: CancelsOptions
  readonly #known = new Turns({ ...KNOWN, full: tooMany })
  readonly #unknown = new Turns({ ...UNKNOWN, full: tooMany })

  constructor(options: CancelsOptions) {
    this.#options = options
  }

  /** The target whose session it is meant for; undefined when its key is not known here. */
  targetOf({ key }: CancelRequest): string | undefined {
    const { routes, targets } = this.#options
    return routes.targetOf(
      targets().map(({ target }) => target),
      key,
    )
  }

  /** Errors: kind `limit` when too many wait already, and those of dialling. */
  async forward(request: CancelRequest, signal: AbortSignal): Promise<void> {
    const { routes, clock } = this.#options
    const target = this.targetOf(request)
    const route = target === undefined ? undefined : routes.get(target, request.key)
    const deadline = { clock, ms: TIMEOUT_MS, reason: timedOut, signals: [signal] }
    await withDeadline(deadline, (limit) =>
      route === undefined
        ? this.#toAll(request, limit)
        : this.#known.run(() => deliver(request, route, limit), limit),
    )
  }

  /** Delivered, if one server has taken it: that it was the right one, none of them says. */
  async #toAll(request: CancelRequest, signal: AbortSignal): Promise<void> {
    const targets = [...this.#options.targets()]
    const failures: unknown[] = []
    let taken = 0
    const inTurn = async (): Promise<void> => {
      for (let target = targets.shift(); target !== undefined; target = targets.shift()) {
        try {
          await deliver(request, await target.whereItIs(signal), signal)
          taken++
        } catch (error) {
          failures.push(error)
        }
      }
    }
    await this.#unknown.run(
      () => Promise.all(Array.from({ length: TARGETS_AT_ONCE }, inTurn)),
      signal,
    )
    if (taken === 0 && failures.length > 0) throw failures[0]
  }
}

async function deliver(
  request: CancelRequest,
  { endpoint, dialOptions }: CancelRoute,
  signal: AbortSignal,
): Promise<void> {
  const { socket } = await dial(endpoint, dialOptions, signal)
  try {
    await sendAndWait(socket, request.bytes, signal)
    socket.end()
  } finally {
    socket.destroySoon()
  }
}

/**
 * Sends the request and waits for the server's end, as libpq does. A FIN right after the request
 * would make some front doors drop it, and others close before the signal has reached the session:
 * then it could hit the client's next statement.
 */
function sendAndWait(socket: TLSSocket, bytes: Buffer, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let isSent = false
    const onEnd = (): void => stop(isSent ? resolve : () => reject(notTaken(socket)))
    const onAbort = (): void => stop(() => reject(signal.reason))
    // A server that has taken the request may close with a reset. 'close' follows an error.
    socket.once('end', onEnd).once('close', onEnd)
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) return onAbort()
    socket.resume()
    socket.write(bytes, (error) => {
      isSent = !error
    })
    if (socket.destroyed) onEnd()

    function stop(settle: () => void): void {
      socket.off('end', onEnd).off('close', onEnd)
      signal.removeEventListener('abort', onAbort)
      settle()
    }
  })
}

function tooMany(): ProxyError {
  return new ProxyError('limit', 'too many cancel requests at once')
}

function timedOut(): ProxyError {
  return new ProxyError('dial', 'cancel request could not be delivered: timeout expired')
}

function notTaken(socket: TLSSocket): Error {
  const reason = 'server closed the connection before it took the cancel request'
  return socket.errored ?? new ProxyError('dial', reason)
}
