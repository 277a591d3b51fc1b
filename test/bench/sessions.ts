/** Clients that log in, ask nothing and stay: thousands of them in this one process. */

import { once } from 'node:events'
import net, { type Socket } from 'node:net'

import { startupMessage } from '../../src/wire/frontend.js'

const PARAMETERS = new Map([
  ['user', 'bench'],
  ['application_name', 'bench'],
])
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49])

/** Opens `count` sessions, some at a time, each until its greeting is whole; adds them to `sockets`. */
export async function openSessions(
  port: number,
  count: number,
  sockets: Socket[],
  atOnce = 50,
): Promise<void> {
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) sockets.push(await openSession(port))
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

async function openSession(port: number): Promise<Socket> {
  const socket = net.connect({ host: '127.0.0.1', port })
  socket.write(startupMessage(PARAMETERS))
  let received = Buffer.alloc(0)
  while (!received.subarray(-READY.length).equals(READY)) {
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    received = Buffer.concat([received, chunk])
    if (received[0] === 0x45) throw new Error(`refused: ${received.toString('latin1')}`)
  }
  socket.on('error', () => {})
  return socket
}
