/** Settings as the command line loads them, in a working folder of the test's own. */

import assert from 'node:assert/strict'
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { inspect } from 'node:util'

import { type Config, type ConfigInputs, loadConfig } from '../../src/config/resolve/config.js'
import type { SettingName } from '../../src/config/schema/table.js'
import { ProxyError } from '../../src/core/errors.js'

export const uid = userInfo().uid

export interface Given {
  targets?: string[]
  flags?: Partial<Record<SettingName, string>>
  env?: Record<string, string>
  /** Files of the working folder. */
  files?: Record<string, string | Buffer>
  /** 0600 where left out. */
  modes?: Record<string, number>
  /** The files belong to another user, who is not root. */
  foreign?: boolean
  pickTarget?: ConfigInputs['pickTarget']
  isTerminal?: boolean
}

export function load(t: TestContext, given: Given): Promise<Config> {
  const cwd = mkdtempSync(join(tmpdir(), 'lakebase-config-'))
  t.after(() => rmSync(cwd, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(given.files ?? {})) {
    writeFileSync(join(cwd, name), text)
    chmodSync(join(cwd, name), given.modes?.[name] ?? 0o600)
    if (given.foreign && uid === 0) chownSync(join(cwd, name), 4711, 4711)
  }
  return loadConfig({
    targets: given.targets ?? [],
    flags: new Map(Object.entries(given.flags ?? {}) as [SettingName, string][]),
    env: given.env ?? {},
    uid: given.foreign && uid !== 0 ? uid + 1 : uid,
    machine: {
      cwd,
      homeDir: cwd,
      hostname: 'laptop.example.com',
      platform: 'linux',
      isTerminal: given.isTerminal ?? false,
    },
    pickTarget: given.pickTarget,
  })
}

export async function refusal(t: TestContext, given: Given): Promise<string> {
  try {
    await load(t, given)
  } catch (error) {
    assert.ok(error instanceof ProxyError && error.kind === 'config', inspect(error))
    return `${error.message}\n${error.hint ?? ''}`
  }
  assert.fail('the settings were taken')
}
