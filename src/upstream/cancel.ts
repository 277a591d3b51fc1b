/**
 * Carries a CancelRequest to the address of its session, and waits until the server has taken it.
 * It needs no token and gets no answer, and it is finished even when its client has left. Requests
 * whose key belongs to a session of this process have a queue of their own, so that a flood of
 * made-up ones does not delay them. An unknown key may belong to a session of another replica: it
 * goes to where the target is now, a few at a time.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
 */

import type { TLSSocket } from 'node:tls'

import type { Clock } from '../core/clock.js'
import { waitFor, withDeadline } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import type { Endpoint } from '../endpoints/endpoints.js'
import type { CancelRequest } from '../wire/frontend.js'
import { type DialOptions, dial } from './dial.js'

export interface CancelOptions {
  /** Whose sessions a key is looked for first: a server can choose a key that another one has given. */
  target: string
  dialOptions: DialOptions
  /** Where the target is now. */
  resolve: (signal: AbortSignal) => Promise<Endpoint>
  routes: CancelRoutes
  clock: Clock
}

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
   * A session of `target`, else of another one: after a reload, a port may serve another target
   * than that of the sessions which came in by it.
   */
  find(target: string, key: string): CancelRoute | undefined {
    const own = this.#byTarget.get(target)?.get(key)
    if (own !== undefined) return own
    for (const routes of this.#byTarget.values()) {
      const route = routes.get(key)
      if (route !== undefined) return route
    }
    return undefined
  }
}

const KNOWN = { atOnce: 16, waiting: 256 }
const UNKNOWN = { atOnce: 4, waiting: 64 }
const TIMEOUT_MS = 10_000

export class Cancels {
  readonly #options: CancelOptions
  readonly #known = new Turns(KNOWN)
  readonly #unknown = new Turns(UNKNOWN)

  constructor(options: CancelOptions) {
    this.#options = options
  }

  /** From now until the returned function is called, `key` cancels at this address. */
  register(key: string | undefined, endpoint: Endpoint, address: string): () => void {
    if (key === undefined) return () => {}
    const { routes, dialOptions, target } = this.#options
    return routes.add(target, key, { endpoint: { ...endpoint, addresses: [address] }, dialOptions })
  }

  /** Errors: kind `limit` when too many wait already, and those of dialling. */
  async forward(request: CancelRequest, signal: AbortSignal): Promise<void> {
    const { routes, target, clock } = this.#options
    const route = routes.find(target, request.key)
    const turns = route === undefined ? this.#unknown : this.#known
    const deadline = { clock, ms: TIMEOUT_MS, reason: timedOut, signals: [signal] }
    await withDeadline(deadline, async (limit) => {
      await turns.take(limit)
      try {
        await this.#deliver(request, route, limit)
      } finally {
        turns.pass()
      }
    })
  }

  async #deliver(
    request: CancelRequest,
    route: CancelRoute | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { resolve, dialOptions: ownOptions } = this.#options
    const { endpoint, dialOptions } = route ?? {
      endpoint: await resolve(signal),
      dialOptions: ownOptions,
    }
    const { socket } = await dial(endpoint, dialOptions, signal)
    try {
      await sendAndWait(socket, request.bytes, signal)
      socket.end()
    } finally {
      socket.destroySoon()
    }
  }
}

/**
 * Sends the request and waits for the server's end, as libpq does. A FIN right behind the request
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

function timedOut(): ProxyError {
  return new ProxyError('dial', 'cancel request could not be delivered: timeout expired')
}

function notTaken(socket: TLSSocket): Error {
  const reason = 'server closed the connection before it took the cancel request'
  return socket.errored ?? new ProxyError('dial', reason)
}

/** So many at once, and so many that wait for their turn, in order. */
class Turns {
  readonly #atOnce: number
  readonly #maxWaiting: number
  #underWay = 0
  readonly #waiting = new Set<() => void>()

  constructor({ atOnce, waiting }: { atOnce: number; waiting: number }) {
    this.#atOnce = atOnce
    this.#maxWaiting = waiting
  }

  /** Resolves when it is the caller's turn, which must then be passed on. */
  async take(signal: AbortSignal): Promise<void> {
    if (this.#underWay < this.#atOnce) {
      this.#underWay++
      return
    }
    if (this.#waiting.size >= this.#maxWaiting) {
      throw new ProxyError('limit', 'too many cancel requests at once')
    }
    let begin = (): void => {}
    const turn = new Promise<void>((resolve) => {
      begin = resolve
    })
    this.#waiting.add(begin)
    try {
      await waitFor(turn, signal)
    } catch (error) {
      if (!this.#waiting.delete(begin)) this.pass() // the turn came, but too late
      throw error
    }
  }

  pass(): void {
    const [next] = this.#waiting
    if (next === undefined) {
      this.#underWay--
      return
    }
    this.#waiting.delete(next)
    next()
  }
}
