/** Clients that log in and stay until their socket is closed: thousands of them in this one process. */

import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import tls, { type SecureContext } from 'node:tls'

import { serialize } from 'pg-protocol'

import { sslRequest, startupMessage } from '../../src/wire/frontend.js'
import { wireParameters } from '../support/wire-parameters.js'

export interface Login {
  readonly port: number
  readonly user?: string
  readonly database?: string
  /** For a way that passes on the server's request for it. */
  readonly password?: string
  /** Verified, as `sslmode=verify-full` does. */
  readonly tls?: { readonly host: string; readonly secureContext: SecureContext }
}

/** AuthenticationCleartextPassword, which a way that does not log in by itself passes on. */
const PASSWORD_REQUEST = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3])
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49])
const ERROR_RESPONSE = 0x45

/** Opens `count` sessions, some at a time, each until its greeting is whole; adds them to `sockets`. */
export async function openSessions(
  port: number,
  count: number,
  sockets: Socket[],
  { atOnce = 50 } = {},
): Promise<void> {
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) sockets.push(await openSession({ port }))
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

export async function openSession(login: Login): Promise<Socket> {
  const { user = 'bench', database = 'postgres', password = '' } = login
  const plain = net.connect({ host: '127.0.0.1', port: login.port, noDelay: true })
  const socket = login.tls === undefined ? plain : await secured(plain, login.tls)
  socket.on('error', () => {}) // seen as 'close'
  const parameters = { user, database, application_name: 'bench' }
  socket.write(startupMessage(wireParameters(parameters)))
  await untilReady(socket, (received) => {
    if (!received.equals(PASSWORD_REQUEST)) return false
    socket.write(serialize.password(password))
    return true
  })
  return socket
}

/** Until the answer is whole. */
export async function ask(socket: Socket, sql: string): Promise<void> {
  socket.write(serialize.query(sql))
  await untilReady(socket)
}

async function secured(
  plain: Socket,
  { host, secureContext }: NonNullable<Login['tls']>,
): Promise<Socket> {
  plain.on('error', () => {})
  plain.write(sslRequest)
  await once(plain, 'readable')
  plain.read(1)
  const socket = tls.connect({ socket: plain, servername: host, secureContext })
  await once(socket, 'secureConnect')
  return socket
}

/** `answered`: what came is the server's question, and has been answered. */
function untilReady(
  socket: Socket,
  answered: (received: Buffer) => boolean = () => false,
): Promise<void> {
  let received = Buffer.alloc(0)
  return new Promise<void>((resolve, reject) => {
    const stop = (act: () => void): void => {
      socket.off('data', read).off('close', closed)
      act()
    }
    const closed = (): void => stop(() => reject(new Error('closed before its answer was whole')))
    const read = (chunk: Buffer): void => {
      received = Buffer.concat([received, chunk])
      if (received[0] === ERROR_RESPONSE) {
        stop(() => reject(new Error(`refused: ${received.toString('latin1')}`)))
      } else if (answered(received)) received = Buffer.alloc(0)
      else if (received.subarray(-READY.length).equals(READY)) stop(resolve)
    }
    socket.on('data', read).on('close', closed)
  })
}
