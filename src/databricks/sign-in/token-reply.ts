/** What programs and services that hand out tokens say, as JSON of a known form. */

import { z } from 'zod'

import { ProxyError } from '../../core/errors.js'
import { plainText } from '../../core/plain-text.js'
import type { HttpReply } from '../http/http.js'

/** Undefined when the text is no JSON, or of another form. */
export function readJson<T>(text: string, schema: z.ZodType<T>): T | undefined {
  try {
    return schema.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

/**
 * `gave` begins the error: `GitHub gave no ID token`. A reply of status 200 may hold a token in a form
 * that is not known here, and is not repeated. Errors: kind `identity`.
 */
export function readTokenReply<T>(
  { status, text }: Pick<HttpReply, 'status' | 'text'>,
  schema: z.ZodType<T>,
  gave: string,
  hint?: string,
): T {
  const found = status === 200 ? readJson(text, schema) : undefined
  if (found !== undefined) return found
  const why = status === 200 ? 'no token in its reply' : plainText(text)
  throw new ProxyError('identity', `${gave}: HTTP status ${status}: ${why}`, { hint })
}

/**
 * As the metadata services of Azure and of Databricks' tools say it: seconds since the epoch, often as
 * text.
 */
export const EpochToken = z.object({
  access_token: z.string().min(1),
  expires_on: z.coerce.number(),
})
