/**
 * Reads from a paused socket what is asked for and leaves every other byte in it, so that a TLS
 * upgrade or the pipe can take the stream over with nothing to hand back.
 */

import type { Duplex } from 'node:stream'

import { ProxyError } from '../core/errors.js'

/** Exactly `byteCount` bytes. Rejects with kind `protocol` when the peer hangs up before. */
export function readExactly(
  socket: Duplex,
  byteCount: number,
  signal: AbortSignal,
): Promise<Buffer> {
  return read(socket, signal, () => {
    const bytes: Buffer | null = socket.read(byteCount)
    // At the end of a stream, read(n) gives what is left, however little.
    if (bytes !== null && bytes.length < byteCount) throw hungUp()
    return bytes
  })
}

/** Whatever has come, at least one byte. Rejects with kind `protocol` when the peer hangs up before. */
export function readSome(socket: Duplex, signal: AbortSignal): Promise<Buffer> {
  return read(socket, signal, () => socket.read() as Buffer | null)
}

function read(socket: Duplex, signal: AbortSignal, take: () => Buffer | null): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // One 'readable' listener for the whole wait: adding it anew while part of the message is
    // buffered makes Node announce that part again at once, and a loop over
    // once(socket, 'readable') then never lets the socket be read.
    socket.on('readable', attempt).on('end', over).on('close', over).on('error', failed)
    signal.addEventListener('abort', aborted)
    if (signal.aborted) aborted()
    else attempt()

    function attempt(): void {
      try {
        const bytes = take()
        if (bytes !== null) stop(() => resolve(bytes))
        else if (socket.readableEnded || socket.destroyed) over()
      } catch (error) {
        failed(error)
      }
    }

    function over(): void {
      failed(socket.errored ?? hungUp())
    }

    function aborted(): void {
      failed(signal.reason)
    }

    function failed(error: unknown): void {
      stop(() => reject(error))
    }

    function stop(settle: () => void): void {
      socket.off('readable', attempt).off('end', over).off('close', over).off('error', failed)
      signal.removeEventListener('abort', aborted)
      settle()
    }
  })
}

function hungUp(): ProxyError {
  return new ProxyError('protocol', 'connection closed in the middle of a message')
}
