/**
 * A host's addresses: by the system's look-up, and by DNS servers asked directly when that fails or
 * has not answered in a second (long Lakebase names fail in some macOS set-ups). Answers are kept
 * for their TTL within 1–30 s; an old one is kept on while asking fails, and while it takes long.
 */

import dns from 'node:dns/promises'
import { isIP } from 'node:net'

import NodeCache from 'node-cache'
import type { Clock } from '../core/clock.js'
import { SingleFlight, waitFor } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'

export interface ResolverOptions {
  /** `IP[:port]`; empty: the system's servers. */
  servers: readonly string[]
  clock: Clock
  /** The system's look-up: getaddrinfo. */
  systemLookup?: (host: string) => Promise<readonly string[]>
}

export interface Answer {
  readonly addresses: readonly string[]
  readonly ttlSeconds: number
}

const SYSTEM_PATIENCE_MS = 1_000
// getaddrinfo says no TTL.
const SYSTEM_TTL_SECONDS = 30
const MIN_TTL_SECONDS = 1
const MAX_TTL_SECONDS = 30
/** How long one client waits for a better answer than an old one; the next ones do not. */
const OLD_ANSWER_PATIENCE_MS = 2_000
/** Some networks swallow questions for AAAA; a host with an A record need not wait for that. */
const OTHER_FAMILY_PATIENCE_MS = 200

interface LastAnswer {
  readonly addresses: readonly string[]
  /** Set while asking again fails or takes long: the next clients do not wait for it. */
  isStuck: boolean
}

export class Resolver {
  readonly #options: ResolverOptions
  /** Addresses within their TTL. */
  readonly #fresh = new NodeCache({ checkperiod: 0, useClones: false })
  readonly #lastAnswers = new Map<string, LastAnswer>()
  readonly #asking = new SingleFlight((host: string) => this.#ask(host))
  /** A look-up that hangs holds one of the few threads of this process: never two for one name. */
  readonly #bySystem = new SingleFlight((host: string) => this.bySystem(host))

  constructor(options: ResolverOptions) {
    this.#options = options
  }

  /** Errors: kind `resolve`, when there is no answer, not even an old one. */
  async resolve(host: string, signal: AbortSignal): Promise<readonly string[]> {
    if (isIP(host) !== 0) return [host]
    const known = this.#fresh.get<readonly string[]>(host)
    if (known !== undefined) return known
    const asking = this.#asking.join(host)
    const last = this.#lastAnswers.get(host)
    if (last === undefined) return waitFor(asking, signal)
    if (last.isStuck) return last.addresses
    let cancel = (): void => {}
    const patience = new Promise<readonly string[]>((resolve) => {
      cancel = this.#options.clock.after(OLD_ANSWER_PATIENCE_MS, () => {
        last.isStuck = true
        resolve(last.addresses)
      })
    })
    return waitFor(Promise.race([asking, patience]), signal).finally(() => cancel())
  }

  /** Called after a dial that failed: the next `resolve` asks again. */
  forget(host: string): void {
    this.#fresh.del(host)
  }

  /** Asks the system's look-up alone; for `doctor`. */
  async bySystem(host: string): Promise<Answer> {
    const lookup = this.#options.systemLookup ?? systemLookup
    return { addresses: await lookup(host), ttlSeconds: SYSTEM_TTL_SECONDS }
  }

  /** Asks the DNS servers alone; for `doctor`. */
  async byServers(host: string): Promise<Answer> {
    const resolver = new dns.Resolver({ timeout: 2_000, tries: 2 })
    if (this.#options.servers.length > 0) resolver.setServers(this.#options.servers)
    const asked = [resolver.resolve4(host, { ttl: true }), resolver.resolve6(host, { ttl: true })]
    const settled = Promise.allSettled(asked)
    await Promise.any(asked).catch(() => {})
    const cancel = this.#options.clock.after(OTHER_FAMILY_PATIENCE_MS, () => resolver.cancel())
    const answers = await settled
    cancel()
    const records = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
    if (records.length === 0) throw (answers[0] as PromiseRejectedResult).reason
    return {
      addresses: records.map((record) => record.address),
      ttlSeconds: Math.min(...records.map((record) => record.ttl)),
    }
  }

  async #ask(host: string): Promise<readonly string[]> {
    try {
      const { addresses, ttlSeconds } = await this.#firstAnswer(host)
      // A ttl of 0 would mean for ever to node-cache.
      const ttl = Math.max(MIN_TTL_SECONDS, Math.min(MAX_TTL_SECONDS, ttlSeconds))
      this.#fresh.set(host, addresses, ttl)
      this.#lastAnswers.set(host, { addresses, isStuck: false })
      return addresses
    } catch (error) {
      const last = this.#lastAnswers.get(host)
      if (last === undefined) throw unresolved(host, error)
      this.#fresh.set(host, last.addresses, MIN_TTL_SECONDS)
      last.isStuck = true
      return last.addresses
    }
  }

  /** The servers are asked once the system has failed or kept us waiting; the first answer counts. */
  async #firstAnswer(host: string): Promise<Answer> {
    const bySystem = this.#bySystem.join(host)
    let cancel = (): void => {}
    const patienceOver = new Promise<void>((resolve) => {
      cancel = this.#options.clock.after(SYSTEM_PATIENCE_MS, resolve)
    })
    try {
      const early = await Promise.race([bySystem.catch(() => undefined), patienceOver])
      if (early) return early
      return await Promise.any([this.#askServers(host), bySystem])
    } finally {
      cancel()
    }
  }

  /** Asks the DNS servers again while the system has not answered: they may know the name by then. */
  async #askServers(host: string): Promise<Answer> {
    for (;;) {
      try {
        return await this.byServers(host)
      } catch (error) {
        if (!this.#bySystem.isUnderWay(host)) throw error
      }
      await new Promise<void>((resolve) => this.#options.clock.after(SYSTEM_PATIENCE_MS, resolve))
    }
  }
}

async function systemLookup(host: string): Promise<string[]> {
  const answers = await dns.lookup(host, { all: true })
  return answers.map((answer) => answer.address)
}

function unresolved(host: string, cause: unknown): ProxyError {
  const answers = cause instanceof AggregateError ? (cause.errors as Error[]) : []
  return new ProxyError('resolve', `could not translate host name "${host}" to address`, {
    cause,
    // The answers of the DNS servers and of the system: "no such name" is another matter than "no answer".
    detail: answers.map(({ message }) => message).join('; ') || undefined,
    hint:
      'Check the network, or a VPN; or name a DNS server that knows the host with ' +
      '--resolver IP, or its address with --hostaddr IP.',
  })
}
