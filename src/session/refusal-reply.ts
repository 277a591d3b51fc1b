/** The last message to a client that is refused: one ErrorResponse, which it gets the time to read. */

import type { Socket } from 'node:net'

import type { Clock } from '../core/clock.js'
import { toClientError } from '../core/errors.js'
import { errorResponse } from '../wire/backend.js'

const PATIENCE_MS = 2_000

/** `session` is the id by which the log knows it. */
export function replyWithError(
  client: Socket,
  error: unknown,
  { session, clock }: { session: string; clock: Clock },
): void {
  const told = toClientError(error)
  const id = `session ${session}`
  const detail = told.detail === undefined ? id : `${told.detail}\n${id}`
  endGently(client, errorResponse({ ...told, detail }), clock)
}

/** Closing with unread bytes would be a reset, which can take the error's text away from its reader. */
function endGently(client: Socket, lastBytes: Buffer, clock: Clock): void {
  client.end(lastBytes)
  client.resume()
  const cancel = clock.after(PATIENCE_MS, () => client.destroy())
  client.once('close', cancel)
  client.once('end', () => client.destroySoon())
}
