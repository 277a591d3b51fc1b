/** How a command that failed says so: the message, and what to type next. */

import { ProxyError } from '../../core/errors.js'
import { printable } from '../../core/plain-text.js'
import { redact } from '../../core/redact.js'

/** The text for stderr. An error that is not a ProxyError is a bug, and its stack is printed. */
export function describeFailure(error: unknown): string {
  if (error instanceof ProxyError) {
    const lines = [`lakebase-proxy: ${error.message}`]
    if (error.detail !== undefined) lines.push(`Detail: ${error.detail}`)
    if (error.hint !== undefined) lines.push(`Hint: ${error.hint}`)
    return `${lines.join('\n')}\n`
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return `lakebase-proxy: internal error, which is a bug\n${redact(printable(stack))}\n`
}

export function exitCodeOf(error: unknown): number {
  return error instanceof ProxyError ? error.exitCode : 1
}
