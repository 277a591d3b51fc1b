/**
 * A small PostgreSQL client: connects, asks, and leaves. The emulator and `demo --once` ask with it,
 * so that neither needs a driver. No client's bytes pass through it.
 */

import type { Socket } from 'node:net'

import { parse, serialize } from 'pg-protocol'
import type { BackendMessage, DatabaseError, DataRowMessage } from 'pg-protocol/dist/messages.js'

/** The limit for each wait for an answer. */
const ANSWER_MS = 30_000

export interface QueryLogin {
  /** Connected or connecting; closed with the session. */
  socket: Socket
  user: string
  database: string
  /** The password, sent when the server asks for it in the clear. */
  password?: string
}

export interface QuerySession {
  /**
   * Rows of text, of all statements: several are separated by semicolons, and run as one transaction.
   * One query at a time. Errors: what the server said, as an Error.
   */
  query(sql: string): Promise<(string | null)[][]>
  close(): void
}

/** One query, on a connection of its own. */
export async function simpleQuery(
  options: QueryLogin & { sql: string },
): Promise<(string | null)[][]> {
  const session = await openSession(options)
  try {
    return await session.query(options.sql)
  } finally {
    session.close()
  }
}

export async function openSession(login: QueryLogin): Promise<QuerySession> {
  const { socket, user, database } = login
  let rows: (string | null)[][] = []
  let failure: Error | undefined
  let settle: ((failure: Error | undefined) => void) | undefined
  const fail = (error: Error): void => {
    failure ??= error
    settle?.(failure)
  }
  const answer = (): Promise<void> =>
    new Promise((resolve, reject) => {
      settle = (error) => {
        settle = undefined
        if (error === undefined) resolve()
        else reject(error)
      }
      if (socket.closed) fail(new Error('server closed the connection'))
    })
  socket.setTimeout(ANSWER_MS, () => socket.destroy(new Error('timed out')))
  socket.once('error', fail)
  socket.once('close', () => fail(new Error('server closed the connection')))
  socket.write(serialize.startup({ user, database }))
  parse(socket, receive).catch(fail)
  await answer()
  return {
    async query(sql) {
      rows = []
      failure = undefined
      socket.write(serialize.query(sql))
      await answer()
      return rows
    },
    close: () => void socket.end(serialize.end()),
  }

  function receive(message: BackendMessage): void {
    if (message.name === 'dataRow') {
      rows.push((message as DataRowMessage).fields as (string | null)[])
    } else if (message.name === 'error') {
      failure = new Error((message as unknown as DatabaseError).message)
    } else if (message.name === 'authenticationCleartextPassword') {
      socket.write(serialize.password(login.password ?? ''))
    } else if (message.name === 'readyForQuery') {
      settle?.(failure)
    }
  }
}
