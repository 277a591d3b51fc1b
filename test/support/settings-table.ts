/** The table of docs/settings.md, written from the one table in the code. */

import type { Setting } from '../../src/config/schema/setting.js'
import { SECTIONS, SETTINGS, type SettingName } from '../../src/config/schema/table.js'

export const SETTINGS_PAGE = 'docs/settings.md'

const START = '<!-- settings -->'
const END = '<!-- /settings -->'

/** `page` with the table between its two marks brought up to date. */
export function withSettingsTable(page: string): string {
  const start = page.indexOf(START)
  const end = page.indexOf(END)
  if (start === -1 || end < start) throw new Error(`${SETTINGS_PAGE} has no ${START} … ${END}`)
  return `${page.slice(0, start + START.length)}\n\n${settingsTable()}\n${page.slice(end)}`
}

function settingsTable(): string {
  const rows = Object.values(SECTIONS).flatMap((section) =>
    (Object.keys(section) as SettingName[]).map(row),
  )
  const all = [['setting', 'default', '', ''], ...rows]
  const widths = [0, 1, 2, 3].map((column) =>
    Math.max(3, ...all.map((cells) => cells[column]!.length)),
  )
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |\n`
  const rule = line(widths.map((width) => '-'.repeat(width)))
  return line(all[0]!) + rule + rows.map(line).join('')
}

function row(name: SettingName): string[] {
  const { default: byDefault, perTarget, help }: Setting = SETTINGS[name]
  const shown = byDefault === undefined || byDefault === 'false' ? '' : code(byDefault)
  return [code(name), shown, perTarget ? '●' : '', help.replaceAll('<', '&lt;')]
}

function code(text: string): string {
  return `\`${text}\``
}
