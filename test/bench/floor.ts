/**
 * The floor of Node's public interfaces, as a program: accept, SSLRequest, TLS with a shared secure
 * context and the last session, start-up message, password, `pipe`. It checks nothing that TLS does not
 * check by itself, has no limit, no error handling and no time-out: what the proxy costs more than this
 * is its own. Arguments: port, far port, host, root certificate, user, password, database.
 */

import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'

const [port, farPort, host, root, user, password, database] = process.argv.slice(2) as [
  ...[string, string, string, string, string, string, string],
]
const secureContext = tls.createSecureContext({ ca: readFileSync(root) })
const sslRequest = Buffer.from([0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f])
const startup = message('', `\0\x03\0\0user\0${user}\0database\0${database}\0\0`)
const passwordMessage = message('p', `${password}\0`)
let session: Buffer | undefined

net
  .createServer({ noDelay: true, allowHalfOpen: true }, (client) => {
    client.once('data', () => {
      const far = net.connect({ port: Number(farPort), host: '127.0.0.1', noDelay: true })
      far.once('connect', () => far.write(sslRequest))
      far.once('data', () => {
        far.pause()
        const options = session === undefined ? {} : { session }
        const secured = tls.connect({ socket: far, servername: host, secureContext, ...options })
        secured.once('session', (latest) => {
          session = latest
        })
        secured.once('secureConnect', () => secured.write(startup))
        secured.once('data', () => {
          secured.write(passwordMessage)
          secured.pipe(client)
          client.pipe(secured)
        })
        secured.on('error', () => client.destroy())
        client.on('error', () => secured.destroy())
      })
    })
  })
  .listen(Number(port), '127.0.0.1')

function message(type: string, body: string): Buffer {
  const bytes = Buffer.from(`${type}\0\0\0\0${body}`, 'latin1')
  bytes.writeInt32BE(bytes.length - type.length, type.length)
  return bytes
}
