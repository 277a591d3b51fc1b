/** A log that a test can read back, and wait for. */

import type { Log } from '../../src/core/log.js'

export interface LogLine {
  readonly level: string
  readonly facts: Readonly<Record<string, unknown>>
  readonly message: string
}

export interface RecordedLog extends Log {
  readonly lines: readonly LogLine[]
  /** The first line, of those so far or to come, that `matches`. */
  seen(matches: (line: LogLine) => boolean): Promise<LogLine>
}

export function recordedLog(): RecordedLog {
  const lines: LogLine[] = []
  const waiting = new Set<() => void>()
  const level =
    (name: string) =>
    (...args: unknown[]): void => {
      const [first, second] = args
      const facts = typeof first === 'object' ? (first as Record<string, unknown>) : {}
      lines.push({
        level: name,
        facts,
        message: String(typeof first === 'string' ? first : second),
      })
      for (const look of [...waiting]) look()
    }
  return {
    lines,
    seen: (matches) =>
      new Promise((resolve) => {
        const look = (): void => {
          const found = lines.find(matches)
          if (found === undefined) return
          waiting.delete(look)
          resolve(found)
        }
        waiting.add(look)
        look()
      }),
    trace: level('trace'),
    debug: level('debug'),
    info: level('info'),
    warn: level('warn'),
    error: level('error'),
    fatal: level('fatal'),
  }
}
