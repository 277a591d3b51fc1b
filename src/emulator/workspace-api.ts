/**
 * The HTTP server of the emulated workspace, on loopback: who calls, which route, what went wrong,
 * in the real API's shapes. The routes themselves are in the files beside it.
 */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { ApiError, notFound } from './api-error.js'
import { type ApiContext, type ApiName, type ApiRoute, route } from './api-route.js'
import type { Faults } from './faults.js'
import type { Identity } from './inventory.js'
import { branchRoutes } from './workspace-branches.js'
import { databaseRoutes } from './workspace-database.js'
import { oidcRoutes } from './workspace-oidc.js'
import { postgresRoutes } from './workspace-postgres.js'
import { syncedTableRoutes } from './workspace-synced-tables.js'

/** A way in which the API can be told to misbehave. */
export type ApiFault =
  /** Answers this instead; `body` defaults to an error in the real shape. */
  | {
      readonly status: number
      readonly errorCode?: string
      readonly message?: string
      readonly headers?: Readonly<Record<string, string>>
      readonly body?: string
    }
  | { readonly how: 'reset' | 'hang' | 'garbage' }
  /** Mints a credential that has expired already. */
  | { readonly how: 'expired' }
  /** Gives the right answer, but late. */
  | { readonly delayMs: number }

export type ApiFaults = Faults<ApiName, ApiFault>

/** A call that came in, answered or not. */
export interface RecordedCall {
  readonly api: ApiName
  readonly method: string
  /** Path and query. */
  readonly url: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
  readonly at: number
}

export interface WorkspaceApi {
  /** `http://127.0.0.1:port` */
  readonly url: string
  /** In order of arrival; the last 10,000. */
  readonly calls: readonly RecordedCall[]
  close(): Promise<void>
}

export interface WorkspaceApiOptions extends ApiContext {
  readonly faults: ApiFaults
  readonly port: number
}

const MAX_BODY_BYTES = 1_000_000
const MAX_RECORDED_CALLS = 10_000

export async function startWorkspaceApi(options: WorkspaceApiOptions): Promise<WorkspaceApi> {
  const routes = [
    meRoute,
    ...oidcRoutes(options),
    ...databaseRoutes(options),
    ...branchRoutes(options),
    ...postgresRoutes(options),
    ...syncedTableRoutes(options),
  ]
  const calls: RecordedCall[] = []
  const server = createServer((request, response) => {
    answer(request, response, routes, calls, options).catch(() => response.destroy())
  })
  server.listen(options.port, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    async close() {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

const meRoute = route('me', 'GET /api/2.0/preview/scim/v2/Me', ({ identity }) => ({
  schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'],
  id: '1000000000000001',
  userName: identity.userName,
  displayName: identity.displayName,
  active: true,
  ...(identity.kind === 'user' && {
    emails: [{ type: 'work', value: identity.userName, primary: true }],
  }),
  groups: identity.groups.map((display) => ({ display, type: 'direct' })),
}))

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  routes: readonly ApiRoute[],
  calls: RecordedCall[],
  options: WorkspaceApiOptions,
): Promise<void> {
  const body = await readBody(request)
  const url = new URL(request.url ?? '/', 'http://workspace')
  const found = routes.find(
    (each) => each.method === request.method && each.path.test(url.pathname),
  )
  const api = found?.api ?? 'unknown'
  calls.push({
    ...{ api, body, method: request.method ?? '', url: request.url ?? '' },
    ...{ headers: request.headers, at: options.clock.now() },
  })
  if (calls.length > MAX_RECORDED_CALLS) calls.shift()

  const fault = options.faults.take(api)
  if (fault !== undefined && 'how' in fault && fault.how !== 'expired') {
    if (fault.how === 'reset') request.socket.resetAndDestroy()
    if (fault.how === 'garbage') response.writeHead(200).end('<html>Sign in</html>')
    return
  }
  if (fault !== undefined && 'delayMs' in fault)
    await delay(fault.delayMs, undefined, { ref: false })
  if (fault !== undefined && 'status' in fault) {
    const { status, errorCode = `${status}`, message = 'told to fail' } = fault
    const text = fault.body ?? JSON.stringify({ error_code: errorCode, message })
    send(response, status, text, options, fault.headers)
    return
  }
  const { behaviour } = options
  const { tokenTtlMs } = behaviour
  if (fault !== undefined && 'how' in fault) behaviour.tokenTtlMs = -5_000
  const reply = handle(request, url, body, found, options)
  behaviour.tokenTtlMs = tokenTtlMs
  send(response, reply.status, JSON.stringify(reply.body), options)
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let byteCount = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    byteCount += chunk.length
    if (byteCount > MAX_BODY_BYTES) throw new Error('request body is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function handle(
  request: IncomingMessage,
  url: URL,
  body: string,
  found: ApiRoute | undefined,
  context: ApiContext,
): { status: number; body: object } {
  try {
    const identity = found?.isPublic
      ? ANONYMOUS
      : authenticate(request.headers.authorization, context)
    if (found === undefined) throw notFound(`No API found for '${request.method} ${url.pathname}'`)
    const isJson = !found.isPublic && body !== ''
    const reply = found.handle({
      path: (found.path.exec(url.pathname) ?? []).slice(1).map(decodeURIComponent),
      query: url.searchParams,
      headers: request.headers,
      body: isJson ? parseObject(body) : {},
      text: body,
      identity,
      origin: `http://${request.headers.host ?? 'localhost'}`,
    })
    return { status: 200, body: reply }
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    const { status, body: refusal } = error
    return { status, body: refusal }
  }
}

const ANONYMOUS: Identity = {
  userName: '',
  displayName: '',
  kind: 'user',
  groups: [],
  hasRole: false,
  projectRight: 'CAN_USE',
}

function authenticate(header: string | undefined, { inventory, tokens }: ApiContext): Identity {
  const bearer = /^bearer (.+)$/i.exec(header ?? '')?.[1]
  if (bearer === undefined) {
    const message = 'Credential was not sent or was of an unsupported type for this API.'
    throw new ApiError(401, '401', message)
  }
  const identity = inventory.identities.find((each) => each.pat === bearer) ?? tokens.bearer(bearer)
  if (identity !== undefined) return identity
  if (bearer.startsWith('dapi')) throw new ApiError(403, '403', 'Invalid access token.')
  throw new ApiError(401, '401', 'Token is expired or not valid.')
}

function parseObject(body: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    throw new ApiError(400, 'MALFORMED_REQUEST', 'Could not parse request object')
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>
  }
  throw new ApiError(400, 'MALFORMED_REQUEST', 'Request body must be an object')
}

function send(
  response: ServerResponse,
  status: number,
  body: string,
  { clock, behaviour }: ApiContext,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    date: new Date(clock.now() + behaviour.clockSkewMs).toUTCString(),
    ...headers,
  })
  response.end(body)
}
