/** `instances`: both kinds of Lakebase in one list, and starting and stopping, as a user runs them. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { cliHere } from './support/cli.js'
import { emulatorForTests } from './support/emulator.js'

const emulator = await emulatorForTests({ transitionMs: 500 })
const { control } = emulator
const ENDPOINT = 'projects/demo/branches/production/endpoints/primary'
const DISABLED = 'projects/many/branches/disabled/endpoints/primary'

function instances(...args: string[]) {
  return cliHere(['instances', ...args], { env: { ...emulator.env } })
}

test('both kinds are in one list, a line each', async () => {
  const { code, stdout, stderr } = await instances('list')
  const lines = stdout.trimEnd().split('\n')
  assert.match(lines[0]!, /^TARGET +KIND +STATE +HOST$/)
  const { readWriteHost } = control.instance('demo-instance')
  assert.ok(lines.some((line) => /^demo-instance +provisioned +AVAILABLE +/.test(line)))
  assert.ok(lines.some((line) => line.endsWith(` ${readWriteHost}`)))
  assert.ok(
    lines.some((line) => line.startsWith(`${ENDPOINT} `) && / autoscaling +ACTIVE /.test(line)),
  )
  assert.deepEqual([code, stderr], [0, ''])
})

test('as JSON the list holds the same, and what it names can be shown', async () => {
  const { code, stdout } = await instances('list', '--json')
  assert.equal(code, 0)
  const listed = JSON.parse(stdout) as { name: string; state: string }[]
  assert.equal(listed.length, 9)
  const stopped = listed.find(({ name }) => name === 'stopped-instance')
  assert.equal(stopped?.state, 'STOPPED')
  for (const one of [listed[0]!, listed.at(-1)!]) {
    const shown = await instances('show', one.name, '--json')
    assert.deepEqual(JSON.parse(shown.stdout), one)
  }
})

test('where one kind cannot be listed, the other is, with a notice', async () => {
  control.failApi('instances', {
    status: 501,
    errorCode: 'NOT_IMPLEMENTED',
    message: 'switched off',
  })
  const { code, stdout, stderr } = await instances('list')
  assert.equal(code, 0)
  assert.match(stdout, /autoscaling/)
  assert.doesNotMatch(stdout, /provisioned/)
  assert.match(stderr, /^Notice: provisioned could not be listed: .*switched off\n$/)
})

test('show tells state and hosts; an unknown name is answered with the closest ones', async () => {
  const { code, stdout } = await instances('show', 'demo-instance')
  assert.equal(code, 0)
  assert.match(stdout, /^name +demo-instance\nkind +provisioned\nstate +AVAILABLE\nhost +instance-/)
  const unknown = await instances('show', 'demo-instanc')
  assert.equal(unknown.code, 1)
  assert.match(unknown.stderr, /does not exist/)
  assert.match(unknown.stderr, /Did you mean demo-instance/)
})

test('start tells each state in a line of its own until it is available, stop until it is stopped', async () => {
  const started = await instances('start', 'stopped-instance')
  assert.deepEqual([started.code, started.stdout], [0, ''])
  assert.match(
    started.stderr,
    /^stopped-instance: STARTING \(\d+ s\)\nstopped-instance: AVAILABLE \(\d+ s\)\n$/,
  )
  const again = await instances('start', 'stopped-instance')
  assert.deepEqual([again.code, again.stderr], [0, 'stopped-instance is AVAILABLE already.\n'])
  const stopped = await instances('stop', 'stopped-instance')
  assert.deepEqual([stopped.code, stopped.stderr], [0, 'stopped-instance: STOPPED (0 s)\n'])
  assert.equal(control.instance('stopped-instance').state, 'STOPPED')
})

test('what no start helps is told at once, with what does', async () => {
  const disabled = await instances('start', DISABLED)
  assert.equal(disabled.code, 1)
  assert.match(disabled.stderr, /is disabled/)
  assert.match(disabled.stderr, /enable it in the workspace/)
  control.setInstanceState('second-instance', 'DELETING')
  const deleting = await instances('start', 'second-instance')
  control.setInstanceState('second-instance', 'AVAILABLE')
  assert.equal(deleting.code, 1)
  assert.match(deleting.stderr, /is being deleted/)
})

test('an Autoscaling endpoint is neither started nor stopped by hand, and says why', async () => {
  const started = await instances('start', 'projects/demo')
  assert.deepEqual([started.code, started.stderr], [0, `${ENDPOINT} is ACTIVE already.\n`])
  const stopped = await instances('stop', 'projects/demo')
  assert.equal(stopped.code, 1)
  assert.match(stopped.stderr, /suspends by itself/)
})

test('one that is not ours to start says so', async () => {
  control.failApi('instance-update', {
    status: 403,
    errorCode: 'PERMISSION_DENIED',
    message: 'User does not have CAN_MANAGE.',
  })
  const { code, stderr } = await instances('start', 'stopped-instance')
  assert.equal(code, 1)
  assert.match(stderr, /not allowed to start database instance "stopped-instance"/)
})

test('wrong usage is 2: a static URL, an unknown flag, no target', async () => {
  const url = await instances('show', 'postgresql://app:secret@db.example.com/app')
  assert.equal(url.code, 2)
  assert.match(url.stderr, /has a native password/)
  assert.doesNotMatch(url.stderr, /secret/)
  const flag = await instances('list', '--jsn')
  assert.equal(flag.code, 2)
  assert.match(flag.stderr, /Did you mean "--json"\?/)
  assert.equal((await instances('show')).code, 2)
})
