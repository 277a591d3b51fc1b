/**
 * Bounded waits. A signal goes down every path; what is shared by many waiters is never aborted
 * by one of them: a waiter only stops waiting.
 */

import { setMaxListeners } from 'node:events'

import type { Clock } from './clock.js'

/** Waits for `promise`, but no longer than until `signal` aborts: then rejects with its reason. */
export function waitFor<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason)
    if (signal.aborted) onAbort()
    else listen(signal, onAbort)
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

/** A wait of `delayMs` that ends early, rejecting, when `signal` aborts. */
export function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  let cancel = (): void => {}
  const elapsed = new Promise<void>((resolve) => {
    cancel = clock.after(delayMs, resolve)
  })
  return waitFor(elapsed, signal).finally(() => cancel())
}

/**
 * A signal of its own that also aborts with its parents. Linked by hand, and unlinked by
 * `release()`: AbortSignal.any leaks on Node 20 when a parent outlives the child
 * (https://github.com/nodejs/node/issues/54614).
 */
export class LinkedAbort {
  readonly #controller = new AbortController()
  readonly #unlink: (() => void)[] = []

  constructor(...parents: AbortSignal[]) {
    for (const parent of parents) {
      if (parent.aborted) {
        this.#controller.abort(parent.reason)
        continue
      }
      const onAbort = (): void => this.#controller.abort(parent.reason)
      listen(parent, onAbort)
      this.#unlink.push(() => parent.removeEventListener('abort', onAbort))
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  abort(reason: unknown): void {
    this.#controller.abort(reason)
  }

  /** Aborts after `delayMs` with what `reason` returns; the returned function takes that back. */
  abortAfter(clock: Clock, delayMs: number, reason: () => unknown): () => void {
    const cancel = clock.after(delayMs, () => this.#controller.abort(reason()))
    this.#unlink.push(cancel)
    return cancel
  }

  /** Forgets the parents and the deadlines. Safe to call twice. */
  release(): void {
    for (const unlink of this.#unlink.splice(0)) unlink()
  }
}

/** Many may wait on the signal that ends them all: Node would warn of a leak at the eleventh. */
function listen(signal: AbortSignal, onAbort: () => void): void {
  setMaxListeners(0, signal)
  signal.addEventListener('abort', onAbort, { once: true })
}
