/** The command line: what is right runs, what is wrong is one clear message and exit code 2. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { COMMANDS } from '../src/commands/cli/registry.js'
import type { Command } from '../src/commands/invocation/command.js'
import { SETTING_NAMES } from '../src/config/schema/table.js'
import { cliHere, MAIN, startCli } from './support/cli.js'
import { run, temporaryFolder } from './support/proxy.js'

function everyCommand(
  commands: readonly Command[] = COMMANDS,
  path: readonly string[] = [],
): { command: Command; path: readonly string[] }[] {
  return commands.flatMap((command) => {
    const own = [...path, command.name]
    return [{ command, path: own }, ...everyCommand(command.subcommands ?? [], own)]
  })
}

test('every command has help with an example, which begins with its own name', async () => {
  const all = everyCommand()
  assert.ok(all.length > 10)
  for (const { command, path } of all) {
    const { code, stdout } = await cliHere([...path, '--help'])
    assert.equal(code, 0)
    assert.match(stdout, /\nExamples?:\n {2}lakebase-proxy /, path.join(' '))
    for (const example of command.examples) {
      const begins = path[0] === 'start' || example.startsWith(path.slice(0, 1).join(' '))
      assert.ok(begins, `${path.join(' ')}: ${example}`)
    }
  }
})

test('help lists every option that is a command’s own', async () => {
  for (const { command, path } of everyCommand()) {
    const { stdout } = await cliHere([...path, '--help'])
    for (const { flags } of command.options ?? []) {
      assert.ok(stdout.includes(`  ${flags} `), `${path.join(' ')} ${flags}`)
    }
  }
})

test('help of start lists every setting with its default', async () => {
  const { stdout } = await cliHere(['start', '--help'])
  for (const name of SETTING_NAMES) assert.ok(stdout.includes(`--${name} `), name)
  assert.match(stdout, /--drain-timeout <duration> [^(]*\(default:\s+30s\)/)
})

test('a wrong flag, command or value names the nearest right one', async () => {
  const table: [string[], RegExp][] = [
    [['--prot', '1'], /unknown option '--prot'\nHint: Did you mean "--port"\?/],
    [['url', '--formt', 'x'], /unknown option '--formt'\nHint: Did you mean "--format"\?/],
    [
      ['url', 'a', '--drain-timeot=1s'],
      /unknown option '--drain-timeot'\nHint: .*"--drain-timeout"/,
    ],
    [['docter'], /"docter" is not a command\nHint: Did you mean "doctor"\? .* start docter/],
    [['instances', 'lst'], /unknown command 'lst'\nHint: Did you mean "list"\?/],
    [['instances'], /"lakebase-proxy instances" wants one of: list, show, start, stop/],
    [['--quiet', 'url'], /"url" stands after a flag\nHint: Put it first: lakebase-proxy url/],
    [['url', 'a', '--format', 'xml'], /Allowed choices are psql, uri/],
    [['url', 'a', 'b'], /too many arguments/],
    [['completion', 'tcsh'], /"tcsh" is not a shell/],
    [['completion'], /missing required argument/],
    [['exec', 'a'], /no program to run\nHint: .*exec a -- psql/],
    [['exec', 'a', '--', ''], /no program to run\nHint: .*exec a -- psql/],
    [['exec', 'a', 'psql'], /too many arguments.*\nHint: .*two hyphens: .* exec TARGET -- CMD…/],
    [['exec', 'a', 'psql', '-c', 'x'], /unknown option '-c'\nHint: .*exec TARGET -- CMD…/],
    [['exec', 'a', 'b', '--', 'psql'], /too many arguments.*\nHint: See .*exec --help/],
    [['exec', 'a', '--prot', '1'], /'--prot'\nHint: Did you mean "--port"/],
    [['url', 'a', '--', 'b'], /"url" takes nothing after --/],
    [['url', 'a', '--port'], /argument missing/],
    [['emulator', '--port', 'x'], /--port must be a whole number/],
    [['url'], /no target is named\nHint: Name one.*LAKEBASE_PG_URL/],
  ]
  for (const [args, expected] of table) {
    const { code, stdout, stderr } = await cliHere(args)
    assert.deepEqual([code, stdout], [2, ''], args.join(' '))
    assert.match(stderr, expected)
    assert.match(stderr, /^lakebase-proxy: [^\n]+\n(Hint: [^\n]+\n)?$/, 'one clear message')
  }
})

test('the value of an unknown flag may hold a secret, and is not repeated', async () => {
  const { stderr } = await cliHere(['--databricks-token=dapi0123'])
  assert.match(stderr, /unknown option '--databricks-token'/)
  assert.doesNotMatch(stderr, /dapi/)
})

test('an instance may be named like a command, or nearly so', async () => {
  const { stdout } = await cliHere(['url', 'url', '--format', 'pgservice'])
  assert.match(stdout, /^\[url\]\n/)
  const { stderr } = await cliHere(['start', 'docter', '--port', 'x'])
  assert.match(stderr, /--port: port must be/)
})

test('a flag takes back what the file says', async (t) => {
  const cwd = await temporaryFolder(t)
  writeFileSync(join(cwd, 'c.yaml'), 'unsafe-listen: true\naddress: 0.0.0.0\n')
  const args = ['url', 'a', '--config', 'c.yaml']
  assert.equal((await cliHere(args, { cwd })).code, 0)
  assert.equal((await cliHere([...args, '--no-unsafe-listen'], { cwd })).code, 2)
})

test('the process ends with the exit codes of the documentation, and stdout holds only what was asked for', async () => {
  const version = await run(process.execPath, [MAIN, '--version'])
  assert.deepEqual([version.code, version.stderr], [0, ''])
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
  const help = await run(process.execPath, [MAIN, '--help'])
  assert.equal(help.code, 0)
  const wrong = await run(process.execPath, [MAIN, '--prot'])
  assert.deepEqual([wrong.code, wrong.stdout], [2, ''])
  const nowhere = await run(process.execPath, [MAIN, 'my-instance', '--port', '0'], {
    HOME: '/nowhere',
  })
  assert.equal(nowhere.code, 2)
  assert.match(nowhere.stderr, /no Databricks workspace host is set/)
})

test('a reader that goes away early does not fail the command', async () => {
  const child = spawn(process.execPath, [MAIN, 'start', '--help'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stdout.destroy()
  let stderr = ''
  child.stderr.on('data', (bytes) => {
    stderr += String(bytes)
  })
  const code = await new Promise((resolve) => child.on('close', resolve))
  assert.deepEqual([code, stderr], [0, ''])
})

test('notices go to stderr, once', async (t) => {
  const cwd = await temporaryFolder(t)
  const running = startCli(t, ['url', 'a'], { cwd, env: { LAKEBASE_PROXY_PROT: '1' } })
  const { code, stdout, stderr } = await running.done
  assert.equal(code, 0)
  assert.match(stdout, /^postgresql:\/\/\S+\n$/)
  assert.match(stderr, /^Notice: LAKEBASE_PROXY_PROT is not a setting\. .*\n$/)
})
