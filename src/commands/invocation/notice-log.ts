/** A log that prints as notices what a daemon would log at info and above. */

import { type Log, silentLog } from '../../core/log.js'
import { oneLine } from '../../core/plain-text.js'

export function noticeLog(stderr: { write(text: string): unknown }): Log {
  const notice = (...args: unknown[]): void => {
    const text = args.find((arg) => typeof arg === 'string')
    if (text !== undefined) stderr.write(`Notice: ${oneLine(text)}\n`)
  }
  return Object.assign(Object.create(silentLog) as Log, {
    info: notice,
    warn: notice,
    error: notice,
  })
}
