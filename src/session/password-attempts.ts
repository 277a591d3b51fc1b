/**
 * Slows down guessing: each client address has a few attempts at hand, which come back one by one.
 * Only wrong ones are used up. Where only the server can say whether a password is right, a few
 * logins of one address go on at once. Other addresses do not notice, and the tables are bounded.
 */

import { isIPv6 } from 'node:net'

import type { Clock } from '../core/clock.js'
import { LinkedAbort, pause } from '../core/deadline.js'
import { errorKind, ProxyError } from '../core/errors.js'
import { isLoopback } from '../core/loopback.js'
import { Turns } from '../core/turns.js'
import { tooManyLogins } from './person-errors.js'

const BURST = 10
const INTERVAL_MS = 500
// A client that would wait longer is refused at once; it also bounds how many wait for one address.
const LONGEST_WAIT_MS = 5_000
const MAX_ADDRESSES = 10_000
// Logins of one address that the server checks.
const UNPROVED_AT_ONCE = 4
const UNPROVED_WAITING = 200
const UNPROVED_WAIT_MS = 30_000
// Questions to the workspace for logins of one address: half of those of the process.
const ASKED_AT_ONCE = 4
const ASKED_WAITING = 4_000

export class PasswordAttempts {
  readonly #clock: Clock
  /** When each address has all its attempts back, in the order of the last attempt. */
  readonly #restoredAt = new Map<string, number>()
  /** For each address that has a login under way that the server checks. */
  readonly #unproved = new Map<string, Turns>()
  /** For each address that the workspace is asked for. */
  readonly #asked = new Map<string, Turns>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * Waits for a turn, then checks. The attempt stays taken until the password is known to be right,
   * so that any number of connections at once, and of clients that leave, have no more guesses than
   * one. Errors: kind `limit`, the signal's reason, and those of `isRight`.
   */
  async check<T>(
    address: string | undefined,
    isRight: () => Promise<T | undefined>,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    const waitMs = this.take(address)
    if (waitMs > 0) await pause(this.#clock, waitMs, signal)
    const proved = await isRight()
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

  /** The attempt was used, and was not wrong. */
  giveBack(address: string | undefined): void {
    const key = keyOf(address)
    const restoredAt = (this.#restoredAt.get(key) ?? 0) - INTERVAL_MS
    if (restoredAt > this.#clock.monotonic()) this.#remember(key, restoredAt)
    else this.#restoredAt.delete(key)
  }

  /** Waits until the address has an attempt at hand, and takes none. Errors: kind `limit`. */
  async waitUntilAllowed(address: string | undefined, signal: AbortSignal): Promise<void> {
    const { waitMs } = this.#next(keyOf(address))
    if (waitMs > 0) await pause(this.#clock, waitMs, signal)
  }

  /** A password that was checked elsewhere was wrong. */
  recordWrong(address: string | undefined): void {
    const key = keyOf(address)
    const now = this.#clock.monotonic()
    const furthest = now + BURST * INTERVAL_MS + LONGEST_WAIT_MS
    this.#remember(key, Math.min(furthest, this.#restored(key) + INTERVAL_MS))
  }

  /**
   * Runs a login whose password only the server can check: few of one address at once, each once the
   * address has an attempt at hand. Any refusal counts as wrong: it tells which roles there are. So
   * does a client that leaves before the server has answered. `taken`: attempts that were taken for
   * this login before. Errors: kind `limit`, the signal's reason, and those of `logIn`.
   */
  async whileUnproved<T>(
    address: string | undefined,
    logIn: () => Promise<T>,
    { signal, taken }: { readonly signal: AbortSignal; readonly taken: number },
  ): Promise<T> {
    const key = keyOf(address)
    const turns = this.#unproved.get(key) ?? turnsOfOneAddress()
    this.#unproved.set(key, turns)
    const waiting = new LinkedAbort(signal)
    waiting.abortAfter(this.#clock, UNPROVED_WAIT_MS, tooManyUnproved)
    try {
      return await turns.run(async () => {
        waiting.release()
        const waitMs = this.take(address)
        if (waitMs > 0) await pause(this.#clock, waitMs, signal)
        const notWrong = (): void => {
          for (let left = taken + 1; left > 0; left--) this.giveBack(address)
        }
        try {
          const loggedIn = await logIn()
          notWrong()
          return loggedIn
        } catch (error) {
          const kind = errorKind(error)
          if (!signal.aborted && kind !== 'password' && kind !== 'identity') notWrong()
          throw error
        }
      }, waiting.signal)
    } finally {
      waiting.release()
      if (turns.isIdle && this.#unproved.get(key) === turns) this.#unproved.delete(key)
    }
  }

  /** Asks the workspace for one address, a few at once, so that others get their turn. Errors: kind `limit`. */
  async askInTurn<T>(
    address: string | undefined,
    ask: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const key = keyOf(address)
    const limits = { atOnce: ASKED_AT_ONCE, waiting: ASKED_WAITING, full: tooManyLogins }
    const turns = this.#asked.get(key) ?? new Turns(limits)
    this.#asked.set(key, turns)
    try {
      return await turns.run(ask, signal)
    } finally {
      if (turns.isIdle && this.#asked.get(key) === turns) this.#asked.delete(key)
    }
  }

  /** How many addresses it remembers. */
  get size(): number {
    return this.#restoredAt.size + this.#unproved.size + this.#asked.size
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

function turnsOfOneAddress(): Turns {
  return new Turns({ atOnce: UNPROVED_AT_ONCE, waiting: UNPROVED_WAITING, full: tooManyUnproved })
}

/**
 * One user of this machine has all of 127.0.0.0/8 and ::1, and one machine all addresses of an IPv6
 * /64. An IPv4 address is the same one when it is written as an IPv6 address. Unix sockets count as
 * one address.
 */
function keyOf(address: string | undefined): string {
  if (address === undefined) return 'unix socket'
  if (isLoopback(address)) return 'loopback'
  const bare = address.split('%', 1)[0]!
  if (!isIPv6(bare)) return address
  // The URL parser writes every spelling of an IPv6 address in one way.
  const spelt = new URL(`http://[${bare}]`).hostname.slice(1, -1)
  const [, high, low] = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(spelt) ?? []
  return high === undefined || low === undefined ? network64(spelt) : ipv4(high, low)
}

function ipv4(high: string, low: string): string {
  return [high, low]
    .map((part) => Number.parseInt(part, 16))
    .flatMap((part) => [part >> 8, part & 0xff])
    .join('.')
}

function network64(spelt: string): string {
  const [head = '', tail] = spelt.split('::')
  const groups = head === '' ? [] : head.split(':')
  const last = tail === undefined || tail === '' ? [] : tail.split(':')
  while (groups.length + last.length < 8) groups.push('0')
  return groups.slice(0, 4).join(':')
}

function tooMany(): ProxyError {
  return new ProxyError('limit', 'too many wrong passwords from this address', {
    hint: 'Wait a few seconds, and connect with the right password.',
  })
}

function tooManyUnproved(): ProxyError {
  return new ProxyError('limit', 'too many logins with database credentials from this address', {
    hint: 'Wait a few seconds, or connect with a personal access token or an OAuth token.',
  })
}
