/** `wait`: returns once a running proxy is ready, which means that the next client is served. */

import { setTimeout as delay } from 'node:timers/promises'

import { duration, writeDuration } from '../../config/schema/values.js'
import { ProxyError } from '../../core/errors.js'
import { STOPPING } from '../../observe/readiness.js'
import { type Invocation, readOption } from '../invocation/command.js'
import type { Answer } from './admin-client.js'
import { type AskedProxy, askedProxies, clientOf, onlyOne } from './asked-proxies.js'

const POLL_MS = 200

/**
 * Also for a proxy that is yet to be started. Errors: kinds `dial`, `target` and `starting`, at the
 * time-out; at once kind `config`, when several run and none is named, and kind `stopping`.
 */
export async function waitUntilReady(invocation: Invocation): Promise<number> {
  const timeoutMs = timeoutOf(invocation)
  const until = Date.now() + timeoutMs
  let last: Look
  do {
    last = await look(invocation)
    if (last.ready) return 0
    await delay(POLL_MS)
  } while (Date.now() < until)
  if (last.problem !== undefined) throw last.problem
  const reasons = last.reasons.length === 0 ? '' : `: ${last.reasons.join('; ')}`
  throw new ProxyError(
    'starting',
    `lakebase-proxy is not ready after ${writeDuration(timeoutMs)}${reasons}`,
    { hint: 'Run "lakebase-proxy doctor" to see which step fails, or wait longer with --timeout.' },
  )
}

interface Look {
  readonly ready: boolean
  readonly reasons: readonly string[]
  /** Why there is no answer. */
  readonly problem?: ProxyError
}

/** Looks for the proxy each time: it may start, or start again, meanwhile. */
async function look(invocation: Invocation): Promise<Look> {
  let asked: readonly AskedProxy[]
  try {
    asked = await askedProxies(invocation)
  } catch (error) {
    if (error instanceof ProxyError && error.kind === 'target') {
      return { ready: false, reasons: [], problem: error }
    }
    throw error
  }
  const [target] = invocation.operands
  const proxies = invocation.options.has('all') ? asked : [onlyOne(asked, 'wait', target)]
  const looks = await Promise.all(proxies.map((proxy) => isReady(proxy, target)))
  return looks.find(({ ready }) => !ready) ?? { ready: true, reasons: [] }
}

async function isReady(proxy: AskedProxy, target: string | undefined): Promise<Look> {
  const client = clientOf(proxy)
  const ofTarget = target === undefined ? '' : `&target=${encodeURIComponent(target)}`
  const answer: Answer | undefined = await client.tryAsk(`/readiness?confirmed${ofTarget}`)
  if (answer === undefined) return { ready: false, reasons: [], problem: client.silence() }
  const { reasons } = answer.body
  if (Array.isArray(reasons) && reasons.includes(STOPPING)) {
    throw new ProxyError('stopping', 'lakebase-proxy is stopping', {
      hint: 'Start it again, and then wait.',
    })
  }
  return {
    ready: answer.status === 200,
    reasons: Array.isArray(reasons) ? reasons.map(String) : [],
  }
}

/** The option that `wait` and `shutdown` have. */
export function timeoutOf({ options }: Invocation): number {
  return readOption(options, 'timeout', duration())!
}
