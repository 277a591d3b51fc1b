/**
 * A process that stands for PostgreSQL where thousands of sessions only idle, more than it has
 * backends for: over TLS it greets every client that sends a StartupMessage, and says nothing after that.
 * Arguments: the port to listen on, and the PEM files of its certificate and key.
 */

import { readFileSync } from 'node:fs'
import net, { type Socket } from 'node:net'
import { createSecureContext, TLSSocket } from 'node:tls'

const [port, cert, key] = process.argv.slice(2) as [string, string, string]
// As PostgreSQL's: ssl_ecdh_curve is prime256v1.
const secureContext = createSecureContext({
  cert: readFileSync(cert),
  key: readFileSync(key),
  ecdhCurve: 'prime256v1',
})

const message = (type: string, body: Buffer): Buffer => {
  const head = Buffer.alloc(5, type)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}
const GREETING = Buffer.concat([
  message('R', Buffer.alloc(4)),
  message('S', Buffer.from('server_version\x0015.18\0')),
  message('S', Buffer.from('client_encoding\0UTF8\0')),
  message('K', Buffer.alloc(8, 1)),
  message('Z', Buffer.from('I')),
])

net
  .createServer({ noDelay: true }, (socket) => {
    quiet(socket)
    socket.once('data', () => {
      socket.pause()
      socket.write('S')
      const secured = new TLSSocket(socket, { isServer: true, secureContext })
      quiet(secured)
      secured.once('data', () => secured.write(GREETING))
    })
  })
  .listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 })

function quiet(socket: Socket): void {
  socket.on('error', () => socket.destroy())
}
