/**
 * Opens what clients connect to: TCP addresses, which share one port, and a Unix socket that only
 * its owner may use. What stands in the way is named, with what to type instead.
 */

import net, { type AddressInfo, type Server, type Socket } from 'node:net'
import { join } from 'node:path'

import { meet } from '../config/resolve/ports.js'
import { ProxyError } from '../core/errors.js'
import { nextFreePort, portHolder } from './port-holder.js'
import { prepareUnixSocket, protectUnixSocket } from './unix-socket.js'

export interface ListenOptions {
  addresses: readonly string[]
  /** 0 picks a free one, the same on every address. */
  port: number
  /** A folder. */
  unixSocket: string | undefined
  /** Of the sockets that are opened. */
  owner: DoorOwner
  /** Open sockets to be used again where they are what is wanted; their owner stays who it is. */
  reuse: readonly Door[]
}

export interface DoorOwner {
  accept(socket: Socket): void
}

export interface Listening {
  readonly doors: readonly Door[]
  readonly port: number
  /** As shown to people: `127.0.0.1:5432`, `[::1]:5432`, the path of a Unix socket. */
  readonly addresses: readonly string[]
}

/** A listening socket. Its clients go to its owner, which may change while it is open. */
export class Door {
  owner: DoorOwner
  #where: Where
  readonly #server: Server

  private constructor(where: Where, owner: DoorOwner) {
    this.#where = where
    this.owner = owner
    this.#server = net.createServer({
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    })
    this.#server.on('connection', (socket) => this.owner.accept(socket))
    this.#server.on('error', () => {}) // an accept that failed; the next may not
  }

  static async open(where: Where, owner: DoorOwner): Promise<Door> {
    const door = new Door(where, owner)
    await door.listen()
    return door
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

  /** What it was asked to listen at; its port, once open, is never 0. */
  get where(): Where {
    return this.#where
  }

  get address(): string {
    if ('path' in this.where) return this.where.path
    const { host, port } = this.where
    return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
  }

  /** Nobody else can listen at `where` while this is open. */
  isInTheWayOf(where: { host: string; port: number }): boolean {
    if (!this.isOpen || 'path' in this.where) return false
    return this.where.port === where.port && meet([this.where.host], [where.host])
  }

  isAt(where: Where): boolean {
    if ('path' in where) return 'path' in this.where && this.where.path === where.path
    return 'host' in this.where && this.where.host === where.host && this.where.port === where.port
  }

  get isOpen(): boolean {
    return this.#server.listening
  }

  /** Frees its port, or removes its file, at once; clients that were let in stay. Safe to call twice. */
  close(): void {
    this.#server.close()
  }
}

type Where = { readonly host: string; readonly port: number } | { readonly path: string }

const KEEP_ALIVE_MS = 30_000
const BACKLOG = 4_096
const FREE_PORT_TRIES = 20

/** Errors: kind `config`, which says who holds the port and which is free; then nothing new is open. */
export async function listen(options: ListenOptions): Promise<Listening> {
  const tcp = await listenTcp(options)
  const port = portOf(tcp)
  if (options.unixSocket === undefined) return { doors: tcp, port, addresses: shown(tcp) }
  try {
    const path = join(options.unixSocket, `.s.PGSQL.${port}`)
    const doors = [...tcp, await listenUnix(options.unixSocket, path, options)]
    return { doors, port, addresses: shown(doors) }
  } catch (error) {
    closeNew(tcp, options)
    throw error
  }
}

async function listenTcp(options: ListenOptions): Promise<Door[]> {
  for (let tries = 1; ; tries++) {
    const doors: Door[] = []
    let { port } = options
    try {
      for (const host of options.addresses) {
        const door = await tcpDoor({ host, port }, options)
        if (door === undefined) continue
        doors.push(door)
        port = portOf(doors)
      }
      if (doors.length === 0) throw new Error('no address to listen on')
      return doors
    } catch (error) {
      closeNew(doors, options)
      const inUse = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
      // A port that was free on one loopback address may be taken on the other.
      if (inUse && options.port === 0 && tries < FREE_PORT_TRIES) continue
      throw inUse ? await portInUse(port) : cannotListen(options, error)
    }
  }
}

/** Undefined where this machine has no IPv6. */
async function tcpDoor(
  where: { host: string; port: number },
  { reuse, owner }: ListenOptions,
): Promise<Door | undefined> {
  const open = reuse.find((door) => door.isOpen && door.isAt(where))
  if (open !== undefined) return open
  for (const door of reuse) if (door.isInTheWayOf(where)) door.close()
  try {
    return await Door.open(where, owner)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const noSuchAddress = code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT'
    if (noSuchAddress && where.host === '::1') return undefined
    throw error
  }
}

async function listenUnix(
  folder: string,
  path: string,
  { reuse, owner }: ListenOptions,
): Promise<Door> {
  const open = reuse.find((door) => door.isOpen && door.isAt({ path }))
  if (open !== undefined) return open
  await prepareUnixSocket(folder, path)
  let door: Door
  try {
    door = await Door.open({ path }, owner)
  } catch (cause) {
    throw new ProxyError('config', `could not listen on "${path}": ${(cause as Error).message}`, {
      cause,
      hint: 'Choose another folder with --unix-socket.',
    })
  }
  await protectUnixSocket(path)
  return door
}

function closeNew(doors: readonly Door[], { reuse }: ListenOptions): void {
  for (const door of doors) if (!reuse.includes(door)) door.close()
}

function portOf([first]: readonly Door[]): number {
  return first !== undefined && 'port' in first.where ? first.where.port : 0
}

function shown(doors: readonly Door[]): readonly string[] {
  return doors.map((door) => door.address)
}

async function portInUse(port: number): Promise<ProxyError> {
  const holder = await portHolder(port)
  const free = await nextFreePort(port)
  return new ProxyError(
    'config',
    `port ${port} is in use${holder === undefined ? '' : ` by ${holder}`}`,
    {
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
