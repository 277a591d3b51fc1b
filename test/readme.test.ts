/** What the README says of the settings is what the code does. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { withSettingsTable } from './support/settings-table.js'

test("the README's table of settings is the one in the code", () => {
  const readme = readFileSync('README.md', 'utf8')
  assert.ok(
    readme === withSettingsTable(readme),
    'README.md is behind src/config/table.ts: npm run readme',
  )
})
