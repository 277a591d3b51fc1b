/**
 * Where the admin interface listens: a port, or a Unix socket that only its owner can use. A
 * default port that is in use is left for a free one; any other place that is taken is an error
 * that names the holder and what to type.
 */

import type { Server } from 'node:http'
import type { AddressInfo, ListenOptions } from 'node:net'

import type { AdminPort, AdminSocket } from '../config/resolve/settings.js'
import { ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import { nextFreePort, portHolder } from '../listener/port-holder.js'
import { prepareUnixSocket, protectUnixSocket } from '../listener/unix-socket.js'

export type AdminPlace = AdminPort | AdminSocket

const FREE_PORT_TRIES = 5

/** Returns `http://127.0.0.1:9090`, or the path of the socket. Errors: kind `config`. */
export async function listenForAdmin(server: Server, place: AdminPlace, log: Log): Promise<string> {
  const where =
    'socket' in place
      ? await listenOnSocket(server, place.socket)
      : await listenOnPort(server, place, log)
  server.on('error', () => {}) // one accept failed; the next one can succeed
  return where
}

async function listenOnSocket(server: Server, path: string): Promise<string> {
  await prepareUnixSocket(path, '--admin-socket')
  try {
    await listen(server, { path })
  } catch (cause) {
    const { message } = cause as Error
    throw new ProxyError('config', `could not open the admin socket: ${message}`, {
      cause,
      hint: 'Choose another path with --admin-socket.',
    })
  }
  await protectUnixSocket(path)
  return path
}

async function listenOnPort(
  server: Server,
  { address, port, portIsDefault }: AdminPort,
  log: Log,
): Promise<string> {
  let [host, candidate] = [address, port]
  for (let tries = 1; ; tries++) {
    try {
      await listen(server, { host, port: candidate })
      break
    } catch (error) {
      // A machine, or a container, whose loopback has only the other address.
      if ((error as NodeJS.ErrnoException).code === 'EADDRNOTAVAIL' && host === '127.0.0.1') {
        host = '::1'
        continue
      }
      const inUse = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
      const free = inUse ? await nextFreePort(candidate) : undefined
      if (!portIsDefault || free === undefined || tries === FREE_PORT_TRIES) {
        throw await cannotListen(host, candidate, free, error)
      }
      candidate = free
    }
  }
  if (candidate !== port) {
    const holder = await portHolder(port)
    log.warn({ holder }, `port ${port} is in use, the admin port is ${candidate}`)
  }
  return urlOf(server.address() as AddressInfo)
}

function urlOf({ family, address, port }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}

function listen(server: Server, where: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ ...where, exclusive: true }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

async function cannotListen(
  address: string,
  port: number,
  free: number | undefined,
  cause: unknown,
): Promise<ProxyError> {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code !== 'EADDRINUSE') {
    return new ProxyError('config', `could not open the admin port on ${address}: ${message}`, {
      cause,
      hint: 'Choose an address of this machine with --admin-address, or do without: --no-admin.',
    })
  }
  const holder = await portHolder(port)
  return new ProxyError(
    'config',
    `admin port ${port} is in use${holder === undefined ? '' : ` by ${holder}`}`,
    {
      cause,
      hint: `Choose another${free === undefined ? '' : `: --admin-port ${free} is free`}; or do without: --no-admin.`,
    },
  )
}
