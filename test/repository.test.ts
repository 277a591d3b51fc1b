/** What names a repository, and that asking git for it runs no program that the repository names. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import { gitRunner, repositoryOf } from '../src/branches/repository.js'
import { temporaryFolder } from './support/proxy.js'

const patience = AbortSignal.timeout(60_000)

function repository(folder: string): Promise<string> {
  const { env: programEnv, platform } = process
  return repositoryOf(folder, gitRunner({ programEnv, homeDir: '/', platform }), patience)
}

function git(folder: string, ...args: string[]): string {
  const names = ['-c', 'user.name=a', '-c', 'user.email=a@b']
  return execFileSync('git', ['-C', folder, ...names, ...args], { encoding: 'utf8' }).trim()
}

test('the first commit names a repository, in each clone, worktree and folder of it', async (t) => {
  const [folder, elsewhere] = [await temporaryFolder(t), await temporaryFolder(t)]
  git(folder, 'init', '-q', '-b', 'main')
  git(folder, 'commit', '-q', '--allow-empty', '-m', 'first')
  const first = git(folder, 'rev-parse', 'HEAD')
  git(folder, 'commit', '-q', '--allow-empty', '-m', 'second')
  git(folder, 'worktree', 'add', '-q', join(elsewhere, 'tree'))
  git(folder, 'clone', '-q', folder, join(elsewhere, 'clone'))
  await mkdir(join(folder, 'a', 'b'), { recursive: true })
  const folders = [
    folder,
    join(folder, 'a', 'b'),
    join(elsewhere, 'tree'),
    join(elsewhere, 'clone'),
  ]
  for (const each of folders) assert.equal(await repository(each), first, each)
})

test('without a commit its folder names it, and outside of one there is no name', async (t) => {
  const folder = await temporaryFolder(t)
  assert.equal(await repository(folder), '')
  git(folder, 'init', '-q')
  assert.equal(await repository(folder), join(folder, '.git'))
})

/** A repository whose HEAD is not there and would be fetched with a program of its own. */
async function plant(at: string, mark: string, remote: string): Promise<void> {
  for (const name of ['objects', 'refs/heads', 'hooks']) {
    await mkdir(join(at, name), { recursive: true })
  }
  await writeFile(join(at, 'HEAD'), 'ref: refs/heads/main\n')
  await writeFile(join(at, 'refs', 'heads', 'main'), `${'1'.repeat(40)}\n`)
  const program = `touch ${mark}`
  for (const hook of ['reference-transaction', 'post-index-change', 'pre-auto-gc']) {
    await writeFile(join(at, 'hooks', hook), `#!/bin/sh\n${program}\n`, { mode: 0o755 })
  }
  const config = `[core]
\trepositoryformatversion = 1
\tbare = true
\tfsmonitor = "${program}"
\tsshCommand = "${program}; false"
\tgitProxy = "${program}"
\tpager = "${program}"
[pager]
\trev-list = "${program}"
[protocol]
\tallow = always
[extensions]
\tpartialClone = evil
[remote "evil"]
\tpromisor = true
\tuploadpack = "${program}; false"
\turl = ${remote}
`
  await writeFile(join(at, 'config'), config)
}

async function planted(t: TestContext): Promise<{ folder: string; mark: string; marks: string }> {
  const [folder, marks] = [await temporaryFolder(t), await temporaryFolder(t)]
  return { folder, marks, mark: join(marks, 'ran') }
}

// A remote is reached by a program of the repository's: for a file, over SSH, or as a helper.
for (const url of ['file:///nowhere', 'ssh://nowhere/r', 'git://nowhere/r', 'ext::touch MARK']) {
  test(`no program of a repository runs whose remote is ${url}`, async (t) => {
    const { folder, mark, marks } = await planted(t)
    const gitFolder = join(folder, '.git')
    await plant(gitFolder, mark, url.replace('MARK', mark))
    assert.equal(await repository(folder), gitFolder)
    assert.deepEqual(await readdir(marks), [])
  })
}

test('a bare repository among the files of a clone is not looked at', async (t) => {
  const { folder, mark, marks } = await planted(t)
  git(folder, 'init', '-q', '-b', 'main')
  git(folder, 'commit', '-q', '--allow-empty', '-m', 'first')
  const app = join(folder, 'app')
  await plant(app, mark, 'file:///nowhere')
  assert.equal(await repository(app), git(folder, 'rev-parse', 'HEAD'))
  assert.deepEqual(await readdir(marks), [])
})
