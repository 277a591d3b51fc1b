/** What is checked out, read from git's own files in every state that they are found in. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmod, chown, lchown, mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import { findGitFolder, readGitHead } from '../src/branches/git-head.js'
import { temporaryFolder } from './support/proxy.js'

const COMMIT = '0123456789abcdef0123456789abcdef01234567'

async function repository(t: TestContext, head?: string): Promise<string> {
  const folder = await temporaryFolder(t)
  await mkdir(join(folder, '.git'))
  if (head !== undefined) await writeFile(join(folder, '.git', 'HEAD'), head)
  return folder
}

const MISSING = { is: 'missing' } as const
const UNFINISHED = { is: 'unfinished' } as const

test('each content of HEAD is what it says, and nothing else', async (t) => {
  const cases: [string | undefined, object][] = [
    ['ref: refs/heads/main\n', { is: 'branch', branch: 'main' }],
    ['ref: refs/heads/feature/a b\n', { is: 'branch', branch: 'feature/a b' }],
    ['ref:refs/heads/x\r\n', { is: 'branch', branch: 'x' }],
    [`${COMMIT}\n`, { is: 'detached' }],
    [`${COMMIT}${COMMIT.slice(0, 24)}\n`, { is: 'detached' }],
    ['', UNFINISHED],
    ['ref: refs/he', UNFINISHED],
    ['ref: refs/heads/ma', UNFINISHED],
    [COMMIT, UNFINISHED],
    ['ref: refs/heads/.invalid\n', MISSING],
    ['ref: refs/tags/v1\n', MISSING],
    ['\n', MISSING],
    ['garbage\n', MISSING],
    ['ref: refs/heads/a\nb\n', MISSING],
    [`ref: refs/heads/a\n${'x'.repeat(9000)}`, MISSING],
    [`ref: refs/heads/${'x'.repeat(5000)}\n`, MISSING],
    ['ref: refs/heads/a\n\n', { is: 'branch', branch: 'a' }],
    ['ref: refs/heads/größe\n', { is: 'branch', branch: 'größe' }],
    ['\0'.repeat(5000), MISSING],
    [undefined, MISSING],
  ]
  for (const [head, expected] of cases) {
    assert.deepEqual(await readGitHead(await repository(t, head)), expected, JSON.stringify(head))
  }
})

test('the nearest repository above counts; outside a repository there is no branch', async (t) => {
  const folder = await repository(t, 'ref: refs/heads/up\n')
  await mkdir(join(folder, 'a', 'b'), { recursive: true })
  assert.deepEqual(await readGitHead(join(folder, 'a', 'b')), { is: 'branch', branch: 'up' })
  assert.deepEqual(await readGitHead(join(folder, 'gone')), { is: 'branch', branch: 'up' })
  assert.deepEqual(await readGitHead(await temporaryFolder(t)), MISSING)
})

test('a worktree and a submodule name their folder in a file, also from the folder they are in', async (t) => {
  const folder = await repository(t, 'ref: refs/heads/main\n')
  const worktree = join(folder, 'other')
  await mkdir(join(folder, '.git', 'worktrees', 'other'), { recursive: true })
  await mkdir(worktree)
  await writeFile(join(folder, '.git', 'worktrees', 'other', 'HEAD'), 'ref: refs/heads/b\n')
  for (const named of [join(folder, '.git', 'worktrees', 'other'), '../.git/worktrees/other']) {
    await writeFile(join(worktree, '.git'), `gitdir: ${named}\n`)
    assert.deepEqual(await readGitHead(worktree), { is: 'branch', branch: 'b' })
  }
  for (const text of ['', 'gitdir: ', 'gitdir: /nonexistent\n', 'garbage']) {
    await writeFile(join(worktree, '.git'), text)
    assert.deepEqual(await readGitHead(worktree), MISSING, text)
  }
})

test('a HEAD that is not a file is not waited for', async (t) => {
  const folder = await repository(t)
  const head = join(folder, '.git', 'HEAD')
  await mkdir(head)
  assert.deepEqual(await readGitHead(folder), MISSING)
  await rm(head, { recursive: true })
  await symlink('refs/heads/old', head)
  assert.deepEqual(await readGitHead(folder), { is: 'branch', branch: 'old' })
  await rm(head)
  execFileSync('mkfifo', [head])
  assert.deepEqual(await readGitHead(folder), MISSING)
})

test('names that are not UTF-8 stay apart', async (t) => {
  const [folder, names] = [await repository(t), new Set<string>()]
  for (const byte of [0xe8, 0xe9]) {
    const text = Buffer.concat([Buffer.from('ref: refs/heads/f'), Buffer.from([byte, 0x0a])])
    await writeFile(join(folder, '.git', 'HEAD'), text)
    const head = await readGitHead(folder)
    assert.ok(head.is === 'branch')
    names.add(head.branch)
  }
  assert.equal(names.size, 2)
})

test('a branch whose ref is packed is the branch', async (t) => {
  const folder = await temporaryFolder(t)
  const git = (...args: string[]): void => {
    const names = ['-c', 'user.name=a', '-c', 'user.email=a@b']
    execFileSync('git', ['-C', folder, ...names, ...args], { stdio: 'ignore' })
  }
  git('init', '-b', 'feature/x')
  git('commit', '--allow-empty', '-m', 'first')
  git('pack-refs', '--all', '--prune')
  assert.deepEqual(await readGitHead(folder), { is: 'branch', branch: 'feature/x' })
  git('checkout', '--detach')
  assert.deepEqual(await readGitHead(folder), { is: 'detached' })
})

test('a HEAD that may not be read, or that leads in a circle, counts as missing', async (t) => {
  const folder = await repository(t, 'ref: refs/heads/x\n')
  const head = join(folder, '.git', 'HEAD')
  await chmod(folder, 0o755)
  await chmod(head, 0o000)
  // To root, every file is readable.
  if (process.geteuid?.() === 0) {
    process.seteuid!(65_534)
    t.after(() => process.seteuid!(0))
  }
  assert.deepEqual(await readGitHead(folder), MISSING)
  if (process.getuid?.() === 0) process.seteuid!(0)
  await rm(head)
  await symlink('HEAD', head)
  assert.deepEqual(await readGitHead(folder), MISSING)
})

test('a repository of another user counts for nothing', async (t) => {
  if (process.geteuid?.() !== 0) return t.skip('only root can give files away')
  const OTHER = 65_534
  const folder = await repository(t, 'ref: refs/heads/x\n')
  const [gitFolder, head] = [join(folder, '.git'), join(folder, '.git', 'HEAD')]
  assert.deepEqual(await readGitHead(folder), { is: 'branch', branch: 'x' })
  for (const path of [gitFolder, head]) {
    await chown(path, OTHER, OTHER)
    assert.deepEqual(await readGitHead(folder), { is: 'foreign', path })
    assert.equal(await findGitFolder(folder), path === head ? gitFolder : undefined)
    await chown(path, 0, 0)
  }
  const worktree = await temporaryFolder(t)
  const named = join(worktree, '.git')
  await writeFile(named, `gitdir: ${gitFolder}\n`)
  assert.deepEqual(await readGitHead(worktree), { is: 'branch', branch: 'x' })
  await chown(gitFolder, OTHER, OTHER)
  assert.deepEqual(await readGitHead(worktree), { is: 'foreign', path: gitFolder })
  await chown(gitFolder, 0, 0)
  await chown(named, OTHER, OTHER)
  assert.deepEqual(await readGitHead(worktree), { is: 'foreign', path: named })
  // A link of another user leads where that user likes.
  await rm(named)
  await symlink(gitFolder, named)
  assert.deepEqual(await readGitHead(worktree), { is: 'branch', branch: 'x' })
  await lchown(named, OTHER, OTHER)
  assert.deepEqual(await readGitHead(worktree), { is: 'foreign', path: named })
})
