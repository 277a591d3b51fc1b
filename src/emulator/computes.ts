/**
 * The computes behind the endpoints: a connection wakes an idle one, time without queries or logins
 * suspends it, and a suspend ends its open sessions with 57P01. A connection that only stays open
 * does not keep its compute awake.
 */

import type { Clock } from '../core/clock.js'
import type { Behaviour } from './behaviour.js'
import type { BranchClusters } from './branch-clusters.js'
import type { Destination } from './destinations.js'
import { Refused, refusals } from './front-messages.js'
import type { Branch, Endpoint } from './inventory.js'
import type { Postgres } from './postgres-server.js'

export interface ComputesOptions {
  readonly clock: Clock
  readonly behaviour: Behaviour
  readonly clusters: BranchClusters
}

/** A session of a client on a compute. */
export interface ComputeSession {
  /** The client has sent something. */
  active(): void
  close(): void
}

interface Compute {
  /** Process ids of the sessions' backends. */
  readonly sessions: Set<number>
  waking: Promise<void> | undefined
  lastActiveAt: number
  cancelSuspend: () => void
}

export class Computes {
  readonly #options: ComputesOptions
  readonly #computes = new Map<Endpoint, Compute>()

  constructor(options: ComputesOptions) {
    this.#options = options
  }

  /** Waits until the compute of this destination takes connections. Errors: Refused. */
  async enter(destination: Destination): Promise<Postgres> {
    const { clusters } = this.#options
    if (destination.kind === 'provisioned') return clusters.shared
    await this.#awake(destination.branch, destination.endpoint)
    return clusters.postgres(destination.branch.uid)
  }

  /** The servers that a CancelRequest may belong to. */
  running(): readonly Postgres[] {
    return this.#options.clusters.running()
  }

  /** `processId` serves a client of this destination from now until `close`. */
  session(destination: Destination, processId: number): ComputeSession {
    if (destination.kind === 'provisioned') return { active() {}, close() {} }
    const compute = this.#compute(destination.endpoint)
    compute.sessions.add(processId)
    const active = (): void => {
      compute.lastActiveAt = this.#options.clock.now()
    }
    active()
    return { active, close: () => compute.sessions.delete(processId) }
  }

  /** Ends its sessions as an administrator would: 57P01. The next connection wakes it. */
  async suspend(branch: Branch, endpoint: Endpoint): Promise<void> {
    const compute = this.#compute(endpoint)
    compute.cancelSuspend()
    endpoint.state = 'IDLE'
    endpoint.pendingState = undefined
    const { clusters } = this.#options
    if (!clusters.isShared(branch.uid)) return clusters.stop(branch.uid)
    const processIds = [...compute.sessions].join(', ')
    if (processIds === '') return
    const postgres = await clusters.postgres(branch.uid)
    await postgres.query(`select pg_terminate_backend(pid) from unnest(array[${processIds}]) pid`)
  }

  async #awake(branch: Branch, endpoint: Endpoint): Promise<void> {
    const { behaviour } = this.#options
    const compute = this.#compute(endpoint)
    if (endpoint.state === 'INIT') throw new Refused(refusals.unavailable)
    if (endpoint.state === 'IDLE') {
      compute.waking ??= this.#wake(endpoint, compute)
      await compute.waking
    }
    compute.lastActiveAt = this.#options.clock.now()
    endpoint.lastActiveAt = compute.lastActiveAt
    this.#suspendLater(branch, endpoint, compute, behaviour.suspendAfterMs)
  }

  async #wake(endpoint: Endpoint, compute: Compute): Promise<void> {
    endpoint.pendingState = 'ACTIVE'
    const { clock, behaviour } = this.#options
    await new Promise<void>((resolve) => clock.after(behaviour.wakeMs, resolve))
    endpoint.state = 'ACTIVE'
    endpoint.pendingState = undefined
    compute.waking = undefined
  }

  #suspendLater(branch: Branch, endpoint: Endpoint, compute: Compute, delayMs: number): void {
    const { clock, behaviour } = this.#options
    compute.cancelSuspend()
    compute.cancelSuspend = clock.after(delayMs, () => {
      const leftMs = compute.lastActiveAt + behaviour.suspendAfterMs - clock.now()
      if (leftMs > 0) this.#suspendLater(branch, endpoint, compute, leftMs)
      else this.suspend(branch, endpoint).catch(() => {}) // PostgreSQL is being closed
    })
  }

  #compute(endpoint: Endpoint): Compute {
    const known = this.#computes.get(endpoint)
    if (known !== undefined) return known
    const compute: Compute = {
      ...{ sessions: new Set<number>(), waking: undefined, lastActiveAt: 0 },
      cancelSuspend: () => {},
    }
    this.#computes.set(endpoint, compute)
    return compute
  }
}
