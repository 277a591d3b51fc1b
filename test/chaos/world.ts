/**
 * A proxy whose way to the emulator's front door leads through a relay, by a clock that can be set;
 * and the counting that shows that nothing was left behind.
 */

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { ProxyOptions } from '../../src/config/resolve/options.js'
import { type Clock, systemClock } from '../../src/core/clock.js'
import type { Emulator } from '../support/emulator-control.js'
import { proxyBefore, type TestProxy } from '../support/proxy.js'
import type { LogLine } from '../support/recorded-log.js'
import { Relay } from './relay.js'

export interface World extends TestProxy {
  /** Between the proxy and the front door. */
  readonly relay: Relay
  /** The proxy's. */
  readonly clock: SettableClock
  /** How the sessions ended that said something, in order. */
  ends(): readonly LogLine['facts'][]
  /**
   * No session, client or upstream connection is left and no bug was found; otherwise fails after 5 s.
   */
  assertNothingLeft(): Promise<void>
}

export interface WorldOptions extends Partial<ProxyOptions> {
  clock?: SettableClock
}

/** One target, `demo-instance`, ready for clients. Everything is closed when the test ends. */
export async function worldBefore(
  t: TestContext,
  emulator: Emulator,
  { clock = new SettableClock(), ...options }: WorldOptions = {},
): Promise<World> {
  const relay = await Relay.start({ to: { port: emulator.frontPort } })
  t.after(() => relay.close())
  const proxy = await proxyBefore(t, emulator, { upstreamPort: relay.port, ...options, clock })
  const { listener, sessions } = proxy.daemon.targets[0]!
  // Requested now, so that a fault hits only what its test is about.
  await proxy.daemon.targets[0]!.prime().catch(() => {})
  return {
    ...proxy,
    relay,
    clock,
    ends: () =>
      proxy.log.lines.filter((line) => line.message === 'session ended').map(({ facts }) => facts),
    async assertNothingLeft() {
      await eventually(() => [...listener.sessions].length === 0, 'sessions are left')
      assert.equal(sessions.admitted, 0)
      await eventually(() => relay.openCount === 0, 'upstream connections are left')
      const bugs = proxy.log.lines.filter(({ level }) => level === 'error' || level === 'fatal')
      assert.deepEqual(bugs, [])
    },
  }
}

/** The system's clock, set forward or back by `aheadMs`. Timers run by the real one, as they do. */
export class SettableClock implements Clock {
  aheadMs = 0

  now(): number {
    return systemClock.now() + this.aheadMs
  }

  monotonic(): number {
    return systemClock.monotonic()
  }

  after(delayMs: number, fn: () => void): () => void {
    return systemClock.after(delayMs, fn)
  }
}

// Tests run on machines that are busy with others: what hangs, hangs longer than this.
const GRACE_MS = 30_000

/** For what no event tells. */
export async function eventually(
  isTrue: () => boolean,
  otherwise: string,
  withinMs = 5_000,
): Promise<void> {
  const until = performance.now() + withinMs + GRACE_MS
  while (!isTrue()) {
    if (performance.now() > until) assert.fail(`after ${withinMs} ms: ${otherwise}`)
    await delay(5)
  }
}

/** Fails what takes longer than its bound, which is for the reader, and a grace for busy machines. */
export async function within<T>(boundMs: number, promise: Promise<T>): Promise<T> {
  const limit = new AbortController()
  try {
    return await Promise.race([
      promise,
      delay(boundMs + GRACE_MS, undefined, { signal: limit.signal }).then(() =>
        assert.fail(`it took far longer than ${boundMs} ms`),
      ),
    ])
  } finally {
    limit.abort()
  }
}
