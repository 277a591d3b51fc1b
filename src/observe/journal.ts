/**
 * What happened last: the latest failures, equal ones counted together, and for each target the
 * outcome of the latest token request and of the latest connection attempt. Bounded: the oldest
 * group makes room for a new one.
 */

import type { Clock } from '../core/clock.js'
import { type ErrorKind, errorKind, ProxyError } from '../core/errors.js'
import type { CredentialObserver } from '../credentials/credential-cache.js'
import type { SessionObserver, SessionOutcome, SessionView } from '../session/session-view.js'

/** A failure in words that everyone who can open the status page may read. */
export interface Failure {
  readonly at: number
  readonly target: string
  readonly kind: ErrorKind | 'internal'
  readonly message: string
  readonly detail: string | undefined
  readonly hint: string | undefined
  /** Undefined when the failure belongs to no session. */
  readonly session: string | undefined
  readonly phase: string | undefined
}

/** Failures of one target with one message. The other fields are those of the latest. */
export interface FailureGroup extends Failure {
  readonly count: number
  /** Epoch ms of the first of them. */
  readonly firstAt: number
}

const KEPT_GROUPS = 50

export class Journal implements Partial<SessionObserver> {
  readonly #clock: Clock
  /** The groups by the key that equal failures share; the latest group last. */
  readonly #groups = new Map<string, FailureGroup>()
  readonly #targets = new Map<string, TargetNotes>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The latest first. */
  get failures(): readonly FailureGroup[] {
    return [...this.#groups.values()].reverse()
  }

  notes(target: string): TargetNotes {
    let notes = this.#targets.get(target)
    if (notes === undefined) {
      notes = new TargetNotes(target, this.#clock, (failure) => this.#keep(failure))
      this.#targets.set(target, notes)
    }
    return notes
  }

  /** A reload has replaced the target of this name. */
  forget(target: string): TargetNotes {
    this.#targets.delete(target)
    return this.notes(target)
  }

  /** A target of this name is closed. */
  drop(target: string): void {
    this.#targets.delete(target)
  }

  connected(session: SessionView): void {
    this.notes(session.target).succeeded()
  }

  failed(session: SessionView, error: unknown): void {
    const failure = describe(error, this.#clock.now(), session.target, session)
    this.#keep(failure)
    if (isTrouble(failure.kind) && !isAboutOneClient(failure, session))
      this.notes(session.target).trouble = failure
  }

  closed(session: SessionView, outcome: SessionOutcome, reason: string | undefined): void {
    const error = endError(outcome, reason)
    if (error !== undefined) this.#keep(describe(error, this.#clock.now(), session.target, session))
  }

  #keep(failure: Failure): void {
    const { target, kind, message, at } = failure
    const key = JSON.stringify([target, kind, message])
    const { count, firstAt } = this.#groups.get(key) ?? { count: 0, firstAt: at }
    this.#groups.delete(key)
    this.#groups.set(key, { ...failure, count: count + 1, firstAt })
    const [oldest] = this.#groups.keys()
    if (this.#groups.size > KEPT_GROUPS && oldest !== undefined) this.#groups.delete(oldest)
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

/** What is known of one target's credential, and why connecting fails, where it does. */
export class TargetNotes implements CredentialObserver {
  /** The workspace has answered at least once, with a credential or an error. */
  asked = false
  /** Epoch ms, of the credential that was issued last. */
  issuedAt: number | undefined
  expiresAt: number | undefined
  /** The failure of the latest request, if it failed. */
  refreshFailure: Failure | undefined
  /** The failure since the last session that was logged in. */
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
    // A failed token request is already kept by refreshFailed.
    if (this.refreshFailure?.message !== this.trouble.message) this.#keep(this.trouble)
  }

  /** The target now leads to another branch: earlier failures do not concern it. */
  moved(): void {
    this.trouble = undefined
    this.refreshFailure = undefined
  }

  /** A session was logged in, or everything that a login needs is there. */
  succeeded(): void {
    this.asked = true
    this.trouble = undefined
  }
}

/** Whether this client was refused for its identity: then others may be let in. */
function isAboutOneClient({ kind }: Failure, { phase, method }: SessionView): boolean {
  if (kind !== 'identity') return false
  return method !== undefined || phase === 'client-handshake' || phase === 'client-auth'
}

/** Whether the target has failed, rather than this one client. */
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
