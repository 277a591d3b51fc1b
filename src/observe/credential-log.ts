/** The log's side of a target's credential: one line for each request to the workspace. */

import { errorKind, ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import type { CredentialObserver } from '../credentials/credential-cache.js'

export class CredentialLog implements CredentialObserver {
  readonly #log: Log
  readonly #target: string
  #failing = false

  constructor(log: Log, target: string) {
    this.#log = log
    this.#target = target
  }

  refreshed(expiresAt: number): void {
    const facts = { target: this.#target, expiresAt: new Date(expiresAt).toISOString() }
    const message = this.#failing ? 'credential refreshed again' : 'credential refreshed'
    this.#log[this.#failing ? 'info' : 'debug'](facts, message)
    this.#failing = false
  }

  /** Where none is held, the session that needed it logs its failure. */
  refreshFailed(error: unknown, stillGood: boolean): void {
    this.#failing = true
    const hint = error instanceof ProxyError ? error.hint : undefined
    const reason = error instanceof Error ? error.message : String(error)
    const facts = { target: this.#target, kind: errorKind(error), reason, hint }
    if (stillGood) this.#log.warn(facts, 'credential not refreshed, the held one is still good')
    else this.#log.debug(facts, 'credential not refreshed')
  }
}
