/**
 * One question to a server that is logged in, in the simple query protocol, for `doctor`; never on
 * the path of anybody's bytes.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SIMPLE-QUERY
 */

import type { Duplex } from 'node:stream'

import { serialize } from 'pg-protocol'

import { ProxyError } from '../core/errors.js'
import { firstMessage, parseErrorResponse } from '../wire/backend.js'
import { readSome } from '../wire/byte-reader.js'

const MAX_MESSAGE_BYTES = 64 * 1024

/** The first column of the first row. Errors: kind `upstream`, with the server's words. */
export async function askServer(
  socket: Duplex,
  sql: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  socket.write(serialize.query(sql))
  let received = Buffer.alloc(0)
  let answer: string | undefined
  let failure: ProxyError | undefined
  for (;;) {
    const message = firstMessage(received, MAX_MESSAGE_BYTES)
    if (message === undefined) {
      received = Buffer.concat([received, await readSome(socket, signal)])
      continue
    }
    received = received.subarray(message.bytes.length)
    if (message.type === 'D') answer ??= firstColumn(message.bytes)
    if (message.type === 'E') failure = refused(message.bytes)
    if (message.type !== 'Z') continue
    if (failure !== undefined) throw failure
    return answer
  }
}

/** DataRow: Int16 count, then for each column its Int32 length (-1: null) and its bytes. */
function firstColumn(bytes: Buffer): string | undefined {
  const length = bytes.readInt32BE(7)
  return length < 0 ? undefined : bytes.toString('utf8', 11, 11 + length)
}

function refused(bytes: Buffer): ProxyError {
  const { message, sqlState, hint, detail } = parseErrorResponse(bytes)
  return new ProxyError('upstream', message, { sqlState, hint, detail })
}
