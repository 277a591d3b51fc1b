/** `npm run readme`: brings the README's table of settings up to date. */

import { readFileSync, writeFileSync } from 'node:fs'

import { withSettingsTable } from './settings-table.js'

writeFileSync('README.md', withSettingsTable(readFileSync('README.md', 'utf8')))
