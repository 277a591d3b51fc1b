/**
 * One question to a server that is logged in, in the simple query protocol. Only `doctor` asks;
 * nothing here is on the path of a client's bytes.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SIMPLE-QUERY
 */

import type { Duplex } from 'node:stream'

import { serialize } from 'pg-protocol'

import { ProxyError } from '../core/errors.js'
import { parseErrorResponse } from '../wire/backend.js'
import { LimitExceeded, type MessageLimits, MessageReader } from '../wire/message-reader.js'

const LIMITS: MessageLimits = { messageBytes: 64 * 1024, totalBytes: 1024 * 1024, messages: 1_000 }

/** The first column of the first row. Errors: kind `upstream`, with the server's words if it refused. */
export async function askServer(
  socket: Duplex,
  sql: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  socket.write(serialize.query(sql))
  const reader = new MessageReader(socket, LIMITS, signal)
  let answer: string | undefined
  let failure: ProxyError | undefined
  for (;;) {
    const { type, bytes } = await reader.next().catch((error: unknown) => noAnswer(error, signal))
    if (type === 'D') answer ??= firstColumn(bytes)
    if (type === 'E') failure = refused(bytes)
    if (type !== 'Z') continue
    if (failure !== undefined) throw failure
    return answer
  }
}

function noAnswer(cause: unknown, signal: AbortSignal): never {
  if (signal.aborted) throw signal.reason
  const what =
    cause instanceof LimitExceeded ? 'sent too much for' : 'closed the connection without'
  throw new ProxyError('upstream', `server ${what} an answer`, { cause })
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
