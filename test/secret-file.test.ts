/** Files of the user: whose they may be, and the encodings they are read in. */

import assert from 'node:assert/strict'
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import { readSecretFile } from '../src/core/secret-file.js'
import { readPem, readText } from '../src/core/text-file.js'

const onlyRoot = process.geteuid?.() === 0 ? false : 'only root can give a file away'

async function file(t: TestContext, content: string | Buffer): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'lakebase-proxy-test-'))
  t.after(() => rm(folder, { recursive: true }))
  const name = path.join(folder, 'secret')
  await writeFile(name, content, { mode: 0o600 })
  return name
}

test('a secret file of another user is refused, also to root', { skip: onlyRoot }, async (t) => {
  const name = await file(t, 'sesame')
  assert.equal(readSecretFile(name, 'linux'), 'sesame')
  await chown(name, 12_345, 12_345)
  assert.throws(() => readSecretFile(name, 'linux'), {
    kind: 'config',
    message: `${name} belongs to another user`,
    hint: `Type: chown 0 ${name}`,
  })
})

for (const [encoding, bytes] of [
  ['UTF-8', Buffer.from('key=wért')],
  ['UTF-8 with a byte order mark', Buffer.from('\uFEFFkey=wért')],
  ['UTF-16', Buffer.from('\uFEFFkey=wért', 'utf16le')],
  ['UTF-16, big end first', Buffer.from('\uFEFFkey=wért', 'utf16le').swap16()],
] as const) {
  test(`a file in ${encoding} is read`, async (t) => {
    assert.equal(readText(await file(t, bytes)), 'key=wért')
  })
}

test('a file in UTF-16 without a byte order mark is refused by name', async (t) => {
  const name = await file(t, Buffer.from('key=value', 'utf16le'))
  assert.throws(() => readText(name), {
    kind: 'config',
    message: `${name} is not UTF-8 text: it holds a NUL byte`,
    hint: 'Save the file as UTF-8.',
  })
})

test('a password in Latin-1 is refused, and not read as another one', async (t) => {
  const name = await file(t, Buffer.from('sésame', 'latin1'))
  assert.throws(() => readSecretFile(name, 'linux'), {
    kind: 'config',
    message: `${name} is not UTF-8 text`,
    hint: 'Save the file as UTF-8.',
  })
})

test('half a character at the end of UTF-16 is refused', async (t) => {
  const name = await file(t, Buffer.from('\uFEFFkey', 'utf16le').subarray(0, -1))
  assert.throws(() => readText(name), { kind: 'config', message: `${name} is not UTF-16 text` })
})

test('around the blocks of a PEM file may be text in any encoding', async (t) => {
  const block = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'
  const name = await file(t, Buffer.from(`friendlyName: für uns\n${block}`, 'latin1'))
  assert.ok(readPem(name).endsWith(block))
})
