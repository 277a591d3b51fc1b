import assert from 'node:assert/strict'
import { test } from 'node:test'

import { didYouMean, isNear, nearest } from '../src/core/nearest.js'

test('one rule says what is near: one mistake, or one in three letters, in any case', () => {
  for (const [word, candidate, near] of [
    ['prot', 'port', true],
    ['PORT', 'port', true],
    ['prt', 'port', true],
    ['pt', 'port', false],
    ['stauts', 'status', true],
    ['sttaus', 'status', true],
    ['wait', 'status', false],
  ] as const) {
    assert.equal(isNear(word, candidate), near, `${word} and ${candidate}`)
    assert.equal(didYouMean(word, [candidate]) !== undefined, near, `${word} and ${candidate}`)
  }
})

test('the nearest come first, each once, and no more than are asked for', () => {
  const names = ['demo-b', 'demo-a', 'demo', 'demo', 'else']
  assert.deepEqual(nearest('demo-a', names, 3), ['demo-a', 'demo-b', 'demo'])
  assert.deepEqual(nearest('demo-a', names, 1), ['demo-a'])
})

test('a beginning of three letters is enough, and a word that is too long is not compared', () => {
  assert.deepEqual(nearest('log', ['log-level', 'log-format', 'port'], 3), [
    'log-level',
    'log-format',
  ])
  assert.deepEqual(nearest('lo', ['log-level'], 3), [])
  assert.deepEqual(nearest('x'.repeat(100_000), ['x'.repeat(100_000)], 3), [])
  assert.deepEqual(nearest('log-levle', ['x'.repeat(100_000), 'log-level'], 3), ['log-level'])
})
