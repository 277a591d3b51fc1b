/**
 * A process that stands for distance: relays TCP and delivers each chunk half a round trip after it
 * came; the connection itself takes its round trip too. Arguments: the port to listen on, the port
 * to relay to, the round trip in ms. For a few small messages; it knows no backpressure.
 */

import net, { type Socket } from 'node:net'

const [port, farPort, roundTripMs] = process.argv.slice(2).map(Number) as [number, number, number]

net
  .createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    const far = net.connect({
      host: '127.0.0.1',
      port: farPort,
      allowHalfOpen: true,
      noDelay: true,
    })
    carry(near, far, performance.now() + roundTripMs)
    carry(far, near, 0)
  })
  .listen(port, '127.0.0.1')

/** What comes before `openAt` has waited for the handshake of TCP. */
function carry(from: Socket, to: Socket, openAt: number): void {
  const deliver = (act: () => void): void => {
    const handshakeMs = Math.max(0, openAt - performance.now())
    const delayMs = handshakeMs + roundTripMs / 2
    if (delayMs === 0) act()
    else setTimeout(act, delayMs)
  }
  from.on('data', (chunk) => deliver(() => void to.write(chunk)))
  from.on('end', () => deliver(() => void to.end()))
  from.on('error', () => to.destroy())
}
