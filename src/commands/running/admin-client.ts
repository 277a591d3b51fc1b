/** Asks a running proxy's admin interface, and tells it from other programs that may listen there. */

import { once } from 'node:events'
import http from 'node:http'

import type { ProxySettings } from '../../config/resolve/settings.js'
import { ProxyError } from '../../core/errors.js'

export interface Answer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

// For the whole answer: another user's program at that port may send a byte now and then.
const TIMEOUT_MS = 5_000
// Above what /status can be: 500 sessions, whose texts the proxy cuts, and every target.
const MAX_BYTES = 32 * 1024 * 1024

export class AdminClient {
  /** URL, or the path of a Unix socket. */
  readonly address: string
  readonly #pid: number | undefined

  /** `pid` is of the process that should answer, where it is known to be there. */
  constructor(address: string, pid?: number) {
    this.address = address
    this.#pid = pid
  }

  /** Undefined when nothing answers. Errors: kind `target`, when it is not a lakebase-proxy. */
  async tryAsk(path: string, method: 'GET' | 'POST' = 'GET'): Promise<Answer | undefined> {
    let answer: { status: number; text: string }
    try {
      answer = await request(this.address, path, method)
    } catch {
      return undefined
    }
    try {
      const body: unknown = JSON.parse(answer.text)
      if (typeof body === 'object' && body !== null) {
        return { status: answer.status, body: body as Answer['body'] }
      }
    } catch {}
    throw this.stranger()
  }

  /** Errors: kind `dial`, when nothing answers. */
  async ask(path: string, method: 'GET' | 'POST' = 'GET'): Promise<Answer> {
    const answer = await this.tryAsk(path, method)
    if (answer === undefined) throw this.silence()
    return answer
  }

  silence(): ProxyError {
    const pid = this.#pid
    if (pid !== undefined) {
      return new ProxyError('dial', `lakebase-proxy (pid ${pid}) is silent at ${this.address}`, {
        hint: `If Ctrl-Z stopped it, it goes on after: kill -CONT ${pid}. To end it: kill -KILL ${pid}`,
      })
    }
    return new ProxyError('dial', `no lakebase-proxy answers at ${this.address}`, {
      hint: 'Start one with: lakebase-proxy TARGET. One that another user runs: name its place with --admin-port or --admin-socket.',
    })
  }

  stranger(): ProxyError {
    return new ProxyError('target', `the program at ${this.address} is not a lakebase-proxy`, {
      hint: 'Name the place of yours with --admin-port or --admin-socket: its log says where it is.',
    })
  }
}

/** Where the settings say it is. Errors: kind `config`, when they do not tell. */
export function adminAddress(admin: ProxySettings['admin']): string {
  if (admin === undefined) {
    throw new ProxyError('config', 'the admin port is switched off, and it is what is asked', {
      hint: 'Leave out no-admin, here and where the proxy is started.',
    })
  }
  if ('socket' in admin) return admin.socket
  if (admin.port === 0) {
    throw new ProxyError('config', 'admin-port 0 is a free port, which only the proxy knows', {
      hint: 'Leave it out: a proxy of yours is found by itself. Its log says the port, too.',
    })
  }
  return urlOf(admin.address, admin.port)
}

function urlOf(address: string, port: number): string {
  const host = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** Never through a proxy of the environment: the address is on this machine, or as good as. */
async function request(
  address: string,
  path: string,
  method: string,
): Promise<{ status: number; text: string }> {
  // A name would be refused as Host, for it could be rebound; `localhost` never is.
  const headers = { host: 'localhost' }
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  const options = { method, agent: false, signal, headers }
  const asked = address.startsWith('http:')
    ? http.request(`${address}${path}`, options)
    : http.request({ socketPath: address, path, ...options })
  asked.on('error', () => {}) // those after the response, which the response tells of too
  const [response] = (await once(asked.end(), 'response')) as [http.IncomingMessage]
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_BYTES) throw new Error('answer is too long')
    chunks.push(chunk)
  }
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }
}
