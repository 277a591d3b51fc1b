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

/** Every item; a page is asked for only when the caller gets there. */
async function* listPages<T>(client: WorkspaceClient, request: ListRequest<T>): AsyncGenerator<T> {
  // A field that is empty is left out of the reply.
  const schema = z.record(z.string(), z.unknown())
  const items = z.array(request.item)
  let pageToken: string | undefined
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const { value } = await client.request({
      path: request.path,
      query: { page_size: String(PAGE_SIZE), page_token: pageToken },
      schema: schema.transform((reply, context) => {
        const parsed = items.safeParse(reply[request.field] ?? [])
        if (parsed.success) return { items: parsed.data, next: reply.next_page_token }
        context.addIssue(z.prettifyError(parsed.error))
        return z.NEVER
      }),
      what: request.what,
    })
    yield* value.items
    if (typeof value.next !== 'string' || value.next === '' || value.next === pageToken) return
    pageToken = value.next
  }
}

export async function listAll<T>(client: WorkspaceClient, request: ListRequest<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of listPages(client, request)) items.push(item)
  return items
}
