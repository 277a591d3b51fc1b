/**
 * Opens what clients connect to: TCP addresses, which share one port, and a Unix socket that only
 * its owner may use. What stands in the way is named, with what to type instead.
 */

import { chmod, lstat, mkdir, unlink } from 'node:fs/promises'
import net, { type AddressInfo, type Server, type Socket } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'

import { ProxyError } from '../errors.js'
import { nextFreePort, portHolder } from './port-holder.js'

export interface ListenOptions {
  addresses: readonly string[]
  /** 0 picks a free one, the same on every address. */
  port: number
  /** A folder. */
  unixSocket: string | undefined
  onConnection: (socket: Socket) => void
}

export interface Listening {
  readonly servers: readonly Server[]
  readonly port: number
  /** As shown to people: `127.0.0.1:5432`, `[::1]:5432`, the path of a Unix socket. */
  readonly addresses: readonly string[]
}

const KEEP_ALIVE_MS = 30_000
const BACKLOG = 4_096
const FREE_PORT_TRIES = 20

/** Errors: kind `config`, which says who holds the port and which is free. */
export async function listen(options: ListenOptions): Promise<Listening> {
  const tcp = await listenTcp(options)
  if (options.unixSocket === undefined) return tcp
  try {
    const path = join(options.unixSocket, `.s.PGSQL.${tcp.port}`)
    const server = await listenUnix(options.unixSocket, path, options.onConnection)
    return { ...tcp, servers: [...tcp.servers, server], addresses: [...tcp.addresses, path] }
  } catch (error) {
    for (const server of tcp.servers) server.close()
    throw error
  }
}

async function listenTcp(options: ListenOptions): Promise<Listening> {
  for (let tries = 1; ; tries++) {
    const servers: Server[] = []
    let port = options.port
    try {
      for (const address of options.addresses) {
        const server = await open({ host: address, port }, options.onConnection)
        if (server === undefined) continue
        servers.push(server)
        port = (server.address() as AddressInfo).port
      }
      if (servers.length === 0) throw new Error('no address to listen on')
      return { servers, port, addresses: servers.map(shownAddress) }
    } catch (error) {
      for (const server of servers) server.close()
      const inUse = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
      // A port that was free on one loopback address may be taken on the other.
      if (inUse && options.port === 0 && tries < FREE_PORT_TRIES) continue
      throw inUse ? await portInUse(port) : cannotListen(options, error)
    }
  }
}

/** Undefined where this machine has no such loopback address, as without IPv6. */
function open(
  where: net.ListenOptions,
  onConnection: (socket: Socket) => void,
): Promise<Server | undefined> {
  const server = net.createServer({
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
  })
  server.on('connection', onConnection)
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const noSuchAddress = error.code === 'EADDRNOTAVAIL' || error.code === 'EAFNOSUPPORT'
      if (noSuchAddress && where.host === '::1') resolve(undefined)
      else reject(error)
    })
    server.listen({ ...where, backlog: BACKLOG, exclusive: true }, () => {
      server.removeAllListeners('error')
      server.on('error', () => {}) // an accept that failed; the next may not
      resolve(server)
    })
  })
}

async function listenUnix(
  folder: string,
  path: string,
  onConnection: (socket: Socket) => void,
): Promise<Server> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const { mode, uid } = await lstat(folder)
  if ((mode & 0o077) !== 0 || uid !== userInfo().uid) {
    throw new ProxyError('config', `folder "${folder}" of the Unix socket is open to other users`, {
      hint: `Make it yours alone: chmod 700 ${folder}; or name another with --unix-socket.`,
    })
  }
  await removeStale(path)
  const server = await open({ path }, onConnection)
  await chmod(path, 0o600)
  return server!
}

/** A file left behind by a process that died: nobody answers there, and it is ours. */
async function removeStale(path: string): Promise<void> {
  const file = await lstat(path).catch(() => undefined)
  if (file === undefined) return
  const answer = await probe(path)
  if (file.isSocket() && file.uid === userInfo().uid && answer === 'ECONNREFUSED') {
    return unlink(path)
  }
  throw new ProxyError(
    'config',
    answer === 'connected'
      ? `Unix socket "${path}" is already in use`
      : `file "${path}" stands where the Unix socket is to be`,
    { hint: 'Choose another --port or --unix-socket, or remove the file.' },
  )
}

function probe(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect({ path })
    socket.once('connect', () => resolve('connected'))
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    socket.once('close', () => resolve('closed'))
    socket.unref()
    socket.once('connect', () => socket.destroy())
  })
}

function shownAddress(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`
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
