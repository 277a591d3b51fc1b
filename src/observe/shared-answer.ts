/** An answer that is expensive to make, made once for all requests that wait for it. */

import { setImmediate } from 'node:timers/promises'

/**
 * Starts to make the answer after the requests that have already arrived are read, so that a flood
 * of requests costs one answer in each round of the event loop.
 */
export function sharedAnswer<T>(make: () => Promise<T>): () => Promise<T> {
  let pending: Promise<T> | undefined
  return () => {
    pending ??= setImmediate()
      .then(make)
      .finally(() => {
        pending = undefined
      })
    return pending
  }
}
