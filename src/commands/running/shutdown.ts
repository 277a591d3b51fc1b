/** `shutdown`: asks a running proxy to let its sessions go, and returns once it is gone. */

import { setTimeout as delay } from 'node:timers/promises'

import { writeDuration } from '../../config/schema/values.js'
import { ProxyError } from '../../core/errors.js'
import type { Invocation } from '../invocation/command.js'
import type { AdminClient } from './admin-client.js'
import { askedProxies, clientOf, onlyOne } from './asked-proxies.js'
import { timeoutOf } from './wait.js'

const POLL_MS = 200

/**
 * With `--all`, a proxy that cannot be asked keeps none of the others running. Errors: kinds `dial`,
 * `target` and `config` of the first that does not stop, and `stopping` at the time-out.
 */
export async function shutDown(invocation: Invocation): Promise<number> {
  const { stderr } = invocation.surroundings
  const timeoutMs = timeoutOf(invocation)
  const asked = await askedProxies(invocation)
  const proxies = invocation.options.has('all')
    ? asked
    : [onlyOne(asked, 'shutdown', invocation.operands[0])]
  const asks = await Promise.allSettled(proxies.map(askToStop))
  const clients = asks.flatMap((ask) => (ask.status === 'fulfilled' ? ask.value : []))
  const until = Date.now() + timeoutMs
  let told = false
  while (await anyAnswers(clients)) {
    if (Date.now() >= until) {
      throw new ProxyError('stopping', `still draining after ${writeDuration(timeoutMs)}`, {
        hint: 'It goes on, for as long as its drain-timeout; wait longer with --timeout.',
      })
    }
    if (!told) stderr.write('Letting sessions go…\n')
    told = true
    await delay(POLL_MS)
  }
  const what = clients.length === 1 ? 'lakebase-proxy has' : `${clients.length} proxies have`
  if (clients.length > 0) stderr.write(`${what} stopped.\n`)
  const problem = asks.find((ask) => ask.status === 'rejected')
  if (problem !== undefined) throw problem.reason
  return 0
}

async function askToStop(proxy: Parameters<typeof clientOf>[0]): Promise<AdminClient> {
  const client = clientOf(proxy)
  const { status, body } = await client.ask('/shutdown', 'POST')
  if (status === 200) return client
  throw new ProxyError('target', `it does not stop: ${body.error ?? `HTTP status ${status}`}`)
}

async function anyAnswers(clients: readonly AdminClient[]): Promise<boolean> {
  const answers = await Promise.all(clients.map((client) => client.tryAsk('/liveness')))
  return answers.some((answer) => answer !== undefined)
}
