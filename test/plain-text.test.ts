/** Text of others, as it is logged and shown: readable, bounded, without a secret, and on one line. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { oneLine, plainText, printable } from '../src/core/plain-text.js'
import { isClean, redact } from '../src/core/redact.js'
import { Secret } from '../src/core/secret.js'

// At 60 KB, time that grows with the square was 1.4 s; at this size it would be hours.
const HUGE = 4 * 1024 * 1024

test('text made to be slow is redacted in linear time', () => {
  const url = 'postgresql://a:hunter2@h'
  for (const piece of [
    ...[
      'a.',
      'eyJ-',
      '://',
      '://a:',
      ':@',
      'dapi0',
      'Bearer ',
      'password=',
      "password='\\",
      'pwd"',
    ],
    ...['\u001b[', '\u001b]', '\u001b[0 ', '\u009d', ' \n', '\u200b'],
  ]) {
    const text = `${piece.repeat(HUGE / piece.length)} ${url}`
    const clean = redact(printable(text))
    assert.ok(!clean.includes('hunter2'), piece)
  }
})

test('a long text is cut, and no character in two', () => {
  assert.equal(plainText('x'.repeat(60_000)).length, 401)
  assert.equal(plainText(`x${'😀'.repeat(60)}`, 4), 'x😀…')
  assert.equal(plainText('x'.repeat(400)), 'x'.repeat(400))
})

test('escape sequences, control characters and invisible ones are gone, with what they would do', () => {
  for (const [text, plain] of [
    ['\u001b[31mred\u001b[0m', 'red'],
    ['\u001b]0;owned\u0007title', 'title'],
    ['\u001b]8;;https://evil.example\u001b\\link\u001b]8;;\u001b\\', 'link'],
    ['\u009b2Jgone', 'gone'],
    ['\u001b[2J\u001b[Hgone', 'gone'],
    ['\u001bPq#0\u001b\\sixel', 'sixel'],
    ['a\r\nb\nc\u2028d\u0085e\u000bf', 'a b c d e f'],
    ['a\0b\u0007c\bd\u007fe', 'a b c d e'],
    ['abc\u202edef\u2066ghi', 'abcdefghi'],
    ['a\u200bb\ufeffc\u00add\u{e0041}', 'abcd'],
    ['half \ud800 pair', 'half \ufffd pair'],
    ['ends in an escape \u001b', 'ends in an escape'],
  ] as const) {
    assert.equal(plainText(text), plain, JSON.stringify(text))
    assert.ok(!/[\p{Cc}\u2028\u2029]/u.test(oneLine(text)), JSON.stringify(text))
  }
})

test('the letters of every language stay as they are', () => {
  for (const text of ['naïve Übergröße', 'می‌خواهم', 'क्‍ष', '日本語', '👩‍💻 ❤️', 'שלום']) {
    assert.equal(plainText(text), text)
  }
  assert.equal(printable('one\n\ttwo'), 'one\n\ttwo')
})

test('what has the form of a secret is hidden, however it is quoted', () => {
  for (const text of [
    'eyJhbGciOi.eyJzdWIiOi.s3cr3t-tail',
    'eyJ0.s3cr3t',
    'token_eyJhbGciOiJSUzI1NiJ9.s3cr3t',
    `dapi${'0a'.repeat(8)}-2`,
    'postgres://app:s3cr3t@h/db',
    'postgres://app:s3c@r3t/s3cr3t@h/db',
    'https://h/x?password=s3cr3t',
    'host=h user=u password=s3cr3t',
    "host=h password='two s3cr3t' user=u",
    "password='it\\'s s3cr3t'",
    'password = s3cr3t',
    'Host=h;Password=s3cr3t;Database=d',
    'PGPASSWORD=s3cr3t psql',
    '{"user":"u","password":"a \\"s3cr3t\\""}',
    'Authorization: Bearer s3cr3t-s3cr3t',
    'refresh_token=s3cr3t&x=y',
    'p\u200bassword=s3cr3t',
  ]) {
    const shown = plainText(text)
    assert.doesNotMatch(shown, /s3c|r3t|0a0a/, text)
    assert.match(shown, /\[redacted\]/, text)
  }
})

test('a secret that this process holds is hidden in any form a server repeats it in', () => {
  const held = [new Secret('correct horse battery staple, twice over'), new Secret('tr0ub4dor')]
  for (const text of [
    'no: correct horse battery staple, twice over',
    'role "correct horse battery staple, twi" does not exist',
    'role "correct horse\u200b battery staple, twice over"',
    'invalid value for "tr0ub4dor"',
  ]) {
    assert.doesNotMatch(plainText(text), /horse|tr0ub/, text)
  }
  assert.doesNotMatch(redact('xx correct horse battery staple, twice over'), /horse/)
  assert.equal(held.length, 2) // refers to the secrets: one that is collected is not hidden any more
})

test('a held secret that is a common word hides no part of other words', () => {
  const held = [new Secret('postgres'), new Secret('a')]
  assert.equal(
    plainText('database "databricks_postgres" is a database'),
    'database "databricks_postgres" is a database',
  )
  assert.equal(plainText('password "postgres" is wrong'), 'password "[redacted]" is wrong')
  assert.equal(redact('psql -d postgres'), 'psql -d postgres')
  assert.equal(held.length, 2) // refers to the secrets: one that is collected is not hidden any more
})

test('a line that is taken for clean holds nothing that cleaning would change', () => {
  const held = new Secret('a held value of some length 0123456789')
  const pieces = fc.constantFrom(
    ...['eyJhbGciOi', 'dapi0123456789abcdef0123', 'postgresql://', 'user:pa', '@', ' ', '"', '\\'],
    ...['password=', 'pwd: ', 'Bearer ', 'token', "'x'", '\u001b[31m', '\u200b', '\n', 'é'],
    ...[held.reveal(), held.reveal().slice(0, 30), 'plain', '://a:b@c', '.', '127.0.0.1:5432'],
  )
  const text = fc.array(pieces, { maxLength: 6 }).map((each) => each.join(''))
  let clean = 0
  fc.assert(
    fc.property(text, (value) => {
      if (!isClean(JSON.stringify({ value }))) return
      clean++
      assert.equal(redact(printable(value)), value)
    }),
    { numRuns: 20_000 },
  )
  assert.ok(clean > 100, `only ${clean} of them were clean`)
  assert.equal(held.reveal().length, 38)
})
