/** Asks a running proxy's admin port, and tells it from whatever else may listen there. */

import http from 'node:http'

import type { Config } from '../../config/resolve/config.js'
import { ProxyError } from '../../core/errors.js'
import type { Invocation } from '../cli/command.js'

export interface Answer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

const TIMEOUT_MS = 5_000
// Above what /status can be: 500 sessions, whose texts the proxy cuts, and every target.
const MAX_BYTES = 32 * 1024 * 1024

export class AdminClient {
  readonly url: string

  private constructor(url: string) {
    this.url = url
  }

  /** Errors: kind `config`, when the settings do not tell where it is. */
  static async of(invocation: Pick<Invocation, 'loadConfig'>): Promise<AdminClient> {
    const config = await invocation.loadConfig({ targets: [], targetOptional: true, notice() {} })
    return new AdminClient(adminUrl(config))
  }

  /** Undefined when nothing answers. Errors: kind `target`, when it is no lakebase-proxy. */
  async tryAsk(path: string, method: 'GET' | 'POST' = 'GET'): Promise<Answer | undefined> {
    let answer: { status: number; text: string }
    try {
      answer = await request(`${this.url}${path}`, method)
    } catch {
      return undefined
    }
    try {
      const body: unknown = JSON.parse(answer.text)
      if (typeof body === 'object' && body !== null) {
        return { status: answer.status, body: body as Answer['body'] }
      }
    } catch {}
    throw new ProxyError('target', `what answers at ${this.url} is no lakebase-proxy`, {
      hint: 'Its admin port may have moved to a free one: its log says so. Name it with --admin-port.',
    })
  }

  /** Errors: kind `dial`, when nothing answers. */
  async ask(path: string, method: 'GET' | 'POST' = 'GET'): Promise<Answer> {
    const answer = await this.tryAsk(path, method)
    if (answer === undefined) throw this.silence()
    return answer
  }

  silence(): ProxyError {
    return new ProxyError('dial', `no lakebase-proxy answers at ${this.url}`, {
      hint: 'Start one with: lakebase-proxy TARGET. If one runs, name its port with --admin-port.',
    })
  }
}

function adminUrl({ settings: { admin } }: Config): string {
  if (admin === undefined) {
    throw new ProxyError('config', 'the admin port is switched off, and it is what is asked', {
      hint: 'Leave out no-admin, here and where the proxy is started.',
    })
  }
  if (admin.port === 0) {
    throw new ProxyError('config', 'admin-port 0 is a free port, which only the proxy knows', {
      hint: 'Its log says which: name it with --admin-port.',
    })
  }
  const { address, port } = admin
  const host = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** Never through a proxy of the environment: what is asked is on this machine, or as good as. */
function request(url: string, method: string): Promise<{ status: number; text: string }> {
  // A name would be refused as Host, for it could be rebound; `localhost` never is.
  const headers = { host: 'localhost' }
  return new Promise((resolve, reject) => {
    const asked = http.request(url, { method, agent: false, timeout: TIMEOUT_MS, headers })
    asked.on('timeout', () => asked.destroy(new Error('timeout expired')))
    asked.on('error', reject)
    asked.on('response', (response) => {
      const chunks: Buffer[] = []
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > MAX_BYTES) asked.destroy(new Error('answer is too long'))
        else chunks.push(chunk)
      })
      response.on('error', reject)
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() })
      })
    })
    asked.end()
  })
}
