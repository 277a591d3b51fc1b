/** Clients that log in, ask nothing and stay: thousands of them in this one process. */

import net, { type Socket } from 'node:net'

import { serialize } from 'pg-protocol'

import { startupMessage } from '../../src/wire/frontend.js'
import { wireParameters } from '../support/wire-parameters.js'

const PARAMETERS = wireParameters({
  user: 'bench',
  database: 'postgres',
  application_name: 'bench',
})
/** AuthenticationCleartextPassword, which a way that does not log in by itself passes on. */
const PASSWORD_REQUEST = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3])
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49])

/** Opens `count` sessions, some at a time, each until its greeting is whole; adds them to `sockets`. */
export async function openSessions(
  port: number,
  count: number,
  sockets: Socket[],
  { atOnce = 50, password = '' } = {},
): Promise<void> {
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) sockets.push(await openSession(port, password))
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

async function openSession(port: number, password: string): Promise<Socket> {
  const socket = net.connect({ host: '127.0.0.1', port })
  socket.write(startupMessage(PARAMETERS))
  let received = Buffer.alloc(0)
  await new Promise<void>((resolve, reject) => {
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      if (received[0] === 0x45) reject(new Error(`refused: ${received.toString('latin1')}`))
      if (received.equals(PASSWORD_REQUEST)) {
        received = Buffer.alloc(0)
        socket.write(serialize.password(password))
      }
      if (received.subarray(-READY.length).equals(READY)) resolve()
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('closed before its greeting was whole')))
  })
  socket.removeAllListeners()
  socket.on('error', () => {})
  return socket
}
