/** `run-connection-test`: a login to every target before any is listened for. */

import { ProxyError } from '../core/errors.js'
import type { Log } from '../core/log.js'
import type { RoutedTarget } from './target-router.js'

/** Errors: that of the first target which cannot be logged in to, with its name. */
export async function testConnections(targets: readonly RoutedTarget[], log: Log): Promise<void> {
  await Promise.all(targets.map((target) => testConnection(target, log)))
}

async function testConnection(target: RoutedTarget, log: Log): Promise<void> {
  const { name } = target.settings
  try {
    await target.tryLogin()
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error
    const { message, hint, detail } = error
    // Not `config`: it is the answer of a test, and not wrong usage.
    const kind = error.kind === 'config' ? 'credential' : error.kind
    const what = `target "${name}" failed the connection test: ${message}`
    throw new ProxyError(kind, what, { cause: error, hint, detail })
  }
  log.info({ target: name }, 'connection test passed')
}
