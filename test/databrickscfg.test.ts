/** `~/.databrickscfg` as Databricks' own tools read it. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { parseDatabricksCfg } from '../src/databricks/sign-in/databrickscfg.js'

const value = (text: string): string | undefined =>
  parseDatabricksCfg(`[p]\nkey = ${text}\n`).get('p')?.get('key')

for (const [text, expected] of [
  ['dapi123', 'dapi123'],
  ['a#b', 'a#b'],
  ['a;b', 'a;b'],
  ['a # comment', 'a'],
  ['a\t; comment', 'a'],
  ['a #b c', 'a'],
  ['# only a comment', ''],
  ['a = b', 'a = b'],
  ['"quoted # text"', 'quoted # text'],
  ["'single'", 'single'],
  ['"quoted" # comment', 'quoted'],
  ['"quoted # text" # comment', 'quoted # text'],
  ['"quoted" ; "comment"', 'quoted'],
  ['"open', '"open'],
  ['', ''],
] as const) {
  test(`the value of "key = ${text}" is "${expected}"`, () => assert.equal(value(text), expected))
}

test('sections may hold dots and spaces, come twice, and end in a comment', () => {
  const profiles = parseDatabricksCfg(
    '\uFEFFstray = x\r\n[a.b] # mine\r\nk=1\r\n; no\r\n# no\r\nnonsense\r\n[ c d ]\r\nk=2\r\n[a.b]\r\nl = 3\r\n',
  )
  assert.deepEqual(
    [...profiles].map(([name, values]) => [name, Object.fromEntries(values)]),
    [
      ['DEFAULT', { stray: 'x' }],
      ['a.b', { k: '1', l: '3' }],
      ['c d', { k: '2' }],
    ],
  )
})

test('keys end at the first = or :, and come in any case', () => {
  const profiles = parseDatabricksCfg('[p]\nHost: https://a.b\nTOKEN=a:b=c\n: none\n= none\nword\n')
  assert.deepEqual(Object.fromEntries(profiles.get('p')!), { host: 'https://a.b', token: 'a:b=c' })
})

test('a secret without spaces or quotes comes back as it was written', () => {
  const secret = fc.stringMatching(/^[!-~]+$/).filter((text) => !/^["'#;]/.test(text))
  fc.assert(fc.property(secret, (text) => assert.equal(value(text), text)))
})

test('no text makes it fail', () => {
  fc.assert(fc.property(fc.string(), (text) => void parseDatabricksCfg(text)))
})
