/**
 * Bounded waits. Every path takes an AbortSignal; `withDeadline` adds a time limit to it, and
 * `SingleFlight` shares one piece of work among many waiters, of which none can end it for the
 * others: a waiter only stops waiting.
 */

import { setMaxListeners } from 'node:events'

import type { Clock } from './clock.js'

export interface Deadline {
  clock: Clock
  ms: number
  /** Returns the reason that the signal aborts with. Called when the time is up. */
  reason: () => unknown
  /** The work also ends with these: the caller's signal, the owner's closing. */
  signals?: readonly AbortSignal[]
}

/**
 * Runs `work` with a signal that aborts when the time is up, or with one of `signals`. It settles
 * when the work does: the work follows its signal, and closes what it opened before it returns.
 * A promise that knows no signal is awaited through `waitFor`.
 */
export async function withDeadline<T>(
  deadline: Deadline,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new LinkedAbort(...(deadline.signals ?? []))
  limit.abortAfter(deadline.clock, deadline.ms, deadline.reason)
  try {
    return await work(limit.signal)
  } finally {
    limit.release()
  }
}

/**
 * Work that is under way at most once for each key. A caller that asks meanwhile joins it. Its result is
 * not kept: the next call after the end starts it again. `Facts` go with the call that starts it.
 */
export class SingleFlight<T, Key = void, Facts extends unknown[] = []> {
  readonly #work: (key: Key, ...facts: Facts) => Promise<T>
  readonly #underWay = new Map<Key, Promise<T>>()

  constructor(work: (key: Key, ...facts: Facts) => Promise<T>) {
    this.#work = work
  }

  isUnderWay(key: Key): boolean {
    return this.#underWay.has(key)
  }

  /** Joins the work that is under way, or starts it. */
  join(key: Key, ...facts: Facts): Promise<T> {
    const found = this.#underWay.get(key)
    if (found !== undefined) return found
    const started = this.#work(key, ...facts).finally(() => this.#underWay.delete(key))
    this.#underWay.set(key, started)
    return started
  }
}

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
 * A signal of its own that also aborts with its parents, for work whose end is not the end of one
 * function. Linked by hand, and unlinked by `release()`: AbortSignal.any leaks on Node 20 when a
 * parent outlives the child (https://github.com/nodejs/node/issues/54614).
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
