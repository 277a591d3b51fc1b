/** `shutdown`: asks a running proxy to let its sessions go, and returns once it is gone. */

import { setTimeout as delay } from 'node:timers/promises'

import { writeDuration } from '../../config/schema/values.js'
import { ProxyError } from '../../core/errors.js'
import type { Invocation } from '../invocation/command.js'
import type { AdminClient } from './admin-client.js'
import { askedProxies, clientOf, onlyOne } from './asked-proxies.js'
import { timeoutOf } from './wait.js'

const POLL_MS = 200

/** Errors: kinds `dial` and `config`, and `stopping` at the time-out. */
export async function shutDown(invocation: Invocation): Promise<number> {
  const { stderr } = invocation.surroundings
  const timeoutMs = timeoutOf(invocation)
  const asked = await askedProxies(invocation)
  const proxies = invocation.options.has('all')
    ? asked
    : [onlyOne(asked, 'shutdown', invocation.operands[0])]
  const clients = proxies.map(clientOf)
  for (const client of clients) {
    const { status, body } = await client.ask('/shutdown', 'POST')
    if (status !== 200) {
      throw new ProxyError('target', `it does not stop: ${body.error ?? `HTTP status ${status}`}`)
    }
  }
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
  stderr.write(`${what} stopped.\n`)
  return 0
}

async function anyAnswers(clients: readonly AdminClient[]): Promise<boolean> {
  const answers = await Promise.all(clients.map((client) => client.tryAsk('/liveness')))
  return answers.some((answer) => answer !== undefined)
}
