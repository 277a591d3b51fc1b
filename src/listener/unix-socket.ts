/**
 * The place of a Unix socket that only its owner may use: a folder of mode 0700 and a file of mode
 * 0600 in it. A file that a dead process left behind goes; one that is in use, or that is somebody
 * else's, stays, and is named.
 */

import { chmod, lstat, mkdir, unlink } from 'node:fs/promises'
import net from 'node:net'
import { userInfo } from 'node:os'

import { ProxyError } from '../core/errors.js'

/** Errors: kind `config`. */
export async function prepareUnixSocket(folder: string, path: string): Promise<void> {
  await ownFolder(folder)
  await removeStale(path)
}

/** The folder has kept others out since before the file was there. */
export function protectUnixSocket(path: string): Promise<void> {
  return chmod(path, 0o600)
}

async function ownFolder(folder: string): Promise<void> {
  const found = await mkdir(folder, { recursive: true, mode: 0o700 })
    .then(() => lstat(folder))
    .catch((cause: unknown) => {
      const { message } = cause as Error
      throw new ProxyError('config', `could not make the folder of the Unix socket: ${message}`, {
        cause,
        hint: 'Choose another with --unix-socket.',
      })
    })
  if (!found.isDirectory()) {
    throw new ProxyError('config', `"${folder}" is not a folder`, {
      hint: 'Name the folder itself, no link to it, with --unix-socket.',
    })
  }
  if (found.uid !== userInfo().uid) {
    throw new ProxyError(
      'config',
      `folder "${folder}" of the Unix socket belongs to another user`,
      {
        hint: 'Choose another with --unix-socket.',
      },
    )
  }
  if ((found.mode & 0o077) !== 0) {
    throw new ProxyError('config', `folder "${folder}" of the Unix socket is open to other users`, {
      hint: `Make it yours alone: chmod 700 ${folder}; or choose another with --unix-socket.`,
    })
  }
}

/** Left behind by a process that died: nobody answers there, and it is ours. */
async function removeStale(path: string): Promise<void> {
  const file = await lstat(path).catch(() => undefined)
  if (file === undefined) return
  if (!file.isSocket() || file.uid !== userInfo().uid) {
    throw new ProxyError('config', `file "${path}" stands where the Unix socket is to be`, {
      hint: 'Remove it, or choose another --unix-socket or --port.',
    })
  }
  const answer = await probe(path)
  if (answer === 'ECONNREFUSED') return unlink(path)
  throw new ProxyError('config', `Unix socket "${path}" is in use`, {
    hint: 'Is another lakebase-proxy running? Choose another --unix-socket or --port.',
  })
}

/** The error's code, or undefined when somebody took the call. */
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
