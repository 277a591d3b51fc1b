/**
 * Logging, set up once, and the secrets that must never reach it: a `Secret` prints as
 * [redacted] wherever it is printed, and is taken out by name where it is used.
 */

import { inspect } from 'node:util'

import { destination, type Logger, pino } from 'pino'

/** The levels are pino's. */
export type Log = Pick<Logger, 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'>

export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** The secret itself: call it where it is sent, and keep no copy. */
  reveal(): string {
    return this.#value
  }

  toString(): string {
    return '[redacted]'
  }

  toJSON(): string {
    return '[redacted]'
  }

  [inspect.custom](): string {
    return '[redacted]'
  }
}

export interface LogOptions {
  level: string
  format: 'pretty' | 'json'
}

/** Writes to stderr: stdout holds only what was asked for. */
export async function createLog(options: LogOptions): Promise<Logger> {
  const settings = { name: 'lakebase-proxy', base: null, level: options.level }
  if (options.format === 'json') return pino(settings, destination({ dest: 2, sync: true }))
  const { default: pretty } = await import('pino-pretty')
  return pino(settings, pretty({ destination: 2, sync: true, ignore: 'pid,hostname,name' }))
}

/** For tests and the library: says nothing. */
export const silentLog: Log = pino({ enabled: false })
