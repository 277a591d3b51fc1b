/** The names of branches that this tool makes. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import {
  fitBranchId,
  isMadeByUs,
  isNumbered,
  numberedIds,
  ownBranchId,
  sharedBranchId,
  uniqueIds,
} from '../src/branches/branch-name.js'
import { roughly } from '../src/branches/rough-time.js'

const onBranch = (branch: string) => ({ is: 'branch', branch }) as const
const own = (branch: string, identity = 'ada@example.com', repository = 'r'): string =>
  ownBranchId({ identity, repository, head: onBranch(branch) })

const ODD_BRANCHES = [
  ...['main', 'feature/Login_2', '1st', '--', '日本語', 'UPPER', 'a'.repeat(250), '../..', '%2e'],
  ...['x\u0000y', 'refs/heads/x', '🚀 launch', 'trailing-', `${'ab-'.repeat(40)}`],
]

test('for any git branch and any user, the API accepts the name, with every suffix', () => {
  for (const branch of ODD_BRANCHES) {
    for (const identity of [
      'ada@example.com',
      '0c5f1d52-8b9e-4d6c-9d27-3f7f0f1b2a3c',
      '@',
      'É.È@x',
    ]) {
      const id = own(branch, identity)
      const [unique = ''] = uniqueIds(id)
      const numbered = [...numberedIds(id)]
      for (const each of [id, unique, numbered.at(-1)!]) {
        assert.match(each, /^[a-z][a-z0-9-]{0,62}$/, branch)
        assert.ok(isMadeByUs(each), each)
      }
      assert.equal(numbered.length, 9)
      assert.ok(numbered.every((each) => isNumbered(each, id)))
      assert.equal(isNumbered(unique, id), false)
    }
    assert.match(fitBranchId(branch), /^[a-z][a-z0-9-]{0,62}$/, branch)
  }
})

test('a name says whose it is and for what, and a hash tells apart what looks the same', () => {
  assert.match(own('feature/Login_2'), /^ada-feature-login-2-[0-9a-f]{8}$/)
  assert.equal(own('x'), own('x'))
  const names = [
    own('a/b'),
    own('a-b'),
    own('a_b'),
    own('a/b', 'ada@other.com'),
    own('a/b', 'ada@example.com', 's'),
  ]
  assert.equal(new Set(names).size, names.length)
  const detached = ownBranchId({ identity: 'ada@x', repository: 'r', head: { is: 'detached' } })
  assert.match(detached, /^ada-[0-9a-f]{8}$/)
})

test('the git branch alone, made fit: lower case, hyphens, a letter in front', () => {
  assert.equal(fitBranchId('feature/Login_2'), 'feature-login-2')
  assert.equal(fitBranchId('1st'), 'b-1st')
  assert.equal(fitBranchId('日本語'), 'b')
})

test('names of others are not taken for ours', () => {
  for (const id of [
    'production',
    'dev',
    'feature-login',
    'ada-fix-1234567',
    'x-1234567g',
    'a-12345678-1234567',
  ]) {
    assert.equal(isMadeByUs(id), false, id)
  }
})

test('a span of time is told in one or two units', () => {
  const hour = 3_600_000
  assert.deepEqual(
    [-5, 0, 12_400, 5 * 60_000, hour + 60_000, 7 * 24 * hour, 26 * hour, 2 * hour - 900].map(
      roughly,
    ),
    ['0s', '0s', '12s', '5m', '1h 1m', '7d', '1d 2h', '2h'],
  )
})

test('only a name that tells git branches apart is shared', () => {
  assert.equal(sharedBranchId('feature/Login'), 'feature-login')
  assert.equal(sharedBranchId('2024/fix'), 'b-2024-fix')
  for (const name of ['日本語', '...', `${'x'.repeat(63)}1`]) {
    assert.equal(sharedBranchId(name), undefined, name)
  }
})
