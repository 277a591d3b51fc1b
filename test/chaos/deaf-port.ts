/**
 * A port that never accepts a connection: connections to it stay under way, as through a firewall that
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
  /** How many connections to it are under way, beside those that keep it deaf; never too many. */
  callers(): Promise<number>
}

/** For `test(name, { skip: needsDeafPort }, …)`. */
export const needsDeafPort: false | string =
  process.platform !== 'linux' && 'only Linux leaves a SYN unanswered'

const FILLERS = 8
const SYN_SENT = '02'
// Its event loop is blocked, so it accepts no connection.
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
  assert.ok(waiting.size > 0, 'a connection was accepted')
  const own = new Set(fillers.map((each) => hexOf(each.localPort!)))
  const callers = async (): Promise<number> =>
    [...(await underWay(port))].filter((each) => !own.has(each)).length
  return { port, callers }
}

/**
 * The local ports from which it is called, each once: the kernel lists a socket again, or leaves one
 * out, when others come and go while it writes the list, as thousands do in a test next door.
 */
async function underWay(port: number): Promise<Set<string>> {
  const lines = (await readFile('/proc/net/tcp', 'utf8')).split('\n')
  const ports = lines.flatMap((line) => {
    const [, local = '', remote = '', state] = line.trim().split(/\s+/)
    return remote === `0100007F:${hexOf(port)}` && state === SYN_SENT ? [local.split(':')[1]!] : []
  })
  return new Set(ports)
}

function hexOf(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, '0')
}
