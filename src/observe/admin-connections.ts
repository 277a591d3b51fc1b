/**
 * The connections of the admin interface, bounded so that probes are always answered. A connection
 * serves one request. When all places are taken, the oldest connection makes room for the new one.
 */

import type { Server } from 'node:http'
import type { Socket } from 'node:net'

const MAX_CONNECTIONS = 64

export class AdminConnections {
  /** In the order in which they came. */
  readonly #sockets = new Set<Socket>()
  /** Open status pages. EventStreams limits their number, and they are not closed to make room. */
  readonly #streams = new Set<Socket>()
  readonly #asked = new WeakSet<Socket>()

  constructor(server: Server) {
    server.on('connection', (socket) => this.#add(socket))
  }

  /**
   * Call it for each request: false for the second one of a connection, which is then closed.
   * Otherwise a client that pipelines and never reads would make Node hold every answer.
   */
  isFirstRequest(socket: Socket): boolean {
    if (this.#asked.has(socket)) {
      socket.destroy()
      return false
    }
    this.#asked.add(socket)
    return true
  }

  /** From now on the connection carries events, for as long as the page is open. */
  isStream(socket: Socket): void {
    if (this.#sockets.delete(socket)) this.#streams.add(socket)
  }

  #add(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      this.#streams.delete(socket)
    })
    if (this.#sockets.size + this.#streams.size <= MAX_CONNECTIONS) return
    const [oldest] = this.#sockets
    if (oldest === undefined) return
    this.#sockets.delete(oldest)
    oldest.destroy()
  }
}
