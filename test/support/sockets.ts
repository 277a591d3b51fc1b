/** Small things tests do with sockets: pairs of them, and clients that speak byte by byte. */

import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'

/** Two ends of one TCP connection on loopback. */
export async function socketPair(): Promise<[Socket, Socket]> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const near = await connectTo((server.address() as AddressInfo).port, server)
  server.close()
  return near
}

async function connectTo(port: number, server: net.Server): Promise<[Socket, Socket]> {
  const near = net.connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
  const [[far]] = (await Promise.all([once(server, 'connection'), once(near, 'connect')])) as [
    [Socket],
    unknown,
  ]
  near.on('error', () => {})
  far.on('error', () => {})
  return [near, far]
}

/** The CancelRequest for a session of `pg`, which keeps what BackendKeyData said and does not show it. */
export function cancelRequest(client: object): Buffer {
  const { processID, secretKey } = client as { processID: number; secretKey: number }
  const request = Buffer.alloc(16)
  request.writeInt32BE(16, 0)
  request.writeInt32BE(80877102, 4)
  request.writeInt32BE(processID, 8)
  request.writeInt32BE(secretKey, 12)
  return request
}

/** A connected socket that no error of can end the test run. */
export async function connect(
  port: number,
  host = '127.0.0.1',
  localAddress?: string,
): Promise<Socket> {
  const from = localAddress === undefined ? {} : { localAddress }
  const socket = net.connect({ port, host, noDelay: true, allowHalfOpen: true, ...from })
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** Everything the peer sends until it closes, in any way. */
export async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  if (socket.readableEnded) socket.end()
  else socket.on('end', () => socket.end())
  if (!socket.closed) await once(socket, 'close').catch(() => {})
  return Buffer.concat(chunks)
}
