/**
 * The place of a Unix socket that only its owner may use: a folder of mode 0700 and a file of mode
 * 0600 in it. A file that a dead process left behind is removed. A file that is in use, or that
 * belongs to another user, stays, and the error names it.
 */

import { chmod, lstat, mkdir, unlink } from 'node:fs/promises'
import net from 'node:net'
import { userInfo } from 'node:os'
import { dirname } from 'node:path'

import { ProxyError } from '../core/errors.js'

/** `flag` chooses the place, and is what hints name. Errors: kind `config`. */
export async function prepareUnixSocket(path: string, flag: string): Promise<void> {
  await ownFolder(dirname(path), flag)
  await removeStale(path, flag)
}

/** Sets the mode of the socket. Until then its folder keeps other users out. */
export function protectUnixSocket(path: string): Promise<void> {
  return chmod(path, 0o600)
}

async function ownFolder(folder: string, flag: string): Promise<void> {
  const found = await mkdir(folder, { recursive: true, mode: 0o700 })
    .then(() => lstat(folder))
    .catch((cause: unknown) => {
      const { message } = cause as Error
      throw new ProxyError('config', `could not make the folder of the Unix socket: ${message}`, {
        cause,
        hint: `Choose another with ${flag}.`,
      })
    })
  if (!found.isDirectory()) {
    throw new ProxyError('config', `"${folder}" is not a folder`, {
      hint: `Name the folder itself, not a link to it, with ${flag}.`,
    })
  }
  if (found.uid !== userInfo().uid) {
    throw new ProxyError(
      'config',
      `folder "${folder}" of the Unix socket belongs to another user`,
      {
        hint: `Choose another with ${flag}.`,
      },
    )
  }
  if ((found.mode & 0o077) !== 0) {
    throw new ProxyError('config', `folder "${folder}" of the Unix socket is open to other users`, {
      hint: `Make it yours alone: chmod 700 ${folder}; or choose another with ${flag}.`,
    })
  }
}

/** A dead process left it behind if it is ours and no process answers there. */
async function removeStale(path: string, flag: string): Promise<void> {
  const file = await lstat(path).catch(() => undefined)
  if (file === undefined) return
  if (!file.isSocket() || file.uid !== userInfo().uid) {
    throw new ProxyError('config', `file "${path}" stands where the Unix socket is to be`, {
      hint: `Remove it, or choose another ${flag}.`,
    })
  }
  const answer = await probe(path)
  if (answer === 'ECONNREFUSED') return unlink(path)
  throw new ProxyError('config', `Unix socket "${path}" is in use`, {
    hint: `Is another lakebase-proxy running? Choose another ${flag}.`,
  })
}

/** The error's code, or undefined when a process has accepted the connection. */
function probe(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = net.connect({ path })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    socket.once('connect', () => {
      socket.destroy()
      resolve(undefined)
    })
  })
}
