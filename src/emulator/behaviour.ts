/** How the emulated workspace behaves: set by `control.behaviour`, read at each call and connection. */

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
  /** Pages are never longer. */
  maxPageSize: number
  /** How long an idle endpoint takes to wake. */
  wakeMs: number
  /** What connections get meanwhile: the login is held, or refused with one of these texts. */
  whileWaking: 'hold' | 'starting up' | 'no connection' | 'no compute' | 'unavailable'
  /** An endpoint without queries and logins for so long is suspended. */
  suspendAfterMs: number
  /** No branch is made to live longer; a workspace may cap it lower. */
  maxBranchLifeMs: number
  /** Of one project; those above it are refused. */
  maxUnarchivedBranches: number
  /** A branch younger than this refuses logins. */
  youngMs: number
  /** How it does: 28000 in front of the password, or 28P01 behind it. */
  youngRefusal: 'external authorization' | 'password'
  /**
   * How long the front door looks for the session of a CancelRequest. A client that ends its side
   * meanwhile cancels nothing. At 0 the request is forwarded at once.
   */
  cancelLookupMs: number
}

export function defaultBehaviour(changes: Partial<Behaviour>): Behaviour {
  return {
    tokenTtlMs: 3_600_000,
    workspaceTokenTtlMs: 3_600_000,
    clockSkewMs: 0,
    omitExpiry: false,
    transitionMs: 1_000,
    maxPageSize: 100,
    wakeMs: 200,
    whileWaking: 'hold',
    suspendAfterMs: 24 * 3600_000,
    maxBranchLifeMs: 30 * 24 * 3600_000,
    maxUnarchivedBranches: 10,
    youngMs: 0,
    youngRefusal: 'external authorization',
    cancelLookupMs: 20,
    ...changes,
  }
}
