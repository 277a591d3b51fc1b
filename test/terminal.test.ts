/**
 * What people read: text of others cannot do anything to a terminal, and a terminal that stands still
 * stops nothing.
 */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { describeFailure, ProxyError } from '../src/core/errors.js'
import { createLog } from '../src/core/log.js'
import { shownJson } from '../src/core/plain-text.js'
import { forPeople } from '../src/core/terminal.js'
import { cliHere, MAIN } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { freePort } from './support/http.js'
import { connectedClient, proxyBefore } from './support/proxy.js'
import { needsPty } from './support/shell.js'
import { connect, readAll } from './support/sockets.js'

const emulator = await emulatorForTests()
const { control } = emulator

const NOISE = 'no\u001b]0;owned\u0007 \u001b[2J\u009b1A\r\nERROR: forged\u2028line \u202egnp.exe'
// biome-ignore lint/suspicious/noControlCharactersInRegex: the colours of our own
const COLOURS = /\u001b\[\d+m/g
/** Line breaks and colours of ours apart. */
const OBEYED = /[^\P{Cc}\n]|[\u2028\u2029\u202a-\u202e]/u

test('what a server says reaches log, status and doctor on its own line and obeys nothing', async (t) => {
  const { daemon, port, log } = await proxyBefore(t, emulator, { adminPort: 0 })
  control.failFront({
    at: 'startup',
    refuse: { severity: 'FATAL', sqlState: '28000', message: NOISE },
  })
  const error = (await connectedClient(t, port).catch((e: unknown) => e)) as Error
  await log.seen(({ facts }) => facts.outcome === 'failed')
  const adminPort = new URL(daemon.adminUrl!).port
  const status = await cliHere(['status', '--admin-port', adminPort])
  const asJson = await cliHere(['status', '--json', '--admin-port', adminPort])
  const args = ['demo-instance', '--no-admin', '--port', String(await freePort())]
  const doctor = await cliHere(['doctor', ...args], { env: { ...emulator.env } })
  for (const text of [error.message, status.stdout, asJson.stdout, doctor.stdout]) {
    assert.match(text, /no\s+.*ERROR: forged line gnp\.exe/)
    assert.doesNotMatch(text, OBEYED)
    assert.doesNotMatch(text, /^ERROR: forged|owned/m)
  }
})

test('a line of the pretty log is one line, no matter who wrote the text in it', () => {
  let text = ''
  const stream = { write: (line: string) => (text += line) }
  const log = createLog({ level: 'info', format: 'pretty', stream })
  log.warn({ user: NOISE, list: [NOISE] }, NOISE)
  log.error({ err: new Error(NOISE) }, 'internal error')
  const ours = text.replaceAll(COLOURS, '')
  assert.doesNotMatch(ours, OBEYED)
  assert.doesNotMatch(ours, /^ERROR: forged|owned/m)
  assert.match(ours, /WARN.*: no\s+ERROR: forged line gnp\.exe \{/)
  assert.match(ours, /\n\s+at /, 'a stack keeps its lines')
})

test('for every command, a terminal obeys only our own control sequences', () => {
  const sink = new PassThrough()
  const stream = forPeople(sink)
  stream.write(`\r\u001b[Kname: \u001b[32mok\u001b[0m ${NOISE}\n`)
  const text = String(sink.read())
  assert.ok(text.startsWith('\r\u001b[Kname: \u001b[32mok\u001b[0m no'))
  assert.doesNotMatch(text.slice(4).replaceAll(COLOURS, ''), OBEYED)
})

test('JSON for people says the same, in escapes', () => {
  const value = { name: `${NOISE}\u{e0041}` }
  const text = shownJson(value)
  assert.deepEqual(JSON.parse(text), value)
  assert.doesNotMatch(text, OBEYED)
})

test('an error is told in lines of ours', () => {
  const text = describeFailure(new ProxyError('target', NOISE, { detail: NOISE, hint: NOISE }))
  assert.doesNotMatch(text, OBEYED)
  assert.equal(text.trimEnd().split('\n').length, 3)
  assert.doesNotMatch(describeFailure(new Error(NOISE)), OBEYED)
})

test('a pipe that is not read stops no client of a proxy with a pretty log', async (t) => {
  const port = await freePort()
  const child = spawn(process.execPath, [MAIN, ...argsOf(port)], {
    env: environment(),
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  t.after(() => child.kill('SIGKILL'))
  await makeNoise(port)
  await served(t, port)
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  assert.deepEqual(await exit, [0, null])
})

// The terminal's other end is never read, as after Ctrl-S. SIGTERM comes through standard input.
const STOPPED_TERMINAL = `
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
sys.stdin.read()
os.kill(pid, 15)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
`

test('a terminal that is stopped with Ctrl-S stops no client either, and not the end', {
  skip: needsPty,
}, async (t) => {
  const port = await freePort()
  const args = ['-c', STOPPED_TERMINAL, process.execPath, MAIN, ...argsOf(port)]
  const child = spawn('python3', args, { env: environment(), stdio: ['pipe', 'pipe', 'inherit'] })
  t.after(() => end(child))
  await makeNoise(port)
  await served(t, port)
  child.stdin.end()
  let outcome = ''
  for await (const text of child.stdout) outcome += String(text)
  assert.equal(outcome.trim(), '0')
})

function argsOf(port: number): string[] {
  const level = ['--log-format', 'pretty', '--log-level', 'debug']
  return ['demo-instance', '--port', String(port), '--no-admin', ...level]
}

function environment(): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, HOME: '/nonexistent', ...emulator.env }
}

/** Each of these connections is a line of the log: together more than any kernel keeps for a reader. */
async function makeNoise(port: number): Promise<void> {
  const listening = async (): Promise<Socket> => connect(port).catch(listening)
  ;(await listening()).destroy()
  for (let count = 0; count < 2_000; count += 100) {
    const some = await Promise.all(Array.from({ length: 100 }, () => connect(port)))
    await Promise.all(some.map((socket) => readAll(socket.end('GET / HTTP/1.1'))))
  }
}

async function served(t: TestContext, port: number): Promise<void> {
  const client = await connectedClient(t, port)
  assert.equal((await client.query('select 1 as one')).rows[0].one, 1)
  await client.end()
}

async function end(child: ChildProcess): Promise<void> {
  child.stdin?.end()
  if (child.exitCode === null) await once(child, 'exit')
}
