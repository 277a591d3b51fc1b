/**
 * The HTTP server of the emulated workspace, on loopback: who calls, which route, what went wrong,
 * in the real API's shapes. All routes but `Me` are in the files beside it.
 */

import { once } from 'node:events'
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { ApiError, notFound } from './api-error.js'
import { type ApiContext, type ApiRoute, route } from './api-route.js'
import type { Identity } from './inventory.js'
import { branchRoutes } from './workspace-branches.js'
import { databaseRoutes } from './workspace-database.js'
import { oidcRoutes } from './workspace-oidc.js'
import { postgresRoutes } from './workspace-postgres.js'
import { syncedTableRoutes } from './workspace-synced-tables.js'

/** A call that came in, and is not answered yet. */
export interface ReceivedCall {
  readonly method: string
  /** Path and query. */
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** Called for each call. It calls `answer`, or writes the response itself. */
export type OnCall = (
  call: ReceivedCall,
  answer: () => void,
  response: ServerResponse,
) => void | Promise<void>

export interface WorkspaceApi {
  /** `http://127.0.0.1:port` */
  readonly url: string
  close(): Promise<void>
}

export interface WorkspaceApiOptions extends ApiContext {
  readonly onCall: OnCall
  readonly port: number
}

const MAX_BODY_BYTES = 1_000_000

export async function startWorkspaceApi(options: WorkspaceApiOptions): Promise<WorkspaceApi> {
  const routes = [
    meRoute,
    ...oidcRoutes(options),
    ...databaseRoutes(options),
    ...branchRoutes(options),
    ...postgresRoutes(options),
    ...syncedTableRoutes(options),
  ]
  const server = createServer((request, response) => {
    answer(request, response, routes, options).catch(() => response.destroy())
  })
  server.listen(options.port, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

const meRoute = route('GET /api/2.0/preview/scim/v2/Me', ({ identity }) => ({
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
  options: WorkspaceApiOptions,
): Promise<void> {
  const { method = '', url = '/', headers } = request
  const call = { method, url, headers, body: await readBody(request) }
  const respond = (): void => {
    const { status, body } = handle(call, routes, options)
    response.writeHead(status, {
      'content-type': 'application/json',
      date: new Date(options.clock.now()).toUTCString(),
    })
    response.end(JSON.stringify(body))
  }
  await options.onCall(call, respond, response)
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
  { method, url: asked, headers, body: text }: ReceivedCall,
  routes: readonly ApiRoute[],
  context: ApiContext,
): { status: number; body: object } {
  try {
    const url = new URL(asked, 'http://workspace')
    const found = routes.find((each) => each.method === method && each.path.test(url.pathname))
    const identity = found?.isPublic ? ANONYMOUS : authenticate(headers.authorization, context)
    if (found === undefined) throw notFound(`No API found for '${method} ${url.pathname}'`)
    const isJson = !found.isPublic && text !== ''
    const reply = found.handle({
      path: (found.path.exec(url.pathname) ?? []).slice(1).map(decodeURIComponent),
      query: url.searchParams,
      headers,
      body: isJson ? parseObject(text) : {},
      text,
      identity,
      origin: `http://${headers.host ?? 'localhost'}`,
    })
    return { status: 200, body: reply }
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    const { status, body } = error
    return { status, body }
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
