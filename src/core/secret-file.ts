/**
 * Files that the user wrote: read whole, as text in the encoding that their byte order mark names.
 * Those that hold a secret are refused when another user of the machine owns or can read them.
 */

import { readFileSync, type Stats, statSync } from 'node:fs'

import { ProxyError } from './errors.js'
import { Secret } from './secret.js'

/** As PostgreSQL wants a server key: 0600 of ours, or at most 0640 of root (a mounted Secret). */
export function readSecretFile(path: string, platform: string): string {
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
  return readWhole(path)
}

const MAX_PASSWORDS = 100

/** One password a line, so that an old and a new one can both be good for a while. May be none. */
export function passwordsOf(content: string, path: string): readonly Secret[] {
  const lines = content.split(/\r?\n/).filter((line) => line !== '')
  if (lines.length > MAX_PASSWORDS) {
    throw new ProxyError('config', `${path} holds more than ${MAX_PASSWORDS} passwords`)
  }
  return lines.map((line) => new Secret(line))
}

/** Errors: kind `config`, when the file does not exist or is not text. */
export function readWhole(path: string): string {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (cause) {
    throw new ProxyError('config', `cannot read ${path}: ${reason(cause)}`, { cause })
  }
  return decodeText(bytes, path)
}

/**
 * UTF-8, or UTF-16 with a byte order mark, as Windows PowerShell writes it. The mark is left out.
 * Errors: kind `config`, for UTF-16 and UTF-32 without a mark, whose text is full of NUL bytes.
 */
export function decodeText(bytes: Buffer, path: string): string {
  const [first, second] = bytes
  if (first === 0xff && second === 0xfe) return new TextDecoder('utf-16le').decode(bytes)
  if (first === 0xfe && second === 0xff) return new TextDecoder('utf-16be').decode(bytes)
  if (bytes.includes(0)) {
    throw new ProxyError('config', `${path} is not a UTF-8 text: it holds a NUL byte`, {
      hint: 'Save the file as UTF-8.',
    })
  }
  return new TextDecoder('utf-8').decode(bytes)
}

/** Windows keeps no such bits. */
export function openToOthers(path: string, platform: string): boolean {
  if (platform === 'win32') return false
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined || !found.isFile()) return false
  return (found.mode & (found.uid === 0 ? 0o027 : 0o077)) !== 0
}

/** Owned by a user who is neither us nor root: that user can change it at any time. */
export function isForeign(
  { uid }: Pick<Stats, 'uid'>,
  own: number | undefined = process.geteuid?.(),
): boolean {
  return uid !== 0 && uid !== own
}

function reason(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  if (code === 'ENOENT') return 'no such file'
  if (code === 'EISDIR') return 'it is a folder'
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied'
  return cause instanceof Error ? cause.message : String(cause)
}
