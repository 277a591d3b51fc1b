/** What a command is waiting for: one line of a terminal, drawn again; elsewhere a line for each new text. */

import { systemClock } from '../../core/clock.js'

export interface ProgressLine {
  /** The last line stays. */
  tell(text: string, isLast: boolean): void
}

export function progressLine(stderr: {
  isTTY?: boolean
  write(text: string): unknown
}): ProgressLine {
  const startedAt = systemClock.monotonic()
  let last = ''
  return {
    tell(text, isLast) {
      const seconds = Math.round((systemClock.monotonic() - startedAt) / 1000)
      const line = `${text} (${seconds} s)`
      if (stderr.isTTY) stderr.write(`\r\x1b[K${line}${isLast ? '\n' : ''}`)
      else if (text !== last) stderr.write(`${line}\n`)
      last = text
    },
  }
}
