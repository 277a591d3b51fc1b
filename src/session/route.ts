/**
 * Which target serves a client. A session asks once, with the client's StartupMessage; from then on
 * it knows the parts of that target alone. daemon/ implements it.
 */

import type { ProxyError } from '../core/errors.js'
import type { ClientLogin } from '../upstream/attempt.js'
import type { Canceller } from '../upstream/cancel.js'
import type { Connector } from '../upstream/connect.js'
import type { StartupMessage } from '../wire/frontend.js'
import type { ClientAuth } from './client-auth.js'
import type { People } from './people.js'

/** Chooses the target of a client. It is synchronous, and sends no request. */
export type Router = (startup: StartupMessage) => Route

export interface Route {
  /** Its `clientAuth` is what the client has to pass. */
  readonly target: ServingTarget
  /** What the client asks for, without its choice of a target. */
  readonly login: ClientLogin
  /** Sent to the client once it has proved who it is, since it names what is served here. */
  readonly refusal?: ProxyError | undefined
  /** For a target that is opened at its first client: opens it, and it serves in place of `target`. */
  readonly open?: (signal: AbortSignal) => Promise<ServingTarget>
}

/** The parts of a target that serve its clients, as narrow as a session needs them. */
export interface ServingTarget {
  readonly name: string
  /** Undefined: `local-auth=trust`. */
  readonly clientAuth: ClientAuth | undefined
  /** Identifies each client, with `local-auth=databricks`. */
  readonly people?: Pick<People, 'identify'> | undefined
  readonly admission: Admission
  readonly connector: Pick<Connector, 'connect'>
  readonly cancels: Pick<Canceller, 'register'>
  readonly idleTimeoutMs: number
}

/** Whether there is room for one more session. It does not ask who the client is. */
export interface Admission {
  /** Throws the reason when no session is admitted for now. */
  check(): void
  /** Takes a place, or throws the reason why no place is free. */
  enter(session: AdmittedSession): void
  /** Takes one of the person's places, or throws the reason why no place is free. */
  enterAs(session: AdmittedSession, person: string): void
  /** Gives the places back that the session has. */
  leave(session: AdmittedSession): void
}

/** A session, as the target that serves it may use it. */
export interface AdmittedSession {
  /** Resolves when nothing is left of it; never rejects. */
  readonly done: Promise<void>
  /** True once it is ending. */
  readonly isEnding: boolean
  /** Ends it if it is outside a transaction and has not waited for an answer for `quietMs`. */
  endIfIdle(quietMs: number): void
  /** Ends it so as soon as it can be. */
  endWhenIdle(): void
  /** Ends it now. */
  end(error: ProxyError): void
}
