/**
 * Files that hold a secret: a private key, local passwords. They are refused when another user of the
 * machine owns or can read them.
 */

import { type Stats, statSync } from 'node:fs'

import { ProxyError } from './errors.js'
import { Secret } from './secret.js'
import { readText } from './text-file.js'

/**
 * The permissions that PostgreSQL asks of a server key: 0600 when this user owns the file, at most
 * 0640 when root owns it, as a Kubernetes Secret is mounted. Errors: kind `config`, and those of `read`.
 */
export function readSecretFile(
  path: string,
  platform: string,
  read: (path: string) => string = readText,
): string {
  if (platform !== 'win32') {
    const found = statSync(path, { throwIfNoEntry: false })
    if (found?.isFile() && isForeign(found)) {
      throw new ProxyError('config', `${path} belongs to another user`, {
        hint: `Type: chown ${process.geteuid?.()} ${path}`,
      })
    }
  }
  if (openToOthers(path, platform)) {
    throw new ProxyError('config', `${path} can be read by others`, {
      hint: `Type: chmod 600 ${path}`,
    })
  }
  return read(path)
}

const MAX_PASSWORDS = 100

/**
 * One password a line, so that an old and a new one can both be good for a while. An empty file holds
 * no password.
 */
export function passwordsOf(content: string, path: string): readonly Secret[] {
  const lines = content.split(/\r?\n/).filter((line) => line !== '')
  if (lines.length > MAX_PASSWORDS) {
    throw new ProxyError('config', `${path} holds more than ${MAX_PASSWORDS} passwords`)
  }
  return lines.map((line) => new Secret(line))
}

/** Whether the mode lets other users read the file. Always false on Windows, where files have no mode. */
export function openToOthers(path: string, platform: string): boolean {
  if (platform === 'win32') return false
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined || !found.isFile()) return false
  return (found.mode & (found.uid === 0 ? 0o027 : 0o077)) !== 0
}

/** Whether the file belongs to a user who is neither this one nor root, and who can change it at any time. */
export function isForeign(
  { uid }: Pick<Stats, 'uid'>,
  own: number | undefined = process.geteuid?.(),
): boolean {
  return uid !== 0 && uid !== own
}
