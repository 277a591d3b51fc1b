/** Logging, set up once: JSON lines or pretty ones, to standard error, redacted on the way out. */

import { writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Writable } from 'node:stream'

import type { DestinationStream, LogFn, Logger } from 'pino'

import { redact } from './redact.js'

/** The levels are pino's. */
export type Log = Pick<Logger, 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'>

/** pino is loaded for the first line: clients need not wait for it. */
export interface LateLog extends Log {
  /** Loads it now: when a process has no file descriptor left, it could not. */
  load(): void
}

export interface LogOptions {
  level: string
  format: 'pretty' | 'json'
  /** Standard error when left out: stdout holds only what was asked for. */
  stream?: Writable
}

export function createLog(options: LogOptions): LateLog {
  let logger: Logger | undefined
  const loaded = (): Logger => {
    logger ??= openLog(options)
    return logger
  }
  return { ...eachLevel((level, line) => loaded()[level](...line)), load: () => void loaded() }
}

/** For tests and the library: says nothing. */
export const silentLog: Log = eachLevel(() => {})

function eachLevel(write: (level: keyof Log, line: Parameters<LogFn>) => void): Log {
  const at = (level: keyof Log): LogFn => {
    return (...line: unknown[]) => write(level, line as Parameters<LogFn>)
  }
  return {
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    fatal: at('fatal'),
  }
}

function openLog({ level, format, stream }: LogOptions): Logger {
  const require = createRequire(import.meta.url)
  const { pino } = require('pino') as typeof import('pino')
  const settings = { name: 'lakebase-proxy', base: null, level, hooks: { streamWrite: redact } }
  if (format === 'json') return pino(settings, stream ?? new StandardError())
  const pretty = require('pino-pretty') as typeof import('pino-pretty')
  const look = {
    sync: true,
    singleLine: true,
    ignore: 'pid,hostname,name',
    destination: stream ?? 2,
  }
  return pino(settings, pretty(look))
}

const STDERR = 2
const MAX_WAITING_BYTES = 1024 * 1024
const RETRY_MS = 10

/**
 * What cannot be written, for the disk is full or the terminal is gone, is lost, and nothing else is:
 * pino's own stream ends the process then, or stops it until there is room. A reader that is slow
 * gets its lines later, and beyond a megabyte not at all.
 */
class StandardError implements DestinationStream {
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
