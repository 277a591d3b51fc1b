/** Lists that come in pages (`page_token`, `next_page_token`). */

import { z } from 'zod'

import type { WorkspaceClient } from './client.js'

export interface ListRequest<T> {
  readonly path: string
  /** The field that holds the items. */
  readonly field: string
  readonly item: z.ZodType<T>
  /** For messages, after "could not": `list projects`. */
  readonly what: string
}

const PAGE_SIZE = 100
const MAX_PAGES = 1000

export async function listAll<T>(client: WorkspaceClient, request: ListRequest<T>): Promise<T[]> {
  const { path, field, what } = request
  const Page = z.record(z.string(), z.unknown()).transform((reply, context) => {
    // A field that is empty is left out of the reply.
    const parsed = z.array(request.item).safeParse(reply[field] ?? [])
    if (parsed.success) return { items: parsed.data, next: reply.next_page_token }
    context.addIssue(z.prettifyError(parsed.error))
    return z.NEVER
  })
  const items: T[] = []
  let pageToken: string | undefined
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const query = { page_size: String(PAGE_SIZE), page_token: pageToken }
    const { items: some, next } = await client.request({ path, query, schema: Page, what })
    items.push(...some)
    if (typeof next !== 'string' || next === '' || next === pageToken) break
    pageToken = next
  }
  return items
}
