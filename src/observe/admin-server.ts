/**
 * The admin interface: probes, metrics, status, the status page, and the way to stop the proxy.
 * Each request is bounded in time and size, each connection serves one request, and a request that
 * a foreign page could have sent is refused.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { setImmediate } from 'node:timers/promises'

import { SingleFlight } from '../core/deadline.js'
import type { Log } from '../core/log.js'
import { AdminConnections } from './admin-connections.js'
import { isFromLoopback, refusalOf } from './admin-guard.js'
import { type AdminPlace, listenForAdmin } from './admin-place.js'
import type { EventStreams } from './event-streams.js'
import { pageFile } from './page-files.js'
import type { Readiness, ReadinessQuestion } from './readiness.js'

export interface AdminServerOptions {
  place: AdminPlace
  answers: AdminAnswers
  events: EventStreams
  log: Log
}

interface Asked {
  readonly path: string
  /** The query string without its question mark. */
  readonly query: string
}

/** The answers of the proxy, for each kind of question. */
export interface AdminAnswers {
  isListening(): boolean
  /** Readiness of the process, or of one target: undefined when none has this name. */
  readiness(question: ReadinessQuestion): Promise<Readiness | undefined>
  targetNames(): readonly string[]
  /** As JSON text. */
  status(): Promise<string>
  metrics(): Promise<{ type: string; text: string }>
  /** Asks the proxy to let its sessions go and end; returns at once. */
  shutdown(): void
}

const LIMITS = {
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  connectionsCheckingInterval: 1_000,
  maxHeaderSize: 8_192,
}
// Also ends the stream of a status page that has stopped reading: something is sent every second.
const SILENCE_MS = 30_000

const JSON_TYPE = 'application/json; charset=utf-8'

const HEADERS = {
  Connection: 'close',
  'Cache-Control': 'no-store',
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
}

export class AdminServer {
  readonly #options: AdminServerOptions
  readonly #server: Server
  readonly #connections: AdminConnections
  readonly #status: SingleFlight<string>
  readonly #metrics: SingleFlight<{ type: string; text: string }>

  constructor(options: AdminServerOptions) {
    const { answers } = options
    this.#options = options
    // Made after the requests that have already arrived are read, and for all of them.
    this.#status = new SingleFlight(() => setImmediate().then(() => answers.status()))
    this.#metrics = new SingleFlight(() => setImmediate().then(() => answers.metrics()))
    this.#server = createServer(LIMITS, (request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        options.log.error({ err: error, path: request.url }, 'admin request failed')
        response.destroy()
      })
    })
    this.#server.timeout = SILENCE_MS
    this.#connections = new AdminConnections(this.#server)
  }

  /** Returns its URL, or the path of its Unix socket. Errors: kind `config`. */
  start(): Promise<string> {
    const { place, log } = this.#options
    return listenForAdmin(this.#server, place, log)
  }

  /** Safe to call twice. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!this.#connections.isFirstRequest(request.socket)) return
    const { place } = this.#options
    const refusal = refusalOf(request, 'host' in place ? place.host : undefined)
    if (refusal !== undefined) {
      return sendJson(response, refusal.status, { error: refusal.message })
    }
    const [path = '/', query = ''] = (request.url ?? '/').split('?', 2)
    const allowed = path === '/shutdown' ? 'POST' : 'GET'
    if (request.method !== allowed) {
      response.setHeader('Allow', allowed)
      return sendJson(response, 405, { error: `only ${allowed} is allowed here` })
    }
    return this.#route({ path, query }, request, response)
  }

  async #route(
    { path, query }: Asked,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { answers, events, place } = this.#options
    switch (path) {
      case '/startup': {
        const started = answers.isListening()
        return sendJson(response, started ? 200 : 503, { started })
      }
      case '/readiness': {
        const asked = new URLSearchParams(query)
        const target = asked.get('target') ?? undefined
        const found = await answers.readiness({ target, confirmed: asked.has('confirmed') })
        if (found === undefined) {
          const targets = answers.targetNames()
          return sendJson(response, 404, { error: 'no target has this name', targets })
        }
        return sendJson(response, found.ready ? 200 : 503, found)
      }
      case '/liveness':
        return sendJson(response, 200, { alive: true })
      case '/metrics': {
        const { type, text } = await this.#metrics.join()
        return send(response, 200, type, text)
      }
      case '/status':
        return send(response, 200, JSON_TYPE, await this.#status.join())
      case '/events':
        if (events.isFull) return sendJson(response, 503, { error: 'too many pages are open' })
        this.#connections.isStream(request.socket)
        response.writeHead(200, { ...HEADERS, 'Content-Type': 'text/event-stream' })
        return events.add(response)
      case '/shutdown':
        if (!('socket' in place || isFromLoopback(request))) {
          return sendJson(response, 403, { error: 'only from this machine' })
        }
        sendJson(response, 200, { stopping: true })
        return answers.shutdown()
      default: {
        const file = await pageFile(path)
        if (file === undefined) return sendJson(response, 404, { error: 'nothing is here' })
        return send(response, 200, file.type, file.bytes)
      }
    }
  }
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  send(response, status, JSON_TYPE, `${JSON.stringify(body)}\n`)
}

function send(
  response: ServerResponse,
  status: number,
  type: string,
  body: string | Uint8Array,
): void {
  response.writeHead(status, { ...HEADERS, 'Content-Type': type }).end(body)
}
