/**
 * The people whom the workspace has named, each by a hash of what they gave: bounded in number, and
 * each forgotten, with all that was theirs, 15 minutes after the last login.
 */

import type { Clock } from '../core/clock.js'
import type { Credentials } from '../credentials/credentials.js'
import type { PersonalWorkspace } from '../databricks/lakebase/connect-workspace.js'
import type { LoginMethod } from './person.js'

export interface Known {
  readonly key: string
  /** The identity's name in the workspace. */
  readonly name: string
  readonly method: LoginMethod
  readonly workspace: PersonalWorkspace
  /** The credentials for each group; '' is the person's own role. */
  readonly credentials: Map<string, Credentials>
  checkedAt: number
  usedAt: number
}

const CHECK_AGAIN_MS = 15 * 60_000
const IDLE_MS = 15 * 60_000
const MAX_PEOPLE = 2_000

export class KnownPeople {
  readonly #clock: Clock
  /** In the order of their last login. */
  readonly #byKey = new Map<string, Known>()
  #cancelSweep: (() => void) | undefined
  #closed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#byKey.size
  }

  /** The person, when the workspace has named them in the last 15 minutes. */
  current(key: string): Known | undefined {
    const known = this.#byKey.get(key)
    if (known === undefined) return undefined
    // A clock that was set back would put the next check off.
    if (Math.abs(this.#clock.now() - known.checkedAt) >= CHECK_AGAIN_MS) return undefined
    return this.#use(known)
  }

  /** The workspace has named this person again; undefined when it was another, or is not held. */
  confirm(key: string, name: string): Known | undefined {
    const known = this.#byKey.get(key)
    if (known?.name !== name) return undefined
    known.checkedAt = this.#clock.now()
    return this.#use(known)
  }

  /** Once closed, it keeps no one: see `holds`. */
  add(facts: Omit<Known, 'credentials' | 'checkedAt' | 'usedAt'>): Known {
    const now = this.#clock.now()
    const known = { ...facts, credentials: new Map(), checkedAt: now, usedAt: now }
    this.forget(facts.key)
    if (this.#closed) return known
    this.#byKey.set(known.key, known)
    for (const [oldest] of this.#byKey) {
      if (this.#byKey.size <= MAX_PEOPLE) break
      this.forget(oldest)
    }
    this.#sweepLater()
    return known
  }

  holds(known: Known): boolean {
    return this.#byKey.get(known.key) === known
  }

  /** Forgets the person with this key: credentials, workspace and all. */
  forget(key: string): void {
    const known = this.#byKey.get(key)
    if (known === undefined) return
    this.#byKey.delete(key)
    for (const each of known.credentials.values()) each.close()
    known.credentials.clear()
    void known.workspace.close()
  }

  /** Holds no one from now on. Safe to call twice. */
  close(): void {
    this.#closed = true
    for (const key of [...this.#byKey.keys()]) this.forget(key)
    this.#cancelSweep?.()
  }

  #use(known: Known): Known {
    known.usedAt = this.#clock.now()
    this.#byKey.delete(known.key)
    this.#byKey.set(known.key, known)
    return known
  }

  /** One timer, for the person whose last login is longest ago. */
  #sweepLater(): void {
    const [oldest] = this.#byKey.values()
    if (this.#cancelSweep !== undefined || oldest === undefined || this.#closed) return
    const leftMs = Math.max(0, oldest.usedAt + IDLE_MS - this.#clock.now())
    this.#cancelSweep = this.#clock.after(Math.min(IDLE_MS, leftMs), () => {
      this.#cancelSweep = undefined
      const now = this.#clock.now()
      for (const { key, usedAt } of [...this.#byKey.values()]) {
        if (Math.abs(now - usedAt) >= IDLE_MS) this.forget(key)
      }
      this.#sweepLater()
    })
  }
}
