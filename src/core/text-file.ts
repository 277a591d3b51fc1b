/**
 * Text files that the user wrote: read whole, in UTF-8 or in the UTF-16 that a byte order mark names.
 * Another encoding is refused: a password would be another one without a word.
 */

import { readFileSync } from 'node:fs'

import { ProxyError } from './errors.js'

/** Errors: kind `config`, when the file cannot be read or is not text. */
export function readText(path: string): string {
  return decodeText(readBytes(path), path)
}

/**
 * A PEM file: only its blocks matter, which are ASCII. Around them may be text in any encoding, such
 * as the names that openssl copies from a PKCS #12 file. Errors: kind `config`, when it cannot be read.
 */
export function readPem(path: string): string {
  const bytes = readBytes(path)
  return new TextDecoder(encodingOf(bytes)).decode(bytes)
}

/**
 * The text without its byte order mark. UTF-16 needs the mark, which Windows PowerShell writes.
 * Errors: kind `config`, for bytes that are not text in this encoding.
 */
export function decodeText(bytes: Buffer, path: string): string {
  const encoding = encodingOf(bytes)
  const hint = 'Save the file as UTF-8.'
  if (encoding === 'utf-8' && bytes.includes(0)) {
    throw new ProxyError('config', `${path} is not UTF-8 text: it holds a NUL byte`, { hint })
  }
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes)
  } catch (cause) {
    const name = encoding === 'utf-8' ? 'UTF-8' : 'UTF-16'
    throw new ProxyError('config', `${path} is not ${name} text`, { cause, hint })
  }
}

function encodingOf([first, second]: Buffer): 'utf-8' | 'utf-16le' | 'utf-16be' {
  if (first === 0xff && second === 0xfe) return 'utf-16le'
  return first === 0xfe && second === 0xff ? 'utf-16be' : 'utf-8'
}

function readBytes(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new ProxyError('config', `cannot read ${path}: ${readProblem(cause)}`, { cause })
  }
}

/** Why a file could not be read, for a message. */
export function readProblem(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  if (code === 'ENOENT') return 'no such file'
  if (code === 'EISDIR') return 'it is a folder'
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied'
  return cause instanceof Error ? cause.message : String(cause)
}
