/** A real HTTP server on loopback that answers as a test tells it, and remembers what it was asked. */

import { once } from 'node:events'
import http, { type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import type { TestContext } from 'node:test'

import { type Clock, systemClock } from '../../src/core/clock.js'
import { type Log, silentLog } from '../../src/core/log.js'
import {
  type ConnectedWorkspace,
  type OpenWorkspaceOptions,
  openWorkspace,
} from '../../src/databricks/lakebase/connect-workspace.js'

export interface SeenRequest {
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: IncomingHttpHeaders
  readonly body: string
  /** `GET /path?query`, as a test likes to compare it. */
  readonly line: string
}

export interface ScriptedReply {
  readonly status?: number
  readonly headers?: Record<string, string>
  /** An object is sent as JSON. */
  readonly body?: unknown
}

export type Script = (
  request: SeenRequest,
) => ScriptedReply | undefined | 'reset' | 'silence' | Promise<ScriptedReply | undefined>

export class ScriptedWorkspace {
  readonly requests: SeenRequest[] = []
  script: Script
  readonly #server: Server

  private constructor(server: Server, script: Script) {
    this.#server = server
    this.host = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    this.script = script
  }

  /** Closed when the test ends. What the script does not answer is a 404 in Databricks' form. */
  static async start(t: TestContext, script: Script = () => undefined): Promise<ScriptedWorkspace> {
    const server = http.createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const workspace = new ScriptedWorkspace(server, script)
    server.on('request', (request, response) => {
      workspace.#answer(request, response).catch((error: unknown) => {
        response.writeHead(500).end(String(error))
      })
    })
    t.after(() => workspace.stop())
    return workspace
  }

  /** Safe to call twice. */
  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve))
  }

  /** `http://127.0.0.1:port`. */
  readonly host: string

  /** `GET /path?query` of all requests so far. */
  get lines(): string[] {
    return this.requests.map(({ line }) => line)
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const url = new URL(request.url ?? '/', this.host)
    const seen: SeenRequest = {
      method: request.method ?? '',
      path: decodeURIComponent(url.pathname),
      query: url.searchParams,
      headers: request.headers,
      body: Buffer.concat(chunks).toString(),
      line: `${request.method} ${request.url}`,
    }
    this.requests.push(seen)
    const reply = await this.script(seen)
    if (reply === 'silence') return
    if (reply === 'reset') {
      request.socket.resetAndDestroy()
      return
    }
    const {
      status = 200,
      headers = {},
      body,
    } = reply ?? {
      status: 404,
      body: { error_code: 'NOT_FOUND', message: `${seen.path} not found [TraceId: 1]` },
    }
    const text = typeof body === 'string' ? body : JSON.stringify(body ?? {})
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(text)
  }
}

/** Replies by `METHOD /path`, the query left out. */
export function routes(
  table: Record<string, ScriptedReply | ((r: SeenRequest) => ScriptedReply)>,
): Script {
  return (request) => {
    const reply = table[`${request.method} ${request.path}`]
    return typeof reply === 'function' ? reply(request) : reply
  }
}

export interface TestWorkspaceOptions extends Partial<OpenWorkspaceOptions> {
  clock?: Clock
  log?: Log
}

/** Signed in with a personal access token, unless the options say otherwise. */
export async function connectTo(
  t: TestContext,
  host: string,
  options: TestWorkspaceOptions = {},
): Promise<ConnectedWorkspace> {
  const workspace = await openWorkspace({
    env: { DATABRICKS_HOST: host, DATABRICKS_TOKEN: 'dapi-secret' },
    programEnv: {},
    homeDir: tmpdir(),
    version: '9.9.9',
    clock: systemClock,
    log: silentLog,
    backoffMs: 1,
    ...options,
  })
  t.after(() => workspace.close())
  return workspace
}

/** For calls that no test ends early. */
export const neverAborted: AbortSignal = new AbortController().signal
