/**
 * A PostgreSQL client by hand, for tests that care about every byte: what it sends it sends when
 * told, and what it reads it keeps. Never throws at a broken connection: it reads an end.
 */

import net, { type Socket } from 'node:net'

export interface BackendMessage {
  readonly type: string
  /** Without type and length. */
  readonly body: Buffer
}

export interface ServerSaid {
  readonly severity: string
  readonly code: string
  readonly message: string
  readonly detail: string | undefined
  readonly hint: string | undefined
}

export class RawClient {
  readonly socket: Socket
  /** Resolves when the socket is closed, in any way. */
  readonly closed: Promise<void>
  /** Bytes that came and were not yet taken. */
  #chunks: Buffer[] = []
  #length = 0
  #ended = false
  #wake: () => void = () => {}

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk)
      this.#length += chunk.length
      this.#wake()
    })
    const ended = (): void => {
      this.#ended = true
      this.#wake()
    }
    socket.on('end', ended)
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        ended()
        resolve()
      })
    })
  }

  /** To `port` on loopback; half-open, so that it hears what comes after its own FIN. */
  static async connect(port: number): Promise<RawClient> {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
    const client = new RawClient(socket)
    await new Promise<void>((resolve) => {
      socket.once('connect', resolve)
      socket.once('close', () => resolve())
    })
    return client
  }

  send(...parts: readonly (Buffer | string | readonly number[])[]): this {
    for (const part of parts) this.socket.write(Buffer.from(part as Buffer))
    return this
  }

  startup(parameters: Readonly<Record<string, string>> = { user: 'anyone' }): this {
    return this.send(startupPacket(parameters))
  }

  query(sql: string): this {
    return this.send(message('Q', `${sql}\0`))
  }

  /** Exactly `byteCount` bytes, or undefined when the connection ended before. */
  async read(byteCount: number): Promise<Buffer | undefined> {
    for (;;) {
      if (this.#length >= byteCount) {
        const bytes = this.#joined()
        this.#chunks = [bytes.subarray(byteCount)]
        this.#length -= byteCount
        return bytes.subarray(0, byteCount)
      }
      if (this.#ended) return undefined
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** Everything until the connection ends. */
  async rest(): Promise<Buffer> {
    while (!this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#joined()
  }

  #joined(): Buffer {
    const [first] = this.#chunks
    if (first === undefined || this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0]!
  }

  /** The next message, or undefined at the end. */
  async message(): Promise<BackendMessage | undefined> {
    const head = await this.read(5)
    const body = head && (await this.read(head.readInt32BE(1) - 4))
    return body && { type: String.fromCharCode(head[0]!), body }
  }

  /** All messages up to the first of this type; without it when the connection ended before. */
  async until(type: string): Promise<BackendMessage[]> {
    const messages: BackendMessage[] = []
    for (;;) {
      const next = await this.message()
      if (next === undefined) return messages
      messages.push(next)
      if (next.type === type) return messages
    }
  }

  /** Logged in; or the error that came instead; or undefined when nothing did. */
  async login(
    parameters?: Readonly<Record<string, string>>,
  ): Promise<'ready' | ServerSaid | undefined> {
    this.startup(parameters)
    for (;;) {
      const next = await this.message()
      if (next === undefined) return undefined
      if (next.type === 'Z') return 'ready'
      if (next.type === 'E') return serverSaid(next.body)
    }
  }
}

export function startupPacket(parameters: Readonly<Record<string, string>>): Buffer {
  const text = Object.entries(parameters).flat()
  const body = Buffer.from([...text, '', ''].join('\0'))
  const head = Buffer.alloc(8)
  head.writeInt32BE(8 + body.length, 0)
  head.writeInt32BE(196608, 4)
  return Buffer.concat([head, body])
}

export const SSL_REQUEST: Buffer = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])

export function cancelRequest(key: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0, 0, 0, 16, 4, 210, 22, 46]), key])
}

export function message(type: string, body: string | Buffer): Buffer {
  const bytes = Buffer.from(body as string)
  const head = Buffer.alloc(5)
  head.write(type, 'latin1')
  head.writeInt32BE(bytes.length + 4, 1)
  return Buffer.concat([head, bytes])
}

export function serverSaid(body: Buffer): ServerSaid {
  const fields = new Map(
    body
      .toString()
      .split('\0')
      .map((field) => [field.slice(0, 1), field.slice(1)] as const),
  )
  return {
    severity: fields.get('S') ?? '',
    code: fields.get('C') ?? '',
    message: fields.get('M') ?? '',
    detail: fields.get('D'),
    hint: fields.get('H'),
  }
}
