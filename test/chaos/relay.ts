/**
 * A TCP relay that corrupts what passes through it, as told: for each connection a list of faults,
 * each at a byte of one direction, or by hand while the connection is open. `up` is from the side that
 * dials the relay to its target, `down` the way back.
 */

import { once } from 'node:events'
import net, { type AddressInfo, type Server, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

export type Direction = 'up' | 'down'

export type RelayFault =
  /** Every chunk comes later by `ms`. */
  | { readonly how: 'delay'; readonly direction: Direction; readonly ms: number }
  /** No write is longer, and each is a segment of its own. */
  | { readonly how: 'slice'; readonly direction: Direction; readonly bytes: number }
  | { readonly how: 'throttle'; readonly direction: Direction; readonly bytesPerSecond: number }
  /** Turns the bits of one byte over. */
  | { readonly how: 'corrupt'; readonly direction: Direction; readonly atByte: number }
  /**
   * Once `atByte` bytes have passed. `reset`: RST both ways. `black-hole`: everything is swallowed
   * from then on, either way, and neither side is told. `half-close`: FIN to the receiver, while the
   * sender goes on into the void.
   */
  | {
      readonly how: 'reset' | 'black-hole' | 'half-close'
      readonly direction: Direction
      readonly atByte: number
    }

export interface RelayOptions {
  to: { host?: string; port: number }
  /** Default 127.0.0.1. */
  host?: string
  /** Default: a free one. */
  port?: number
  /** The faults of the next connection; `index` counts from 0. */
  plan?: (index: number) => readonly RelayFault[]
}

export class Relay {
  /** Where connections go from now on. */
  to: { host?: string; port: number }
  /** Replaces the plan. */
  plan: (index: number) => readonly RelayFault[]
  /** Called with each fault when it takes effect. */
  onMet: (connection: RelayedConnection, fault: RelayFault) => void = () => {}
  /** Every connection since start. */
  readonly connections: RelayedConnection[] = []
  readonly #server: Server
  readonly #waiting = new Set<() => void>()

  private constructor(server: Server, { to, plan }: RelayOptions) {
    this.#server = server
    this.to = to
    this.plan = plan ?? (() => [])
    server.on('connection', (dialer: Socket) => {
      const faults = this.plan(this.connections.length)
      const target = net.connect({ host: '127.0.0.1', ...this.to, noDelay: true, ...HALF_OPEN })
      const connection: RelayedConnection = new RelayedConnection(dialer, target, {
        faults,
        onMet: (fault) => this.onMet(connection, fault),
      })
      this.connections.push(connection)
      for (const look of [...this.#waiting]) look()
    })
  }

  static async start(options: RelayOptions): Promise<Relay> {
    const server = net.createServer({ noDelay: true, ...HALF_OPEN })
    server.listen(options.port ?? 0, options.host ?? '127.0.0.1')
    await once(server, 'listening')
    return new Relay(server, options)
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Connections whose dialer has not left yet. */
  get openCount(): number {
    return this.connections.filter((each) => !each.hasLeft).length
  }

  /** The connection of this index, now or once it has come. */
  async connection(index: number): Promise<RelayedConnection> {
    for (;;) {
      const found = this.connections[index]
      if (found !== undefined) return found
      await new Promise<void>((resolve) => {
        const look = (): void => {
          this.#waiting.delete(look)
          resolve()
        }
        this.#waiting.add(look)
      })
    }
  }

  async close(): Promise<void> {
    for (const each of this.connections) each.destroy()
    if (!this.#server.listening) return
    this.#server.close()
    await once(this.#server, 'close')
  }
}

const HALF_OPEN = { allowHalfOpen: true }

const MIN_WAIT_MS = 10

export class RelayedConnection {
  /** Bytes that have passed. */
  readonly passed = { up: 0, down: 0 }
  /** The faults that have taken effect. */
  readonly met: RelayFault[] = []
  /** Resolves when the dialer has gone, in any way. */
  readonly left: Promise<void>
  hasLeft = false
  /** Port of the dialer, and the relay's own towards the target. */
  readonly dialerPort: number | undefined
  targetPort: number | undefined
  readonly #sockets: { readonly up: Socket; readonly down: Socket }
  readonly #faults: readonly RelayFault[]
  readonly #onMet: (fault: RelayFault) => void
  readonly #held = { up: Promise.resolve(), down: Promise.resolve() }
  readonly #owedMs = { up: 0, down: 0 }
  #swallowing = false

  /** `up` is read from the dialer, `down` from the target. */
  constructor(
    dialer: Socket,
    target: Socket,
    options: { faults: readonly RelayFault[]; onMet: (fault: RelayFault) => void },
  ) {
    this.#sockets = { up: dialer, down: target }
    this.#faults = options.faults
    this.#onMet = options.onMet
    this.dialerPort = dialer.remotePort
    this.left = new Promise((resolve) => {
      const gone = (): void => {
        this.hasLeft = true
        resolve()
      }
      dialer.once('close', gone)
      dialer.once('end', gone)
    })
    dialer.on('error', () => this.#broke(target))
    target.on('error', () => this.#broke(dialer))
    target.once('connect', () => {
      this.targetPort = target.localPort
    })
    // Not at once: what takes effect before the first byte has an onMet that names this connection.
    queueMicrotask(() => {
      void this.#flow('up', dialer, target)
      void this.#flow('down', target, dialer)
    })
  }

  reset(): void {
    for (const socket of Object.values(this.#sockets)) socket.resetAndDestroy()
  }

  /** From now on nothing passes, either way, and neither side is told. */
  blackHole(): void {
    this.#swallowing = true
  }

  /** FIN to the receiver of this direction. */
  halfClose(direction: Direction): void {
    this.#receiver(direction).end()
  }

  /** Nothing passes in this direction until the returned function is called; nothing is lost. */
  hold(direction: Direction): () => void {
    let release = (): void => {}
    this.#held[direction] = new Promise((resolve) => {
      release = resolve
    })
    return release
  }

  destroy(): void {
    for (const socket of Object.values(this.#sockets)) socket.destroy()
  }

  #receiver(direction: Direction): Socket {
    return this.#sockets[direction === 'up' ? 'down' : 'up']
  }

  /** A reset is passed on, unless the connection has become a black hole. */
  #broke(other: Socket): void {
    if (!this.#swallowing) other.resetAndDestroy()
  }

  async #flow(direction: Direction, from: Socket, to: Socket): Promise<void> {
    try {
      await this.#reach(direction, to)
      for await (const chunk of from.iterator({ destroyOnReturn: false })) {
        await this.#held[direction]
        await this.#pass(direction, chunk as Buffer, to)
      }
      if (!this.#swallowing) to.end()
    } catch {
      // Broken: #broke has passed it on.
    }
  }

  async #pass(direction: Direction, chunk: Buffer, to: Socket): Promise<void> {
    const { ms, bytesPerSecond } = this.#pace(direction)
    if (ms > 0) await delay(ms)
    for (const piece of this.#pieces(direction, chunk)) {
      if (bytesPerSecond > 0) await this.#slowDown(direction, piece.length / bytesPerSecond)
      if (!this.#swallowing && to.writable && !to.write(piece)) await drained(to)
      this.passed[direction] += piece.length
      await this.#reach(direction, to)
    }
  }

  /** A timer takes a millisecond at least: small pieces are waited for together. */
  async #slowDown(direction: Direction, seconds: number): Promise<void> {
    this.#owedMs[direction] += 1000 * seconds
    if (this.#owedMs[direction] < MIN_WAIT_MS) return
    const ms = this.#owedMs[direction]
    this.#owedMs[direction] = 0
    await delay(ms)
  }

  /** Cut where a fault wants it, and corrupted where one says so. */
  *#pieces(direction: Direction, chunk: Buffer): Generator<Buffer> {
    let rest = chunk
    while (rest.length > 0) {
      const start = this.passed[direction]
      let length = rest.length
      for (const fault of this.#faults) {
        if (fault.direction !== direction) continue
        if (fault.how === 'slice') length = Math.min(length, this.#applied(fault).bytes)
        if (fault.how === 'throttle') {
          length = Math.min(length, Math.ceil(this.#applied(fault).bytesPerSecond / 20))
        }
        if ('atByte' in fault && fault.atByte > start)
          length = Math.min(length, fault.atByte - start)
        if (fault.how === 'corrupt' && fault.atByte === start) {
          rest = Buffer.concat([Buffer.of(~rest[0]! & 0xff), rest.subarray(1)])
          this.#applied(fault)
        }
      }
      yield rest.subarray(0, length)
      rest = rest.subarray(length)
    }
  }

  #pace(direction: Direction): { ms: number; bytesPerSecond: number } {
    const pace = { ms: 0, bytesPerSecond: 0 }
    for (const fault of this.#faults) {
      if (fault.direction !== direction) continue
      if (fault.how === 'delay') pace.ms = this.#applied(fault).ms
      if (fault.how === 'throttle') pace.bytesPerSecond = fault.bytesPerSecond
    }
    return pace
  }

  /** Does what is due at the byte that was reached. */
  async #reach(direction: Direction, to: Socket): Promise<void> {
    for (const fault of this.#faults) {
      if (fault.direction !== direction || !('atByte' in fault)) continue
      if (fault.atByte > this.passed[direction] || this.met.includes(fault)) continue
      if (fault.how === 'corrupt') continue
      this.#applied(fault)
      if (fault.how === 'reset') this.reset()
      else if (fault.how === 'black-hole') this.blackHole()
      else to.end()
    }
  }

  #applied<Fault extends RelayFault>(fault: Fault): Fault {
    if (!this.met.includes(fault)) {
      this.met.push(fault)
      this.#onMet(fault)
    }
    return fault
  }
}

async function drained(socket: Socket): Promise<void> {
  const gone = new AbortController()
  const onClose = (): void => gone.abort()
  socket.once('close', onClose)
  if (socket.destroyed) gone.abort()
  await once(socket, 'drain', { signal: gone.signal }).catch(() => {})
  socket.off('close', onClose)
}
