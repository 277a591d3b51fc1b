/** Shell completion: each shell takes its script, and offers what the command line would take. */

import assert from 'node:assert/strict'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import { cliHere } from './support/cli.js'
import { run, temporaryFolder } from './support/proxy.js'

/** The script in a file; undefined, and the test skipped, where there is no such shell. */
async function scriptFor(t: TestContext, shell: string): Promise<string | undefined> {
  if (!['/bin', '/usr/bin', '/usr/local/bin'].some((folder) => existsSync(join(folder, shell)))) {
    t.skip(`no ${shell} here: apt-get install ${shell}`)
    return undefined
  }
  const { code, stdout } = await cliHere(['completion', shell])
  assert.equal(code, 0)
  const file = join(await temporaryFolder(t), `completion.${shell}`)
  writeFileSync(file, stdout)
  return file
}

test('bash completes commands, flags and values', async (t) => {
  const file = await scriptFor(t, 'bash')
  if (file === undefined) return
  const complete = async (...words: string[]): Promise<string[]> => {
    const quoted = words.map((word) => `'${word}'`).join(' ')
    const script = `source '${file}'; COMP_WORDS=(lakebase-proxy ${quoted}); COMP_CWORD=${words.length}; _lakebase_proxy; printf '%s\\n' "\${COMPREPLY[@]}"`
    const { code, stdout, stderr } = await run('bash', ['--norc', '-c', script])
    assert.deepEqual([code, stderr], [0, ''])
    return stdout.split('\n').filter((word) => word !== '')
  }
  assert.deepEqual(await complete('u'), ['url'])
  assert.deepEqual(await complete('--drain-t'), ['--drain-timeout'])
  assert.deepEqual(await complete('url', '--format', 'p'), ['psql', 'pgservice'])
  assert.deepEqual(await complete('start', '--sslmode', '=', 'ver'), ['verify-full', 'verify-ca'])
  assert.deepEqual(await complete('instances', 'st'), ['start', 'stop'])
  assert.deepEqual(await complete('service', 'install', '--pri'), ['--print'])
  assert.deepEqual(await complete('completion', ''), ['bash', 'zsh', 'fish', '--help'])
  assert.deepEqual(await complete('exec', 'a', '--', 'psql', '--'), [])
  assert.deepEqual(await complete('emulator', '--output', file), [file])
})

test('fish completes commands, flags and values', async (t) => {
  const file = await scriptFor(t, 'fish')
  if (file === undefined) return
  const complete = async (line: string): Promise<string[]> => {
    const script = `source '${file}'; complete -C 'lakebase-proxy ${line}'`
    const { code, stdout, stderr } = await run('fish', ['--no-config', '-c', script])
    assert.deepEqual([code, stderr], [0, ''])
    return stdout.split('\n').flatMap((each) => each.split('\t')[0] || [])
  }
  assert.deepEqual(await complete('u'), ['url'])
  assert.deepEqual(await complete('--drain-t'), ['--drain-timeout'])
  assert.deepEqual(await complete('url --format p'), ['pgservice', 'psql'])
  assert.deepEqual(await complete('instances st'), ['start', 'stop'])
})

test('zsh takes its script and registers it', async (t) => {
  const file = await scriptFor(t, 'zsh')
  if (file === undefined) return
  const script = `autoload -Uz compinit && compinit -D -u; source '${file}'; print -r -- $_comps[lakebase-proxy]`
  const { code, stdout, stderr } = await run('zsh', ['-f', '-c', script])
  assert.deepEqual([code, stdout, stderr], [0, '_lakebase_proxy\n', ''])
})
