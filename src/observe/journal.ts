/**
 * What happened last: the latest failures of sessions, and for each target what became of its
 * credential and of the latest try to connect.
 */

import type { Clock } from '../core/clock.js'
import { type ErrorKind, errorKind, ProxyError } from '../core/errors.js'
import type { CredentialObserver } from '../credentials/credential-cache.js'
import type { SessionObserver, SessionOutcome, SessionView } from '../session/session-view.js'

/** A failure, in words that anybody who may look at the proxy may read. */
export interface Failure {
  readonly at: number
  readonly target: string
  readonly kind: ErrorKind | 'internal'
  readonly message: string
  readonly detail: string | undefined
  readonly hint: string | undefined
  /** Undefined when no session was concerned. */
  readonly session: string | undefined
  readonly phase: string | undefined
}

const KEPT = 50

export class Journal implements SessionObserver {
  readonly #clock: Clock
  readonly #failures: Failure[] = []
  readonly #targets = new Map<string, TargetNotes>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The latest first. */
  get failures(): readonly Failure[] {
    return this.#failures.toReversed()
  }

  notes(target: string): TargetNotes {
    let notes = this.#targets.get(target)
    if (notes === undefined) {
      notes = new TargetNotes(target, this.#clock, (failure) => this.#keep(failure))
      this.#targets.set(target, notes)
    }
    return notes
  }

  /** A target of this name is built anew, as after a reload. */
  forget(target: string): TargetNotes {
    this.#targets.delete(target)
    return this.notes(target)
  }

  opened(): void {}

  connected(session: SessionView): void {
    this.notes(session.target).succeeded()
  }

  failed(session: SessionView, error: unknown): void {
    const failure = describe(error, this.#clock.now(), session.target, session)
    this.#keep(failure)
    if (isTrouble(failure.kind)) this.notes(session.target).trouble = failure
  }

  cancelled(): void {}

  closed(session: SessionView, outcome: SessionOutcome, reason: string | undefined): void {
    const error = endError(outcome, reason)
    if (error !== undefined) this.#keep(describe(error, this.#clock.now(), session.target, session))
  }

  #keep(failure: Failure): void {
    this.#failures.push(failure)
    if (this.#failures.length > KEPT) this.#failures.shift()
  }
}

/** Ends that a user may wonder about. */
function endError(outcome: SessionOutcome, reason: string | undefined): ProxyError | undefined {
  if (outcome === 'upstream shutdown') {
    return new ProxyError('upstream', reason ?? 'server ended the session', {
      hint: 'Connect again: a compute that was suspended wakes for a new connection.',
    })
  }
  if (outcome !== 'upstream reset') return undefined
  return new ProxyError('upstream', 'server closed the connection unexpectedly', {
    hint: 'The server, or something on the way to it, ended the session; connect again.',
  })
}

/** What is known of one target's credential, and what stands in the way of connecting, if anything. */
export class TargetNotes implements CredentialObserver {
  /** Has the workspace answered at all, rightly or wrongly? */
  asked = false
  /** Epoch ms, of the credential that was issued last. */
  issuedAt: number | undefined
  expiresAt: number | undefined
  /** Of the latest request, when it failed. */
  refreshFailure: Failure | undefined
  /** Since the last session that was logged in. */
  trouble: Failure | undefined

  readonly #target: string
  readonly #clock: Clock
  readonly #keep: (failure: Failure) => void

  constructor(target: string, clock: Clock, keep: (failure: Failure) => void) {
    this.#target = target
    this.#clock = clock
    this.#keep = keep
  }

  refreshed(expiresAt: number): void {
    this.asked = true
    this.issuedAt = this.#clock.now()
    this.expiresAt = expiresAt
    this.refreshFailure = undefined
  }

  refreshFailed(error: unknown): void {
    this.asked = true
    this.refreshFailure = describe(error, this.#clock.now(), this.#target)
    this.#keep(this.refreshFailure)
  }

  /** The target could not be made ready ahead of its clients. */
  notPrimed(error: unknown): void {
    this.asked = true
    this.trouble = describe(error, this.#clock.now(), this.#target)
    // A credential that could not be had was told of by itself.
    if (this.refreshFailure?.message !== this.trouble.message) this.#keep(this.trouble)
  }

  /** A session was logged in, or all that one needs is there. */
  succeeded(): void {
    this.asked = true
    this.trouble = undefined
  }
}

/** Is it the target that fails, and not this client's doing? */
function isTrouble(kind: Failure['kind']): boolean {
  switch (kind) {
    case 'credential':
    case 'identity':
    case 'stopped':
    case 'starting':
    case 'resolve':
    case 'dial':
    case 'tls':
      return true
    default:
      return false
  }
}

function describe(error: unknown, at: number, target: string, session?: SessionView): Failure {
  const known = error instanceof ProxyError ? error : undefined
  return {
    at,
    target,
    kind: errorKind(error),
    message: known?.message ?? 'internal proxy error',
    detail: known?.detail,
    hint: known?.hint,
    session: session?.id,
    phase: session?.phase,
  }
}
