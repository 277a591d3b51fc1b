/** HTTP as a test wants it: any Host, any method, and the bytes as they came. */

import http from 'node:http'
import net from 'node:net'

export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

export interface Question {
  method?: string
  headers?: Record<string, string>
  body?: string
  /** An address of this machine, to ask from. */
  localAddress?: string
}

export function ask(url: string, question: Question = {}): Promise<Answer> {
  const { body, ...options } = question
  return new Promise((resolve, reject) => {
    const request = http.request(url, { agent: false, ...options }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const { statusCode = 0, headers } = response
        resolve({ status: statusCode, headers, body: Buffer.concat(chunks).toString() })
      })
    })
    request.on('error', reject)
    request.end(body)
  })
}

/** Such as `{ startup: 200, readiness: 503, liveness: 200 }`. */
export async function probes(adminUrl: string): Promise<Record<string, number>> {
  const found: Record<string, number> = {}
  for (const path of ['startup', 'readiness', 'liveness']) {
    found[path] = (await ask(`${adminUrl}/${path}`)).status
  }
  return found
}

/** A free port, for a number that must be known before it is opened. */
export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo
      server.close(() => resolve(port))
    })
  })
}
