/**
 * Reads bytes from a socket for the emulator. It is written on its own, and works another way than
 * the proxy's reader, so that one mistake cannot be in both: bytes are taken out piece by piece as
 * they arrive. No byte after the requested ones is taken, so that TLS can go on from there.
 */

import type { Duplex } from 'node:stream'

/** Exactly `byteCount` bytes. Errors: the signal's reason, or an Error when the peer ends first. */
export async function takeBytes(
  stream: Duplex,
  byteCount: number,
  signal?: AbortSignal,
): Promise<Buffer> {
  const bytes = Buffer.alloc(byteCount)
  let filled = 0
  while (filled < byteCount) {
    signal?.throwIfAborted()
    const piece = Math.min(stream.readableLength, byteCount - filled)
    if (piece > 0) {
      filled += (stream.read(piece) as Buffer).copy(bytes, filled)
    } else {
      if (stream.readableEnded || stream.destroyed) throw new Error('client left')
      await nextEvent(stream, ['readable', 'end', 'close'], signal)
    }
  }
  return bytes
}

/** Waits until the peer ends its side or the connection closes. Its bytes are thrown away. */
export async function untilEnd(stream: Duplex, signal?: AbortSignal): Promise<void> {
  stream.resume()
  if (stream.readableEnded || stream.destroyed) return
  await nextEvent(stream, ['end', 'close'], signal)
}

const LINGER_MS = 1_000

/**
 * Waits a second at most until the connection is closed: the last bytes may still be on their way.
 * Never rejects.
 */
export async function untilClosed(stream: Duplex): Promise<void> {
  if (stream.closed) return
  await nextEvent(stream, ['close'], AbortSignal.timeout(LINGER_MS)).catch(() => {})
}

/** The first of these events. Errors: the signal's reason. */
function nextEvent(
  stream: Duplex,
  events: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      for (const event of events) stream.off(event, happened)
      signal?.removeEventListener('abort', aborted)
    }
    const happened = (): void => {
      stop()
      resolve()
    }
    const aborted = (): void => {
      stop()
      reject(signal?.reason)
    }
    for (const event of events) stream.on(event, happened)
    signal?.addEventListener('abort', aborted)
    if (events.includes('readable')) stream.read(0) // asks the socket for more
  })
}
