/**
 * Logging, set up once: JSON lines or pretty ones, to standard error. Every text in a line is
 * redacted and made printable on the way out, and no line ever waits for its reader.
 */

import { createRequire } from 'node:module'

import type { LogFn, Logger } from 'pino'

import { oneLine, printable } from './plain-text.js'
import { isClean, redact } from './redact.js'
import { StandardError } from './standard-error.js'

/** The levels are pino's. */
export type Log = Pick<Logger, 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'>

/** Loads pino for the first line, so that clients need not wait for it. */
export interface LazyLog extends Log {
  /** Loads pino now: a process without a free file descriptor could not load it later. */
  load(): void
}

export interface LogOptions {
  level: string
  format: 'pretty' | 'json'
  /** Standard error when left out: stdout holds only what was asked for. */
  stream?: { write(line: string): unknown }
  /** For the pretty format: a line in words, instead of its message and its facts. */
  inWords?: (line: Readonly<Record<string, unknown>>) => string | undefined
}

export function createLog(options: LogOptions): LazyLog {
  let logger: Logger | undefined
  const loaded = (): Logger => {
    logger ??= openLog(options)
    return logger
  }
  return { ...eachLevel((level, line) => loaded()[level](...line)), load: () => void loaded() }
}

/** Writes nothing: for tests and the library. */
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

function openLog({ level, format, stream = new StandardError(), inWords }: LogOptions): Logger {
  const require = createRequire(import.meta.url)
  const { pino } = require('pino') as typeof import('pino')
  const settings = { name: 'lakebase-proxy', base: null, level }
  if (format === 'json') {
    // What log collectors parse without being told: a word, and ISO 8601.
    const formatters = { level: (label: string) => ({ level: label }) }
    const timestamp = pino.stdTimeFunctions.isoTime
    const write = (line: string): unknown =>
      stream.write(isClean(line) ? line : `${cleaned(line, cleanText)}\n`)
    return pino({ ...settings, formatters, timestamp }, { write })
  }
  const { prettyFactory } = require('pino-pretty') as typeof import('pino-pretty')
  const pretty = prettyFactory({ singleLine: true, ignore: 'pid,hostname,name' })
  const shown = (line: string): string => {
    const clean = cleaned(line, cleanLine)
    const { level, time, ...rest } = JSON.parse(clean)
    const words = inWords?.(rest)
    return pretty(words === undefined ? clean : JSON.stringify({ level, time, msg: words }))
  }
  return pino(settings, { write: (line) => stream.write(shown(line)) })
}

/** Redacts each text in a line by itself, so that JSON stays JSON. */
function cleaned(line: string, clean: (key: string, text: string) => string): string {
  return JSON.stringify(
    JSON.parse(line, (key, value: unknown) =>
      typeof value === 'string' ? clean(key, value) : value,
    ),
  )
}

function cleanText(_key: string, text: string): string {
  return redact(printable(text))
}

/** A line break in a foreign text would begin a line that looks like ours. Only a stack keeps its lines. */
function cleanLine(key: string, text: string): string {
  if (key !== 'stack') return redact(oneLine(text))
  return redact(printable(text).replace(/\n(?! {4}at )/g, ' '))
}
