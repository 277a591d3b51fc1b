/** What the parts of the workspace API share: a route, what it is given, and the forms of a reply. */

import type { Clock } from '../core/clock.js'
import { badRequest, notFound } from './api-error.js'
import type { Behaviour } from './behaviour.js'
import type { Branches } from './branches.js'
import type { Branch, Identity, Inventory, Project } from './inventory.js'
import type { Operations } from './operations.js'
import type { TokenIssuer } from './tokens.js'

export interface ApiCall {
  /** The decoded texts that the path's groups matched. */
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

export interface ApiRoute {
  readonly method: string
  readonly path: RegExp
  /** True when no bearer token is needed. */
  readonly isPublic?: boolean
  /** Returns the body of the reply. Errors: ApiError. */
  handle(call: ApiCall): object
}

/**
 * `where` is a method and a path, as in `GET /api/2.0/postgres/(projects/*)`: `*` is one part of the
 * path, `**` one or more, and what stands in brackets is handed to `handle`.
 */
export function route(where: string, handle: ApiRoute['handle']): ApiRoute {
  const [method = '', path = ''] = where.split(' ')
  const marks: Readonly<Record<string, string>> = { '**': '.+', '*': '[^/]+', '.': '\\.' }
  const pattern = path.replace(/\*{1,2}|\./g, (mark) => marks[mark]!)
  return { method, path: new RegExp(`^${pattern}$`), handle }
}

/** The parts of the emulator that routes use. */
export interface ApiContext {
  readonly inventory: Inventory
  readonly tokens: TokenIssuer
  readonly clock: Clock
  readonly behaviour: Behaviour
  readonly branches: Branches
  readonly operations: Operations
}

/** Errors: ApiError, when it does not exist. */
export function findProject({ inventory }: ApiContext, name: string): Project {
  const found = inventory.projects.find((each) => each.name === name)
  if (found === undefined) throw notFound('project id not found')
  return found
}

/** By its path `projects/P/branches/B`. Errors: ApiError, when it does not exist. */
export function findBranch(context: ApiContext, name: string): Branch {
  const project = findProject(context, name.split('/').slice(0, 2).join('/'))
  const found = context.branches.present(project).find((each) => each.name === name)
  if (found === undefined) throw notFound('branch id not found')
  return found
}

/** The reply to a call that changes `name`: an operation that takes as long as any state change. */
export function beginChange(
  { clock, behaviour, operations }: ApiContext,
  name: string,
  response: () => object,
): object {
  const doneAt = clock.now() + behaviour.transitionMs
  return operations.begin(name, () =>
    clock.now() < doneAt ? { is: 'running' } : { is: 'done', response: response() },
  )
}

/** A time in a reply. */
export function timestamp(at: number): string {
  return new Date(at).toISOString()
}

/** One page of a list, and the token of the next. Page tokens are opaque. */
export function page<Item>(
  items: readonly Item[],
  query: URLSearchParams,
): { items: readonly Item[]; next: { next_page_token?: string } } {
  const asked = Number(query.get('page_size') ?? 100)
  if (!Number.isInteger(asked) || asked < 0 || asked > 100) {
    throw badRequest('page_size must be between 0 and 100')
  }
  const size = asked || 100
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
