/** The tests of PgBouncer with one that has peering, where Debian's own is older. */

import { chmodSync, copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { installed, scratchFolder } from './installed.js'

const { path, skip } = installed('pgbouncer', 'bin/pgbouncer')
if (skip !== false) test('PgBouncer with peering', { skip })
else {
  // It runs as a user without rights, who cannot look into the folder of root.
  const folder = scratchFolder()
  chmodSync(folder, 0o755)
  copyFileSync(path, join(folder, 'pgbouncer'))
  process.env.PATH = `${folder}:${process.env.PATH}`
  await import('../pgbouncer.test.js')
}
