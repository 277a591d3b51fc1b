/**
 * A port at which nobody takes the call: connections to it stay under way, as through a firewall that
 * drops them. Linux only, whose kernel leaves a SYN unanswered when too many wait to be accepted.
 */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import net from 'node:net'
import type { TestContext } from 'node:test'

export interface DeafPort {
  readonly port: number
  /** How many connections to it are under way, beside those that keep it deaf. */
  callers(): Promise<number>
}

/** For `test(name, { skip: needsDeafPort }, …)`. */
export const needsDeafPort: false | string =
  process.platform !== 'linux' && 'only Linux leaves a SYN unanswered'

const FILLERS = 8
const SYN_SENT = '02'
// Never back in its event loop, it accepts nobody.
const SCRIPT = `
const server = require('net').createServer()
server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
  require('fs').writeSync(1, String(server.address().port))
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
})`

/** Free again when the test ends. */
export async function deafPort(t: TestContext): Promise<DeafPort> {
  const child = spawn(process.execPath, ['-e', SCRIPT], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  const [text] = await once(child.stdout, 'data')
  const port = Number(text)
  const fillers = Array.from({ length: FILLERS }, () => net.connect(port, '127.0.0.1'))
  t.after(() => {
    for (const each of fillers) each.destroy()
  })
  for (const each of fillers) each.on('error', () => {})
  await once(fillers[0]!, 'connect')
  const waiting = await underWay(port)
  assert.ok(waiting > 0, 'somebody takes the call')
  return { port, callers: async () => (await underWay(port)) - waiting }
}

async function underWay(port: number): Promise<number> {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  const lines = (await readFile('/proc/net/tcp', 'utf8')).split('\n')
  return lines.filter((line) => {
    const [, , remote = '', state] = line.trim().split(/\s+/)
    return remote === `0100007F:${hex}` && state === SYN_SENT
  }).length
}
