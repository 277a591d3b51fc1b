/**
 * Where to dial for one target: the host that SNI and verification use, and its addresses, dead
 * ones last. Asked again when a dial fails; the old answer stays while the asking fails.
 */

import type { TargetSettings } from '../config/resolve/settings.js'
import type { Clock } from '../core/clock.js'
import { withDeadline } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'
import { isGone, type LookUp } from '../databricks/lakebase/look-up.js'
import type { LakebaseDatabase } from '../databricks/lakebase/workspace.js'
import { refusalByState } from './availability.js'
import type { Resolver } from './resolver.js'

export interface Endpoint {
  /** Always the name, never an address: what SNI says and the certificate must bear. */
  readonly host: string
  readonly port: number
  readonly addresses: readonly string[]
  /** Undefined for a static URL. */
  readonly database: LakebaseDatabase | undefined
}

export interface EndpointsOptions {
  target: TargetSettings
  clock: Clock
  resolver: Pick<Resolver, 'resolve' | 'forget'>
  /** Undefined for a static URL. */
  database: LookUp<LakebaseDatabase> | undefined
}

// With an old answer at hand, a workspace that hangs must not keep clients waiting.
const PATIENCE_MS = 3_000
const STATE_GOOD_MS = 1_000

export class Endpoints {
  readonly #options: EndpointsOptions
  readonly #dead = new Set<string>()
  #askAgain = false
  /** When the state was last asked for. Monotonic, in ms. */
  #stateAskedAt = Number.NEGATIVE_INFINITY

  constructor(options: EndpointsOptions) {
    this.#options = options
  }

  /** Errors: kinds `target`, `stopped`, `resolve`, and those of the workspace. */
  async resolve(signal: AbortSignal): Promise<Endpoint> {
    const { target, resolver } = this.#options
    const database = await this.#database(signal)
    const host = hostOf(target, database)
    const addresses =
      target.hostaddr === undefined
        ? await resolver.resolve(host, signal).catch((error: unknown) => {
            this.#askAgain = true // it may be at another host by now
            throw error
          })
        : [target.hostaddr]
    return { host, port: target.upstreamPort, addresses: this.#deadLast(addresses), database }
  }

  /**
   * The state of the target, for the many clients of a server that is silent: asked for at most once a
   * second. A client that comes while it is asked for gets the answer that is held. Undefined for a
   * static URL. Errors: those of the workspace, and one when it does not answer in 3 s.
   */
  async recentState(signal: AbortSignal): Promise<LakebaseDatabase | undefined> {
    const { database, clock } = this.#options
    const now = clock.monotonic()
    if (database?.held !== undefined && now - this.#stateAskedAt < STATE_GOOD_MS)
      return database.held
    this.#stateAskedAt = now
    const deadline = { clock, ms: PATIENCE_MS, reason: noAnswer, signals: [signal] }
    return withDeadline(deadline, (limit) => this.refreshState(limit))
  }

  /** The state of the target as the workspace says it now; undefined for a static URL. */
  async refreshState(signal: AbortSignal): Promise<LakebaseDatabase | undefined> {
    return this.#options.database?.askAgain(signal)
  }

  /**
   * Notes the result of a dial: a dead address comes last next time, and the workspace and DNS are
   * asked again.
   */
  dialled(endpoint: Endpoint, address: string, succeeded: boolean): void {
    if (succeeded) {
      this.#dead.delete(address)
      return
    }
    this.#dead.add(address)
    this.#askAgain = true
    this.#options.resolver.forget(endpoint.host)
  }

  async #database(signal: AbortSignal): Promise<LakebaseDatabase | undefined> {
    const { database, target } = this.#options
    if (database === undefined) return undefined
    const { held } = database
    const mustAsk = this.#askAgain
    this.#askAgain = false
    let found = await (mustAsk ? this.#askInTime(database, signal) : database.get(signal))
    // What is held may be old: an instance may have been started since, or been given its host.
    if (found === held && !isOpen(found, target)) found = await database.askAgain(signal)
    const refusal = refusalByState(found, target)
    if (refusal !== undefined) throw refusal
    return found
  }

  /** The answer that is held stays when the workspace gives none in time. */
  async #askInTime(
    database: LookUp<LakebaseDatabase>,
    ...signals: AbortSignal[]
  ): Promise<LakebaseDatabase> {
    const { clock } = this.#options
    const deadline = { clock, ms: PATIENCE_MS, reason: noAnswer, signals }
    try {
      return await withDeadline(deadline, (limit) => database.askAgain(limit))
    } catch (error) {
      const isEnded = signals.some((signal) => signal.aborted)
      if (isEnded || database.held === undefined || isGone(error)) throw error
      return database.held
    }
  }

  #deadLast(addresses: readonly string[]): readonly string[] {
    if (this.#dead.size === 0) return addresses
    for (const address of this.#dead) if (!addresses.includes(address)) this.#dead.delete(address)
    const isDead = (address: string): boolean => this.#dead.has(address)
    return [...addresses.filter((each) => !isDead(each)), ...addresses.filter(isDead)]
  }
}

function noAnswer(): ProxyError {
  return new ProxyError('credential', `workspace did not answer in ${PATIENCE_MS / 1000} s`)
}

/** Whether its description allows connections. */
function isOpen(database: LakebaseDatabase, target: TargetSettings): boolean {
  return refusalByState(database, target) === undefined && hostIn(target, database) !== undefined
}

/** The name to dial. Errors: kinds `target`, `starting`, when there is no host. */
export function hostOf(target: TargetSettings, database: LakebaseDatabase | undefined): string {
  const host = hostIn(target, database)
  if (host !== undefined) return host
  if (target.readOnly) {
    throw new ProxyError('target', `"${target.name}" has no read-only host`, {
      hint: 'Enable readable secondaries for it, or leave read-only out.',
    })
  }
  throw new ProxyError('starting', `"${target.name}" has no host yet`, {
    hint: 'It is being created: try again in a minute.',
  })
}

/** The name to dial; undefined when it has no host. */
export function hostIn(
  { target, readOnly }: TargetSettings,
  database: LakebaseDatabase | undefined,
): string | undefined {
  if (target.kind === 'static') return target.host
  if (target.kind === 'host' && !readOnly) {
    return database === undefined ? target.host : database.directHost
  }
  return readOnly ? database?.readOnlyHost : database?.readWriteHost
}
