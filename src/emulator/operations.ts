/** Long-running operations of the Autoscaling API: each is asked for by its name until it is done. */

import { randomUUID } from 'node:crypto'

import { type ApiError, notFound } from './api-error.js'

/** How an operation stands. */
export type OperationState =
  | { readonly is: 'running' }
  | { readonly is: 'done'; readonly response: object }
  | { readonly is: 'failed'; readonly error: ApiError }

/** The oldest are forgotten. */
const MAX_OPERATIONS = 10_000

export class Operations {
  readonly #states = new Map<string, () => OperationState>()

  /** The reply to the call that began it, which changes the resource `name`. */
  begin(name: string, state: () => OperationState): object {
    const operation = `${name}/operations/${randomUUID()}`
    this.#states.set(operation, state)
    const [oldest] = this.#states.keys()
    if (this.#states.size > MAX_OPERATIONS && oldest !== undefined) this.#states.delete(oldest)
    return this.describe(operation)
  }

  describe(operation: string): object {
    const state = this.#states.get(operation)?.()
    if (state === undefined) throw notFound('operation id not found')
    const begun = { name: operation, metadata: {} }
    switch (state.is) {
      case 'running':
        return begun // a boolean that is false is left out
      case 'done':
        return { ...begun, done: true, response: state.response }
      case 'failed': {
        const { errorCode, message } = state.error
        return { ...begun, done: true, error: { error_code: errorCode, message } }
      }
    }
  }
}
