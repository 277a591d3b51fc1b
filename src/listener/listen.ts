/**
 * Opens the listening sockets: TCP addresses, which share one port, and a Unix socket that only its
 * owner may use. An error names what is in the way and what to type instead.
 */

import net, { type AddressInfo, type Server, type Socket } from 'node:net'
import { join } from 'node:path'

import { addressesClash } from '../config/resolve/ports.js'
import { ProxyError } from '../core/errors.js'
import { nextFreePort, portHolder } from './port-holder.js'
import { prepareUnixSocket, protectUnixSocket } from './unix-socket.js'

export interface ListenOptions {
  addresses: readonly string[]
  /** 0 picks a free one, the same on every address. */
  port: number
  /** A folder. */
  unixSocket: string | undefined
  /** Handles the connections of the sockets that are opened. */
  owner: ConnectionHandler
  /** Open sockets to use again where they fit. Their owner stays the same. */
  reuse: readonly ListeningSocket[]
}

export interface ConnectionHandler {
  accept(socket: Socket): void
}

export interface Listening {
  readonly sockets: readonly ListeningSocket[]
  readonly port: number
  /** As shown to people: `127.0.0.1:5432`, `[::1]:5432`, the path of a Unix socket. */
  readonly addresses: readonly string[]
}

/** An open socket. Its clients go to its owner, which may change while it is open. */
export class ListeningSocket {
  owner: ConnectionHandler
  #where: Where
  readonly #server: Server

  private constructor(where: Where, owner: ConnectionHandler) {
    this.#where = where
    this.owner = owner
    this.#server = net.createServer({
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    })
    this.#server.on('connection', (socket) => this.owner.accept(socket))
    this.#server.on('error', () => {}) // one accept failed; the next one can succeed
  }

  static async open(where: Where, owner: ConnectionHandler): Promise<ListeningSocket> {
    const socket = new ListeningSocket(where, owner)
    await socket.listen()
    return socket
  }

  listen(): Promise<void> {
    const server = this.#server
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen({ ...this.#where, backlog: BACKLOG, exclusive: true }, () => {
        server.off('error', reject)
        if ('host' in this.#where) {
          this.#where = { host: this.#where.host, port: (server.address() as AddressInfo).port }
        }
        resolve()
      })
    })
  }

  /** The address that it listens on. Once open, its port is never 0. */
  get where(): Where {
    return this.#where
  }

  get address(): string {
    if ('path' in this.where) return this.where.path
    const { host, port } = this.where
    return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
  }

  /** Whether nothing else can listen at `where` while this is open. */
  blocks(where: { host: string; port: number }): boolean {
    if (!this.isOpen || 'path' in this.where) return false
    return this.where.port === where.port && addressesClash([this.where.host], [where.host])
  }

  isAt(where: Where): boolean {
    if ('path' in where) return 'path' in this.where && this.where.path === where.path
    return 'host' in this.where && this.where.host === where.host && this.where.port === where.port
  }

  get isOpen(): boolean {
    return this.#server.listening
  }

  /** Frees its port, or removes its file, at once. Accepted clients stay. Safe to call twice. */
  close(): void {
    this.#server.close()
  }
}

type Where = { readonly host: string; readonly port: number } | { readonly path: string }

const KEEP_ALIVE_MS = 30_000
const BACKLOG = 4_096
const FREE_PORT_TRIES = 20

/** Errors: kind `config`, which names the holder of the port and a free one. Then nothing new is open. */
export async function listen(options: ListenOptions): Promise<Listening> {
  const tcp = await listenTcp(options)
  const port = portOf(tcp)
  if (options.unixSocket === undefined) return { sockets: tcp, port, addresses: shown(tcp) }
  try {
    const path = join(options.unixSocket, `.s.PGSQL.${port}`)
    const sockets = [...tcp, await listenUnix(path, options)]
    return { sockets, port, addresses: shown(sockets) }
  } catch (error) {
    closeNew(tcp, options)
    throw error
  }
}

async function listenTcp(options: ListenOptions): Promise<ListeningSocket[]> {
  for (let tries = 1; ; tries++) {
    const sockets: ListeningSocket[] = []
    let { port } = options
    let missing: unknown
    try {
      for (const host of options.addresses) {
        try {
          sockets.push(await listenAt({ host, port }, options))
          port = portOf(sockets)
        } catch (error) {
          // A machine may have only one of the two loopback addresses.
          if (!isMissingLoopback(host, error)) throw error
          missing = error
        }
      }
      if (sockets.length === 0) throw missing
      return sockets
    } catch (error) {
      closeNew(sockets, options)
      const inUse = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
      // A port that was free on one loopback address may be taken on the other.
      if (inUse && options.port === 0 && tries < FREE_PORT_TRIES) continue
      throw inUse ? await portInUse(port, error) : cannotListen(options, error)
    }
  }
}

async function listenAt(
  where: { host: string; port: number },
  { reuse, owner }: ListenOptions,
): Promise<ListeningSocket> {
  const open = reuse.find((socket) => socket.isOpen && socket.isAt(where))
  if (open !== undefined) return open
  for (const socket of reuse) if (socket.blocks(where)) socket.close()
  return ListeningSocket.open(where, owner)
}

function isMissingLoopback(host: string, error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return (
    (host === '127.0.0.1' || host === '::1') &&
    (code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT')
  )
}

async function listenUnix(path: string, { reuse, owner }: ListenOptions): Promise<ListeningSocket> {
  const open = reuse.find((socket) => socket.isOpen && socket.isAt({ path }))
  if (open !== undefined) return open
  await prepareUnixSocket(path, '--unix-socket')
  let socket: ListeningSocket
  try {
    socket = await ListeningSocket.open({ path }, owner)
  } catch (cause) {
    throw new ProxyError('config', `could not listen on "${path}": ${(cause as Error).message}`, {
      cause,
      hint: 'Choose another folder with --unix-socket.',
    })
  }
  await protectUnixSocket(path)
  return socket
}

function closeNew(sockets: readonly ListeningSocket[], { reuse }: ListenOptions): void {
  for (const socket of sockets) if (!reuse.includes(socket)) socket.close()
}

function portOf([first]: readonly ListeningSocket[]): number {
  return first !== undefined && 'port' in first.where ? first.where.port : 0
}

function shown(sockets: readonly ListeningSocket[]): readonly string[] {
  return sockets.map((socket) => socket.address)
}

async function portInUse(port: number, cause: unknown): Promise<ProxyError> {
  const holder = await portHolder(port)
  const free = await nextFreePort(port)
  return new ProxyError(
    'config',
    `port ${port} is in use${holder === undefined ? '' : ` by ${holder}`}`,
    {
      cause,
      hint:
        free === undefined
          ? 'Choose another with --port.'
          : `Choose another: --port ${free} is free.`,
    },
  )
}

function cannotListen(options: ListenOptions, cause: unknown): ProxyError {
  const { code, message } = cause as NodeJS.ErrnoException
  const where = `${options.addresses.join(', ')}, port ${options.port}`
  return new ProxyError('config', `could not listen on ${where}: ${message}`, {
    cause,
    hint:
      code === 'EACCES'
        ? 'Ports below 1024 need rights that lakebase-proxy should not have: choose another with --port.'
        : 'Choose an address of this machine with --address.',
  })
}
