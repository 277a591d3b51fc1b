/** Files that hold a secret: read whole, and refused when other users of the machine can read them. */

import { readFileSync, statSync } from 'node:fs'

import { ProxyError } from './errors.js'

/** As PostgreSQL wants a server key: 0600 of ours, or at most 0640 of root (a mounted Secret). */
export function readSecretFile(path: string, platform: string): string {
  if (openToOthers(path, platform)) {
    throw new ProxyError('config', `${path} can be read by others`, {
      hint: `Type: chmod 600 ${path}`,
    })
  }
  return readWhole(path)
}

/** Throws a `config` error when there is no such file. */
export function readWhole(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new ProxyError('config', `cannot read ${path}: ${reason(cause)}`, { cause })
  }
}

/** Windows keeps no such bits. */
export function openToOthers(path: string, platform: string): boolean {
  if (platform === 'win32') return false
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined || !found.isFile()) return false
  return (found.mode & (found.uid === 0 ? 0o027 : 0o077)) !== 0
}

function reason(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  if (code === 'ENOENT') return 'no such file'
  if (code === 'EISDIR') return 'it is a folder'
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied'
  return cause instanceof Error ? cause.message : String(cause)
}
