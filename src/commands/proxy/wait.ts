/** `wait`: returns once a running proxy is ready, and `shutdown`: once it has stopped. */

import { setTimeout as delay } from 'node:timers/promises'

import { duration, writeDuration } from '../../config/schema/values.js'
import { ProxyError } from '../../core/errors.js'
import type { Invocation } from '../cli/command.js'
import { readOption } from '../cli/read-option.js'
import { AdminClient, type Answer } from './admin-client.js'

const POLL_MS = 200

/** Also for a proxy that is yet to be started. Errors: kinds `dial` and `starting`, at the time-out. */
export async function waitUntilReady(invocation: Invocation): Promise<number> {
  const client = await AdminClient.of(invocation)
  const timeoutMs = timeoutOf(invocation)
  const until = Date.now() + timeoutMs
  let last: Answer | undefined
  do {
    last = await client.tryAsk('/readiness')
    if (last?.status === 200) return 0
    await delay(POLL_MS)
  } while (Date.now() < until)
  if (last === undefined) throw client.silence()
  const reasons = Array.isArray(last.body.reasons) ? last.body.reasons.join('; ') : undefined
  throw new ProxyError(
    'starting',
    `lakebase-proxy is not ready after ${writeDuration(timeoutMs)}${reasons === undefined ? '' : `: ${reasons}`}`,
    { hint: 'Run "lakebase-proxy doctor" to see which step fails, or wait longer with --timeout.' },
  )
}

/** Asks it to drain, and returns once it is gone. Errors: kinds `dial`, and `stopping` at the time-out. */
export async function shutDown(invocation: Invocation): Promise<number> {
  const { stderr } = invocation.surroundings
  const client = await AdminClient.of(invocation)
  const timeoutMs = timeoutOf(invocation)
  const { status, body } = await client.ask('/shutdown', 'POST')
  if (status !== 200) {
    throw new ProxyError('target', `it does not stop: ${body.error ?? `HTTP status ${status}`}`)
  }
  const until = Date.now() + timeoutMs
  let told = false
  while ((await client.tryAsk('/liveness')) !== undefined) {
    if (Date.now() >= until) {
      throw new ProxyError('stopping', `still draining after ${writeDuration(timeoutMs)}`, {
        hint: 'It goes on, for as long as its drain-timeout; wait longer with --timeout.',
      })
    }
    if (!told) stderr.write('Letting sessions go…\n')
    told = true
    await delay(POLL_MS)
  }
  stderr.write('lakebase-proxy has stopped.\n')
  return 0
}

function timeoutOf({ options }: Invocation): number {
  return readOption(options, 'timeout', duration())!
}
