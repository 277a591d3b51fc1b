/** What a command is waiting for: one line of a terminal, drawn again; elsewhere a line for each step. */

import { systemClock } from '../../core/clock.js'

export interface ProgressLine {
  show(text: string): void
  /** The last line; it stays. */
  end(text: string): void
}

export function progressLine(stderr: {
  isTTY?: boolean
  write(text: string): unknown
}): ProgressLine {
  const startedAt = systemClock.monotonic()
  const write = (text: string, isLast: boolean): void => {
    const seconds = Math.round((systemClock.monotonic() - startedAt) / 1000)
    const line = `${text} (${seconds} s)`
    if (stderr.isTTY) stderr.write(`\r\x1b[K${line}${isLast ? '\n' : ''}`)
    else stderr.write(`${line}\n`)
  }
  return { show: (text) => write(text, false), end: (text) => write(text, true) }
}
