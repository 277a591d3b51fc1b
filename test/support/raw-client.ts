/** A PostgreSQL client that shows every byte it is sent. */

import type { Socket } from 'node:net'
import type { TestContext } from 'node:test'

import { readExactly } from '../../src/wire/byte-reader.js'
import { connect } from './sockets.js'

/** Outside a transaction. */
export const readyForQuery: Buffer = Buffer.from('5a0000000549', 'hex')

export interface ServerMessage {
  readonly type: string
  /** Without type and length. */
  readonly body: Buffer
}

const neverAborted = new AbortController().signal

export class RawClient {
  readonly socket: Socket

  constructor(socket: Socket) {
    this.socket = socket
  }

  /** Gone when the test ends. */
  static async connect(t: TestContext, port: number, localAddress?: string): Promise<RawClient> {
    const client = new RawClient(await connect(port, '127.0.0.1', localAddress))
    t.after(() => client.socket.destroy())
    return client
  }

  startup(parameters: Readonly<Record<string, string>>): void {
    const body = Object.entries(parameters).map(([name, value]) => `${name}\0${value}\0`)
    const packet = Buffer.from(`--------${body.join('')}\0`)
    packet.writeInt32BE(packet.length, 0)
    packet.writeInt32BE(196608, 4)
    this.socket.write(packet)
  }

  send(type: string, body: Buffer | string): void {
    const bytes = Buffer.from(body)
    const head = Buffer.from(`${type}----`)
    head.writeInt32BE(bytes.length + 4, 1)
    this.socket.write(Buffer.concat([head, bytes]))
  }

  query(sql: string): void {
    this.send('Q', `${sql}\0`)
  }

  async next(): Promise<ServerMessage> {
    const head = await readExactly(this.socket, 5, neverAborted)
    const length = head.readInt32BE(1) - 4
    const body =
      length === 0 ? Buffer.alloc(0) : await readExactly(this.socket, length, neverAborted)
    return { type: head.toString('latin1', 0, 1), body }
  }

  /** The bodies of all messages to ReadyForQuery. Throws what the server says when it refuses. */
  async untilReady(): Promise<Buffer> {
    const bodies: Buffer[] = []
    for (;;) {
      const { type, body } = await this.next()
      if (type === 'E') throw new Error(body.toString().replaceAll('\0', ' '))
      bodies.push(body)
      if (type === 'Z') return Buffer.concat(bodies)
    }
  }

  async logIn(parameters: Readonly<Record<string, string>>): Promise<void> {
    this.startup(parameters)
    await this.untilReady()
  }
}
