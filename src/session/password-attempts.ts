/**
 * Slows down guessing: each client address has a few attempts at hand, which come back one by one.
 * Only wrong ones are used up. Other addresses do not notice, and the table is bounded.
 */

import { isIPv6 } from 'node:net'

import type { Clock } from '../core/clock.js'
import { pause } from '../core/deadline.js'
import { ProxyError } from '../core/errors.js'

const BURST = 10
const INTERVAL_MS = 500
// A client that would wait longer is refused at once; it also bounds how many wait for one address.
const LONGEST_WAIT_MS = 5_000
const MAX_ADDRESSES = 10_000

export class PasswordAttempts {
  readonly #clock: Clock
  /** When an address would have all its attempts back. The one that tried last is at the end. */
  readonly #restoredAt = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * Waits for a turn, then checks. `isRight` is synchronous, so that any number of connections
   * at once have no more guesses than one. Errors: kind `limit`, and the signal's reason.
   */
  async check<T>(
    address: string | undefined,
    isRight: () => T | undefined,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    const waitMs = this.take(address)
    if (waitMs > 0) await pause(this.#clock, waitMs, signal)
    const proved = isRight()
    if (proved !== undefined) this.giveBack(address)
    return proved
  }

  /** Takes one attempt: how long to wait until it may be used. Errors: kind `limit`. */
  take(address: string | undefined): number {
    const key = keyOf(address)
    const { restoredAt, waitMs } = this.#next(key)
    this.#remember(key, restoredAt)
    return waitMs
  }

  /** It was used, and was not wrong. */
  giveBack(address: string | undefined): void {
    const key = keyOf(address)
    const restoredAt = (this.#restoredAt.get(key) ?? 0) - INTERVAL_MS
    if (restoredAt > this.#clock.monotonic()) this.#remember(key, restoredAt)
    else this.#restoredAt.delete(key)
  }

  /** Waits until the address has an attempt at hand, and takes none. Errors: kind `limit`. */
  async turn(address: string | undefined, signal: AbortSignal): Promise<void> {
    const { waitMs } = this.#next(keyOf(address))
    if (waitMs > 0) await pause(this.#clock, waitMs, signal)
  }

  /** One that was checked elsewhere was wrong. */
  wasWrong(address: string | undefined): void {
    const key = keyOf(address)
    const now = this.#clock.monotonic()
    const furthest = now + BURST * INTERVAL_MS + LONGEST_WAIT_MS
    this.#remember(key, Math.min(furthest, this.#restored(key) + INTERVAL_MS))
  }

  /** How many addresses it remembers. */
  get size(): number {
    return this.#restoredAt.size
  }

  #restored(key: string): number {
    const now = this.#clock.monotonic()
    return Math.max(this.#restoredAt.get(key) ?? now, now)
  }

  #next(key: string): { restoredAt: number; waitMs: number } {
    const restoredAt = this.#restored(key) + INTERVAL_MS
    const waitMs = restoredAt - this.#clock.monotonic() - BURST * INTERVAL_MS
    if (waitMs > LONGEST_WAIT_MS) throw tooMany()
    return { restoredAt, waitMs }
  }

  #remember(key: string, restoredAt: number): void {
    this.#restoredAt.delete(key)
    this.#restoredAt.set(key, restoredAt)
    if (this.#restoredAt.size <= MAX_ADDRESSES) return
    for (const oldest of this.#restoredAt.keys()) {
      this.#restoredAt.delete(oldest)
      return
    }
  }
}

/** One machine can have all addresses of an IPv6 /64. Unix sockets count as one address. */
function keyOf(address: string | undefined): string {
  if (address === undefined) return 'unix socket'
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined) return mapped
  const bare = address.split('%', 1)[0]!
  return isIPv6(bare) ? network64(bare) : address
}

function network64(address: string): string {
  const [head = '', tail] = address.split('::')
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const behind = tail === '' ? [] : tail.split(':')
    while (groups.length + behind.length < 8) groups.push('0')
    groups.push(...behind)
  }
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')
}

function tooMany(): ProxyError {
  return new ProxyError('limit', 'too many wrong passwords from this address', {
    hint: 'Wait a few seconds, and connect with the right password.',
  })
}
