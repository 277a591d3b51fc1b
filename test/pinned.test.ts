/** What the workflows run from elsewhere is pinned to a commit: a tag can be moved. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const FOLDER = '.github/workflows'

test('every action is pinned to a commit, with its version beside it', () => {
  let found = 0
  for (const file of readdirSync(FOLDER)) {
    for (const [, action = ''] of readFileSync(join(FOLDER, file), 'utf8').matchAll(
      /^\s*-?\s*uses: *(.+)$/gm,
    )) {
      found++
      if (action.startsWith('./')) continue
      assert.match(action, /^[\w.-]+\/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/, file)
    }
  }
  assert.ok(found > 0)
})
