/** How the emulated workspace behaves: may be changed at any time, is read at each call and connection. */

export interface Behaviour {
  /** Life of database credentials where the request names none. */
  tokenTtlMs: number
  workspaceTokenTtlMs: number
  /** How far the API's clock (its Date and the times in its replies) is ahead of ours. */
  clockSkewMs: number
  /** Leave expiration_time and expire_time out. */
  omitExpiry: boolean
  /** How long a state change takes. */
  transitionMs: number
  /** The most items in one page of a list. */
  maxPageSize: number
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
    workspaceTokenTtlMs: 3_600_000,
    clockSkewMs: 0,
    omitExpiry: false,
    transitionMs: 1_000,
    maxPageSize: 100,
    wakeMs: 200,
    maxBranchLifeMs: 30 * 24 * 3600_000,
    maxUnarchivedBranches: 10,
    cancelLookupMs: 20,
    ...changes,
  }
}
