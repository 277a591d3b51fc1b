/**
 * Reads from a paused socket what is asked for and leaves every other byte in it, so that a TLS
 * upgrade or the pipe can take over the stream with nothing to hand back. It does not know which
 * side it reads from: an end in the middle is a `StreamEnded`, which each caller puts in its words.
 */

import type { Duplex } from 'node:stream'

/** The peer hung up before the bytes that were asked for. */
export class StreamEnded extends Error {
  constructor() {
    super('connection closed in the middle of a message')
  }
}

/** Exactly `byteCount` bytes. Rejects with StreamEnded, with the socket's error, or as `signal` says. */
export function readExactly(
  socket: Duplex,
  byteCount: number,
  signal: AbortSignal,
): Promise<Buffer> {
  return read(socket, signal, () => {
    const bytes: Buffer | null = socket.read(byteCount)
    // At the end of a stream, read(n) gives what is left, however little.
    if (bytes !== null && bytes.length < byteCount) throw new StreamEnded()
    return bytes
  })
}

/** The bytes that have come, at least one. Rejects as `readExactly` does. */
export function readSome(socket: Duplex, signal: AbortSignal): Promise<Buffer> {
  return read(socket, signal, () => socket.read() as Buffer | null)
}

async function read(
  socket: Duplex,
  signal: AbortSignal,
  take: () => Buffer | null,
): Promise<Buffer> {
  signal.throwIfAborted()
  return take() ?? waitToRead(socket, signal, take)
}

function waitToRead(
  socket: Duplex,
  signal: AbortSignal,
  take: () => Buffer | null,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // One 'readable' listener for the whole wait. If it were added again while part of the message
    // is buffered, Node would announce that part again at once, and a loop over
    // once(socket, 'readable') would never let the socket be read.
    socket.on('readable', attempt).on('end', over).on('close', over).on('error', failed)
    signal.addEventListener('abort', aborted)
    attempt()

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
      failed(socket.errored ?? new StreamEnded())
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
