/**
 * What the parts of the workspace API share: a route, what it is given, and the forms of a reply.
 */

import type { Clock } from '../core/clock.js'
import { badRequest } from './api-error.js'
import type { Behaviour } from './behaviour.js'
import type { Branches } from './branches.js'
import type { Identity, Inventory } from './inventory.js'
import type { Operations } from './operations.js'
import type { TokenIssuer } from './tokens.js'

export interface ApiCall {
  /** What the path's groups matched, decoded. */
  readonly path: readonly string[]
  readonly query: URLSearchParams
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** Parsed JSON of an API call; `{}` where none was sent. */
  readonly body: Readonly<Record<string, unknown>>
  /** The raw body, of form posts. */
  readonly text: string
  /** The caller; without a name on public routes. */
  readonly identity: Identity
  /** `http://127.0.0.1:port`, as the caller named it. */
  readonly origin: string
}

export interface ApiReply {
  readonly status?: number
  readonly body: unknown
}

export interface ApiRoute {
  /** For counting and for faults. */
  readonly api: ApiName
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  readonly path: RegExp
  /** Needs no bearer token. */
  readonly isPublic?: boolean
  handle(call: ApiCall): ApiReply
}

export type ApiName =
  | 'databricks-config'
  | 'oidc-discovery'
  | 'oidc-token'
  | 'github-id-token'
  | 'me'
  | 'instances'
  | 'instance'
  | 'instance-by-uid'
  | 'instance-update'
  | 'credentials'
  | 'projects'
  | 'project'
  | 'branches'
  | 'branch'
  | 'endpoints'
  | 'endpoint'
  | 'roles'
  | 'databases'
  | 'synced-tables'
  | 'synced-table'
  | 'operation'
  | 'database'
  | 'role'
  | 'endpoint-update'
  | 'branch-create'
  | 'branch-update'
  | 'branch-delete'
  | 'branch-undelete'
  | 'endpoint-delete'
  | 'unknown'

/** What every part works with. */
export interface ApiContext {
  readonly inventory: Inventory
  readonly tokens: TokenIssuer
  readonly clock: Clock
  readonly behaviour: Behaviour
  readonly branches: Branches
  readonly operations: Operations
}

/** A time in a reply, by the API's clock. */
export function timestamp(at: number, behaviour: Behaviour): string {
  return new Date(at + behaviour.clockSkewMs).toISOString()
}

/** One page of a list, and the token of the next. Page tokens are opaque. */
export function page<Item>(
  items: readonly Item[],
  query: URLSearchParams,
  behaviour: Behaviour,
): { items: readonly Item[]; next: { next_page_token?: string } } {
  const asked = Number(query.get('page_size') ?? 100)
  if (!Number.isInteger(asked) || asked < 0 || asked > 100) {
    throw badRequest('page_size must be between 0 and 100')
  }
  const size = Math.min(asked || 100, behaviour.maxPageSize)
  const token = query.get('page_token')
  const start = token ? Number(Buffer.from(token, 'base64url').toString().replace('from:', '')) : 0
  if (!Number.isInteger(start) || start < 0) throw badRequest('page_token is invalid')
  const end = start + size
  const more = end < items.length
  return {
    items: items.slice(start, end),
    next: more ? { next_page_token: Buffer.from(`from:${end}`).toString('base64url') } : {},
  }
}

export function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** Errors: ApiError, when the body is not a JSON object. */
export function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>
  }
  throw badRequest('spec is required')
}
