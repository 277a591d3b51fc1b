/** The README's table of settings, written from the one table in the code. */

import { SECTIONS, SETTINGS, type SettingName } from '../../src/config/schema/table.js'

const START = '<!-- settings -->'
const END = '<!-- /settings -->'

/** `readme` with the table between its two marks brought up to date. */
export function withSettingsTable(readme: string): string {
  const start = readme.indexOf(START)
  const end = readme.indexOf(END)
  if (start === -1 || end < start) throw new Error(`README.md has no ${START} … ${END}`)
  return `${readme.slice(0, start + START.length)}\n\n${settingsTable()}\n${readme.slice(end)}`
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
  const { default: byDefault, perTarget, help } = SETTINGS[name]
  const shown = byDefault === undefined || byDefault === 'false' ? '' : code(byDefault)
  return [code(name), shown, perTarget ? '●' : '', help.replaceAll('<', '&lt;')]
}

function code(text: string): string {
  return `\`${text}\``
}
