/** The computes behind the endpoints: a connection wakes an idle one, and waits until it is awake. */

import type { Clock } from '../core/clock.js'
import { SingleFlight } from '../core/deadline.js'
import type { Behaviour } from './behaviour.js'
import type { BranchClusters } from './branch-clusters.js'
import type { Destination } from './destinations.js'
import { Refused, refusals } from './front-messages.js'
import type { Endpoint } from './inventory.js'
import type { Postgres } from './postgres-server.js'

export interface ComputesOptions {
  readonly clock: Clock
  readonly behaviour: Behaviour
  readonly clusters: BranchClusters
}

export class Computes {
  readonly #options: ComputesOptions
  readonly #waking = new SingleFlight((endpoint: Endpoint) => this.#wake(endpoint))

  constructor(options: ComputesOptions) {
    this.#options = options
  }

  /** Waits until the compute of this destination takes connections. Errors: Refused. */
  async enter(destination: Destination): Promise<Postgres> {
    const { clock, clusters } = this.#options
    if (destination.kind === 'provisioned') return clusters.shared
    const { branch, endpoint } = destination
    if (endpoint.state === 'INIT') throw new Refused(refusals.unavailable)
    if (endpoint.state === 'IDLE') await this.#waking.join(endpoint)
    endpoint.lastActiveAt = clock.now()
    return clusters.postgres(branch.uid)
  }

  async #wake(endpoint: Endpoint): Promise<void> {
    endpoint.pendingState = 'ACTIVE'
    const { clock, behaviour } = this.#options
    await new Promise<void>((resolve) => clock.after(behaviour.wakeMs, resolve))
    endpoint.state = 'ACTIVE'
    endpoint.pendingState = undefined
  }
}
