/**
 * A PostgreSQL client in one function: connects, asks, and leaves. The emulator and `demo --once`
 * ask with it, so that neither needs a driver. No client's bytes pass through it.
 */

import type { Socket } from 'node:net'

import { parse, serialize } from 'pg-protocol'
import type { BackendMessage, DatabaseError, DataRowMessage } from 'pg-protocol/dist/messages.js'

export interface SimpleQueryOptions {
  /** Connected or connecting; this function closes it. */
  socket: Socket
  user: string
  database: string
  /** Sent when the server asks for one in the clear. */
  password?: string
  /** Several statements are separated by semicolons, and run as one transaction. */
  sql: string
  timeoutMs?: number
}

/** Rows of text, of all statements. Errors: what the server said, as an Error. */
export function simpleQuery(options: SimpleQueryOptions): Promise<(string | null)[][]> {
  const { socket, user, database, sql } = options
  return new Promise((resolve, reject) => {
    const rows: (string | null)[][] = []
    let failure: Error | undefined
    let asked = false
    socket.setTimeout(options.timeoutMs ?? 30_000, () => socket.destroy(new Error('timed out')))
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('server closed the connection')))
    socket.write(serialize.startup({ user, database }))
    parse(socket, receive).catch(reject)

    function receive(message: BackendMessage): void {
      if (message.name === 'dataRow') {
        rows.push((message as DataRowMessage).fields as (string | null)[])
      } else if (message.name === 'error') {
        failure = new Error((message as unknown as DatabaseError).message)
        if (!asked) reject(failure)
      } else if (message.name === 'authenticationCleartextPassword') {
        socket.write(serialize.password(options.password ?? ''))
      } else if (message.name === 'readyForQuery') {
        if (!asked) {
          asked = true
          socket.write(serialize.query(sql))
        } else {
          socket.end(serialize.end())
          if (failure === undefined) resolve(rows)
          else reject(failure)
        }
      }
    }
  })
}
