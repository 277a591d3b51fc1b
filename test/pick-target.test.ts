/** The picker: with no TARGET on a terminal, the instances and endpoints of the workspace, and one is chosen with keys. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { stripVTControlCharacters } from 'node:util'

import { pickDatabase, pickTarget } from '../src/commands/workspace/pick-target.js'
import type { LakebaseDatabase } from '../src/databricks/lakebase/workspace.js'
import { MAIN } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'
import { temporaryFolder } from './support/proxy.js'
import { needsPty } from './support/shell.js'

const emulator = await emulatorForTests()

const [UP, DOWN, ENTER, CTRL_C] = ['\u001b[A', '\u001b[B', '\r', '\u0003']

class Screen {
  readonly stdin = new PassThrough()
  readonly prompt = new PassThrough()
  #shown = ''

  /** Resolves once `text` is shown, and forgets what was shown so far. */
  shows(text: string): Promise<string> {
    return new Promise((resolve) => {
      const look = (): void => {
        this.#shown += String(this.prompt.read() ?? '')
        const plain = stripVTControlCharacters(this.#shown)
        if (!plain.includes(text)) return
        this.prompt.off('readable', look)
        this.#shown = ''
        resolve(plain)
      }
      this.prompt.on('readable', look)
      look()
    })
  }
}

function ask(env: Record<string, string> = { ...emulator.env }, homeDir = '/') {
  const screen = new Screen()
  const machine = { cwd: '/', homeDir, hostname: '', platform: 'linux', isTerminal: true }
  const known = {
    ...{ databricksEnv: env, programEnv: {} },
    ...{ databricksHost: undefined, profile: undefined },
  }
  const { stdin, prompt } = screen
  return { screen, stdin, picked: pickTarget(known, { stdin, prompt, machine }) }
}

test('both kinds are listed with a mark for those that take no connections, and arrow keys choose', async () => {
  const { screen, stdin, picked } = ask()
  const shown = await screen.shows('Which instance or endpoint of')
  assert.match(shown, /demo-instance \(provisioned\)/)
  assert.match(shown, /stopped-instance \(stopped\)/)
  assert.match(shown, /projects\/demo\/branches\/\S+ \(autoscaling\)/)
  const names = [...shown.matchAll(/[●○] (\S+) \(/g)].map(([, name]) => name)
  stdin.write(DOWN)
  await screen.shows(`● ${names[1]}`)
  stdin.write(DOWN)
  await screen.shows(`● ${names[2]}`)
  stdin.write(UP)
  await screen.shows(`● ${names[1]}`)
  stdin.write(ENTER)
  assert.equal(await picked, names[1])
})

test('typing a part of a name leaves those that hold it', async () => {
  const { screen, stdin, picked } = ask()
  await screen.shows('Which instance or endpoint of')
  stdin.write('second')
  const shown = await screen.shows('● second-instance')
  assert.doesNotMatch(shown.slice(shown.lastIndexOf('Which instance')), /[●○] demo-instance/)
  stdin.write(ENTER)
  assert.equal(await picked, 'second-instance')
})

test('Ctrl-C and the end of the input are answers too', async () => {
  for (const leave of [
    (stdin: PassThrough) => stdin.write(CTRL_C),
    (stdin: PassThrough) => stdin.end(),
  ]) {
    const { screen, stdin, picked } = ask()
    await screen.shows('Which instance or endpoint of')
    leave(stdin)
    await assert.rejects(picked, { kind: 'config', message: 'no target was picked' })
  }
})

test('with several profiles and none chosen the profile is asked first, and stays with the target', async (t) => {
  const home = await temporaryFolder(t)
  const { DATABRICKS_HOST: host, DATABRICKS_TOKEN: token } = emulator.env
  const profile = (name: string): string => `[${name}]\nhost = ${host}\ntoken = ${token}\n`
  writeFileSync(join(home, '.databrickscfg'), profile('dev') + profile('prod'), { mode: 0o600 })
  const { screen, stdin, picked } = ask({}, home)
  const shown = await screen.shows('Which profile?')
  assert.ok(shown.includes(`dev (${host})`))
  stdin.write('prod')
  await screen.shows('● prod')
  stdin.write(ENTER)
  await screen.shows('Which instance or endpoint of')
  stdin.write('second')
  await screen.shows('● second-instance')
  stdin.write(ENTER)
  assert.equal(await picked, 'second-instance?profile=prod')
})

test('a name of the workspace cannot draw on the terminal', async () => {
  const screen = new Screen()
  const database = (name: string): LakebaseDatabase => ({
    ...{ kind: 'provisioned', name, uid: undefined, state: 'available', apiState: 'AVAILABLE' },
    ...{ readWriteHost: undefined, readOnlyHost: undefined, branchCreatedAt: undefined },
  })
  const place = { ...screen, stdin: screen.stdin, prompt: screen.prompt }
  const machine = { cwd: '/', homeDir: '/', hostname: '', platform: 'linux', isTerminal: true }
  const hostile = 'evil\u001b]0;owned\u0007\u001b[2Jx'
  const picked = pickDatabase([database(hostile), database('b')], 'h', { ...place, machine })
  let raw = ''
  screen.prompt.prependListener('data', (bytes) => {
    raw += String(bytes)
  })
  screen.prompt.resume()
  screen.stdin.end()
  await assert.rejects(picked)
  assert.match(raw, /evilx/)
  assert.doesNotMatch(raw, /owned|\[2J/)
})

// In a terminal of its own: types `second` and Enter once the question is there, then Ctrl-C.
const TYPIST = `
import fcntl, os, pty, signal, struct, sys, termios
signal.alarm(60)
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 100, 0, 0))
seen = b''
answers = [(b'Which instance', b'second'), (b'second-instance', b'\\r'), (b'status page', b'\\x03')]
while True:
    try:
        chunk = os.read(terminal, 65536)
    except OSError:
        break
    if not chunk:
        break
    seen += chunk
    if answers and answers[0][0] in seen:
        os.write(terminal, answers[0][1])
        seen = b''
        answers.pop(0)
    sys.stdout.buffer.write(chunk)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`

test('on a real terminal the proxy starts with what was picked', {
  skip: needsPty,
}, async (t) => {
  const { code, text } = await typed(t, ['--port', '0', '--admin-port', '0'])
  const shown = stripVTControlCharacters(text)
  assert.equal(code, 0, shown)
  assert.match(shown, /\n {2}second-instance\r?\n/)
})

async function typed(t: TestContext, args: readonly string[]) {
  const home = await temporaryFolder(t)
  const child = spawn('python3', ['-c', TYPIST, process.execPath, MAIN, ...args], {
    env: { PATH: process.env.PATH, HOME: home, TERM: 'xterm', ...emulator.env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  let text = ''
  for await (const chunk of child.stdout) text += String(chunk)
  const code = child.exitCode ?? (await new Promise<number>((resolve) => child.on('exit', resolve)))
  return { code, text }
}
