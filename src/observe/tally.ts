/**
 * What the sessions of each target add up to, open ones counted as they stand. Only numbers,
 * cheap enough to be kept also while the status page is closed.
 */

import type { SessionObserver, SessionPhase, SessionView } from '../session/session-view.js'

export interface Totals {
  /** Sessions that were logged in. */
  readonly connected: number
  readonly failed: number
  /** Cancel requests, delivered or not. */
  readonly cancels: number
  readonly bytesUp: number
  readonly bytesDown: number
}

export interface Connects {
  count: number
  /** The sum over these connects. */
  readonly phaseMs: Map<SessionPhase, number>
}

// What such a client says of itself is not shown: anyone who reaches the port can say it.
const UNPROVED: ReadonlySet<SessionPhase> = new Set(['client-handshake', 'client-auth', 'cancel'])

type Sums = { -readonly [Name in keyof Totals]: number }

export class Tally implements SessionObserver {
  readonly #closed = new Map<string, Sums>()
  readonly #open = new Set<SessionView>()
  /** Bytes of targets that are forgotten. */
  readonly #forgotten = { up: 0, down: 0 }
  #connects: Connects = { count: 0, phaseMs: new Map() }

  /** The sums of the target with this name since the start. */
  totals(target: string): Totals {
    const totals = { ...this.#sums(target) }
    for (const session of this.#open) {
      if (session.target !== target) continue
      totals.bytesUp += session.bytesUp
      totals.bytesDown += session.bytesDown
    }
    return totals
  }

  /** Bytes of all targets since the start. */
  get bytes(): { up: number; down: number } {
    const bytes = { ...this.#forgotten }
    for (const each of [...this.#closed.values(), ...this.#open]) {
      bytes.up += each.bytesUp
      bytes.down += each.bytesDown
    }
    return bytes
  }

  /** Open sessions whose client has proved the local password, where one is asked for. */
  get sessions(): SessionView[] {
    return [...this.#open].filter(({ phase }) => !UNPROVED.has(phase))
  }

  /** Counts the sessions that were logged in since the last call. */
  takeConnects(): Connects {
    const connects = this.#connects
    this.#connects = { count: 0, phaseMs: new Map() }
    return connects
  }

  /** Its sessions are over, and it is closed. Their bytes go on counting in `bytes`. */
  forget(target: string): void {
    const sums = this.#closed.get(target)
    if (sums === undefined) return
    this.#closed.delete(target)
    this.#forgotten.up += sums.bytesUp
    this.#forgotten.down += sums.bytesDown
  }

  opened(session: SessionView): void {
    this.#open.add(session)
  }

  connected(session: SessionView): void {
    this.#sums(session.target).connected++
    this.#connects.count++
    const { phaseMs } = this.#connects
    for (const [phase, ms] of session.phaseMs) phaseMs.set(phase, (phaseMs.get(phase) ?? 0) + ms)
  }

  failed(session: SessionView): void {
    this.#sums(session.target).failed++
  }

  cancelled(session: SessionView): void {
    this.#sums(session.target).cancels++
  }

  closed(session: SessionView): void {
    this.#open.delete(session)
    const sums = this.#sums(session.target)
    sums.bytesUp += session.bytesUp
    sums.bytesDown += session.bytesDown
  }

  #sums(target: string): Sums {
    let sums = this.#closed.get(target)
    if (sums === undefined) {
      sums = { connected: 0, failed: 0, cancels: 0, bytesUp: 0, bytesDown: 0 }
      this.#closed.set(target, sums)
    }
    return sums
  }
}
