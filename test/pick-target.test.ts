/** The picker: with no TARGET, the databases of the workspace, and a question until it is answered. */

import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'

import { pickTarget } from '../src/commands/workspace/pick-target.js'
import { emulatorForTests } from './support/emulator.js'

const emulator = await emulatorForTests()

interface Asked {
  readonly picked: Promise<string>
  readonly stdin: PassThrough
  /** Resolves once stderr holds `text`. */
  shows(text: string): Promise<string>
}

function ask(): Asked {
  const [stdin, stderr] = [new PassThrough(), new PassThrough()]
  const machine = { cwd: '/', homeDir: '/', hostname: '', platform: 'linux', isTerminal: true }
  const known = {
    databricksEnv: emulator.env,
    programEnv: {},
    databricksHost: undefined,
    profile: undefined,
  }
  const picked = pickTarget(known, { stdin, stderr, machine })
  let shown = ''
  const shows = (text: string): Promise<string> =>
    new Promise((resolve) => {
      const look = (): void => {
        shown += String(stderr.read() ?? '')
        if (shown.includes(text)) resolve(shown)
      }
      stderr.on('readable', look)
      look()
    })
  return { picked, stdin, shows }
}

test('both kinds are listed, and picked by number', async () => {
  const { picked, stdin, shows } = ask()
  const shown = await shows('Which one?')
  const line = /^ +(\d+) {2}demo-instance {2}\(provisioned, available\)$/m.exec(shown)
  assert.ok(line !== null, shown)
  assert.match(shown, /projects\/demo\/branches\/\S+ {2}\(autoscaling, /)
  stdin.write(`${line[1]}\n`)
  assert.equal(await picked, 'demo-instance')
})

test('an answer that is none of them is asked again; the beginning of one name is enough', async () => {
  const { picked, stdin, shows } = ask()
  await shows('Which one?')
  stdin.write('99\n')
  await shows('Type a number')
  stdin.write('second-\n')
  assert.equal(await picked, 'second-instance')
})

test('an end of the input is an answer too', async () => {
  const { picked, stdin, shows } = ask()
  await shows('Which one?')
  stdin.end()
  await assert.rejects(picked, { kind: 'config', message: 'no target was picked' })
})
