/** Who holds a port, where this machine tells, and which one is free. */

import { readdir, readFile, readlink } from 'node:fs/promises'
import net from 'node:net'

const LISTEN = '0A'

/** Such as `postgres (pid 812)`; undefined where it cannot be told: another user's process, no Linux. */
export async function portHolder(port: number): Promise<string | undefined> {
  try {
    const inode = await listeningInode(port)
    if (inode === undefined) return undefined
    for (const pid of await readdir('/proc')) {
      if (!/^\d+$/.test(pid) || !(await holds(pid, `socket:[${inode}]`))) continue
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8')).trim()
      return `${name} (pid ${pid})`
    }
  } catch {
    // it was only to help
  }
  return undefined
}

async function listeningInode(port: number): Promise<string | undefined> {
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0')
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const lines = (await readFile(table, 'utf8').catch(() => '')).split('\n').slice(1)
    for (const line of lines) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/)
      if (state === LISTEN && local?.endsWith(`:${hexPort}`)) return inode
    }
  }
  return undefined
}

async function holds(pid: string, link: string): Promise<boolean> {
  const files = await readdir(`/proc/${pid}/fd`).catch(() => [])
  for (const file of files) {
    if ((await readlink(`/proc/${pid}/fd/${file}`).catch(() => '')) === link) return true
  }
  return false
}

const MAX_TRIES = 100

/** The next port after `port` that is free on both loopback addresses. */
export async function nextFreePort(port: number): Promise<number | undefined> {
  const last = Math.min(port + MAX_TRIES, 65_535)
  for (let candidate = port + 1; candidate <= last; candidate++) {
    if ((await isFree(candidate, '127.0.0.1')) && (await isFree(candidate, '::1'))) return candidate
  }
  return undefined
}

/** Also when it cannot be listened at for another reason. */
export function isFree(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'EADDRINUSE'))
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)))
  })
}
