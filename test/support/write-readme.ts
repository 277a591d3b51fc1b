/** `npm run readme`: brings the table of settings in the documentation up to date. */

import { readFileSync, writeFileSync } from 'node:fs'

import { SETTINGS_PAGE, withSettingsTable } from './settings-table.js'

writeFileSync(SETTINGS_PAGE, withSettingsTable(readFileSync(SETTINGS_PAGE, 'utf8')))
