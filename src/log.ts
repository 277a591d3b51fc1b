/**
 * Logging, set up once, and the secrets that must never reach it: a `Secret` prints as
 * [redacted] wherever it is printed, and is taken out by name where it is used. What others hand
 * us as text (a token typed as a user name, one quoted in a server's error) is known by its form.
 */

import type { Writable } from 'node:stream'
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

// A JWT or its beginning, Databricks' own tokens and secrets, and what is named as a secret.
const SECRETS: readonly [RegExp, string][] = [
  [/\beyJ[\w-]{10,}(?:\.[\w-]*){0,2}/g, '[redacted]'],
  [/\bd(?:api|ose|kea|sapi)[0-9a-f]{32}(?:-\d+)?/g, '[redacted]'],
  [/\b([a-z][a-z0-9+.-]*:\/\/[^\s:@/"]*):[^\s@"]+@/gi, '$1:[redacted]@'],
  [/\b(Bearer|Basic) [\w.~+/-]{8,}=*/gi, '$1 [redacted]'],
  [
    /\b((?:pg|ssl)?password|(?:client_)?secret|access_token|refresh_token|assertion)=[^\s&"'\\]+/gi,
    '$1=[redacted]',
  ],
]

/** The text without what looks like a secret. JSON stays JSON. */
export function redact(text: string): string {
  let clean = text
  for (const [pattern, replacement] of SECRETS) clean = clean.replace(pattern, replacement)
  return clean
}

export interface LogOptions {
  level: string
  format: 'pretty' | 'json'
  /** Standard error when left out: stdout holds only what was asked for. */
  stream?: Writable
}

export async function createLog(options: LogOptions): Promise<Logger> {
  const { level, format, stream } = options
  const settings = { name: 'lakebase-proxy', base: null, level, hooks: { streamWrite: redact } }
  if (format === 'json') return pino(settings, stream ?? destination({ dest: 2, sync: true }))
  const { default: pretty } = await import('pino-pretty')
  const look = {
    sync: true,
    singleLine: true,
    ignore: 'pid,hostname,name',
    destination: stream ?? 2,
  }
  return pino(settings, pretty(look))
}

/** For tests and the library: says nothing. */
export const silentLog: Log = pino({ enabled: false })
