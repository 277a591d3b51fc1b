/**
 * Standard error as the log writes to it: never waits. pino's own stream ends the process when the
 * disk is full or the terminal is gone, and stops it while a reader has no room.
 */

import { writeSync } from 'node:fs'

const STDERR = 2
const MAX_WAITING_BYTES = 1024 * 1024
const RETRY_MS = 10

/**
 * What cannot be written is lost, and nothing else is. A reader that is slow gets its lines later,
 * and beyond a megabyte not at all. The descriptor must not block: main.ts sees to it.
 */
export class StandardError {
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #retry: NodeJS.Timeout | undefined

  write(line: string): void {
    if (this.#waitingBytes > MAX_WAITING_BYTES) return
    const bytes = Buffer.from(line)
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
    if (this.#retry === undefined) this.#flush()
  }

  #flush(): void {
    this.#retry = undefined
    let done = 0
    try {
      for (; done < this.#waiting.length; done++) {
        let rest = this.#waiting[done]!
        while (rest.length > 0) {
          const written = writeSync(STDERR, rest)
          this.#waitingBytes -= written
          rest = rest.subarray(written)
          this.#waiting[done] = rest
        }
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') {
        this.#retry = setTimeout(() => this.#flush(), RETRY_MS)
      } else {
        done = this.#waiting.length
        this.#waitingBytes = 0
      }
    }
    this.#waiting = this.#waiting.slice(done)
  }
}
