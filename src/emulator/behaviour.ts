/** How the emulated workspace behaves: may be changed at any time, is read at each call and connection. */

export interface Behaviour {
  /** Life of database credentials where the request names none. */
  tokenTtlMs: number
  /** How long a state change takes. */
  transitionMs: number
  /** How long an idle endpoint takes to wake. */
  wakeMs: number
  /** The longest life that a branch may be created with. */
  maxBranchLifeMs: number
  /** How many branches one project may have; further ones are refused. */
  maxUnarchivedBranches: number
  /**
   * How long the front door looks for the session of a CancelRequest. A client that ends its side
   * meanwhile cancels nothing. At 0 the request is forwarded at once.
   */
  cancelLookupMs: number
}

/** The defaults, with `changes`. */
export function behaviourWith(changes: Partial<Behaviour>): Behaviour {
  return {
    tokenTtlMs: 3_600_000,
    transitionMs: 1_000,
    wakeMs: 200,
    maxBranchLifeMs: 30 * 24 * 3600_000,
    maxUnarchivedBranches: 10,
    cancelLookupMs: 20,
    ...changes,
  }
}
