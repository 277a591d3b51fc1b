/**
 * Carries a CancelRequest to the address its session is on. It needs no token, gets no answer,
 * and is finished even when its client has left. Bounded in number and time, so that a flood of
 * them costs no session its place.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
 */

import { once } from 'node:events'
import type { Clock } from '../core/clock.js'
import { LinkedAbort, waitFor } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import type { Endpoint } from '../endpoints/endpoints.js'
import type { CancelRequest } from '../wire/frontend.js'
import { type DialOptions, dial } from './dial.js'

export interface CancelOptions {
  dialOptions: DialOptions
  /** Where the target is now: for a key that another proxy of the same target has given. */
  resolve: (signal: AbortSignal) => Promise<Endpoint>
  routes: CancelRoutes
  clock: Clock
}

/** Where each session is, by the key its server gave it. */
export type CancelRoutes = Map<string, CancelRoute>

export interface CancelRoute {
  readonly endpoint: Endpoint
  readonly dialOptions: DialOptions
}

const MAX_AT_ONCE = 16
const MAX_WAITING = 256
const TIMEOUT_MS = 10_000

export class Cancels {
  readonly #options: CancelOptions
  #underWay = 0
  readonly #waiting = new Set<() => void>()

  constructor(options: CancelOptions) {
    this.#options = options
  }

  /** From now until the returned function is called, `key` cancels at this address. */
  register(key: string | undefined, endpoint: Endpoint, address: string): () => void {
    if (key === undefined) return () => {}
    const { routes, dialOptions } = this.#options
    const here = { endpoint: { ...endpoint, addresses: [address] }, dialOptions }
    routes.set(key, here)
    return () => {
      if (routes.get(key) === here) routes.delete(key)
    }
  }

  /** Errors: kind `limit` when too many wait already, and those of dialling. */
  async forward(request: CancelRequest, signal: AbortSignal): Promise<void> {
    const limit = new LinkedAbort(signal)
    limit.abortAfter(this.#options.clock, TIMEOUT_MS, () => {
      return new ProxyError('dial', 'cancel request could not be delivered: timeout expired')
    })
    try {
      await this.#turn(limit.signal)
      try {
        await this.#deliver(request, limit.signal)
      } finally {
        this.#passTurn()
      }
    } finally {
      limit.release()
    }
  }

  async #deliver(request: CancelRequest, signal: AbortSignal): Promise<void> {
    const { routes, resolve, dialOptions: ownOptions } = this.#options
    const { endpoint, dialOptions } = routes.get(request.key) ?? {
      endpoint: await resolve(signal),
      dialOptions: ownOptions,
    }
    const { socket } = await dial(endpoint, dialOptions, signal)
    const onAbort = (): void => void socket.destroy()
    signal.addEventListener('abort', onAbort)
    try {
      socket.resume()
      socket.end(request.bytes)
      await once(socket, 'close').catch(ignoreReset)
      signal.throwIfAborted() // it may have arrived, but nobody knows
      if (!socket.writableFinished) throw socket.errored ?? notTaken()
    } finally {
      signal.removeEventListener('abort', onAbort)
      socket.destroy()
    }
  }

  async #turn(signal: AbortSignal): Promise<void> {
    if (this.#underWay < MAX_AT_ONCE) {
      this.#underWay++
      return
    }
    if (this.#waiting.size >= MAX_WAITING) {
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
      if (!this.#waiting.delete(begin)) this.#passTurn() // it had come, too late
      throw error
    }
  }

  #passTurn(): void {
    const [next] = this.#waiting
    if (next === undefined) {
      this.#underWay--
      return
    }
    this.#waiting.delete(next)
    next()
  }
}

/** A server that closes with our close_notify unread resets, though it has had the request. */
function ignoreReset(): void {}

function notTaken(): ProxyError {
  return new ProxyError('dial', 'server closed the connection before the cancel request')
}
