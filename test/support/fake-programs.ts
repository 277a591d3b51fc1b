/** Programs for a PATH of a test's own, which write down how they were called. */

import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { TestContext } from 'node:test'

export class FakePrograms {
  readonly folder: string

  private constructor(folder: string) {
    this.folder = folder
  }

  /** Removed when the test ends. */
  static async create(t: TestContext): Promise<FakePrograms> {
    const folder = await mkdtemp(path.join(tmpdir(), 'lakebase-proxy-test-'))
    t.after(() => rm(folder, { recursive: true }))
    return new FakePrograms(folder)
  }

  /** `cases` maps arguments (shell patterns) to shell commands; the first that matches is run. */
  async add(name: string, cases: Readonly<Record<string, string>>): Promise<void> {
    const branches = Object.entries(cases).map(
      ([pattern, body]) => `${pattern.replaceAll(' ', '\\ ')})\n${body}\n;;`,
    )
    const calls = path.join(this.folder, 'calls')
    await this.write(
      name,
      `#!/bin/sh\necho "${name} $*" >> '${calls}'\ncase "$*" in\n${branches.join('\n')}\nesac\n`,
    )
    await chmod(path.join(this.folder, name), 0o755)
  }

  write(name: string, text: string | Buffer): Promise<void> {
    return writeFile(path.join(this.folder, name), text)
  }

  /** `name args` of every call so far. */
  async calls(): Promise<string[]> {
    const text = await readFile(path.join(this.folder, 'calls'), 'utf8').catch(() => '')
    return text.split('\n').filter((line) => line !== '')
  }
}
