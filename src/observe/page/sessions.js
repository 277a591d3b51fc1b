// @ts-check
/**
 * The open sessions as a table that can be sorted by any of its columns. A narrow screen shows the
 * four columns that tell sessions apart, one line each, until all columns are asked for.
 */

import { arrange, put } from './parts.js'
import { between, inBytes } from './words.js'

/** @typedef {import('../status.js').SessionStatus} SessionStatus */
/** @typedef {{ name: string, key: (s: SessionStatus) => string | number, show: (s: SessionStatus, now: number) => string, isNumber: boolean }} Column */

/** @param {string} name @param {(s: SessionStatus) => string | undefined} of @returns {Column} */
function text(name, of) {
  const key = (/** @type {SessionStatus} */ session) => of(session) ?? ''
  return { name, key, show: key, isNumber: false }
}

/** @param {string} name @param {'bytesUp' | 'bytesDown'} of @returns {Column} */
function bytes(name, of) {
  return { name, key: (s) => s[of], show: (s) => inBytes(s[of]), isNumber: true }
}

/** @type {readonly Column[]} */
const COLUMNS = [
  text('Session', (s) => s.id),
  text('Application', (s) => s.applicationName),
  text('Target', (s) => s.target),
  text('Client', (s) => s.client),
  text('User', (s) => s.user),
  text('Role', (s) => s.role),
  text('Database', (s) => s.database),
  text('Phase', ({ phase }) => (phase === 'pipe' ? 'connected' : phase)),
  {
    name: 'Age',
    key: (s) => -s.openedAt,
    show: (s, now) => between(s.openedAt, now),
    isNumber: true,
  },
  bytes('Up', 'bytesUp'),
  bytes('Down', 'bytesDown'),
  text('Last error', (s) => s.lastError),
]

/** @type {Map<string, { root: HTMLTableRowElement }>} */
const rows = new Map()
/** @type {readonly SessionStatus[]} */
let sessions = []
let sortedBy = 8
let ascending = true

const card = /** @type {HTMLElement} */ (document.getElementById('sessions'))
const body = /** @type {HTMLElement} */ (card.querySelector('tbody'))
const emptyLine = /** @type {HTMLElement} */ (card.querySelector('.line code'))
const count = /** @type {HTMLElement} */ (document.getElementById('sessions-count'))
const headings = COLUMNS.map(heading)
card.querySelector('thead tr')?.append(...headings)
const allColumns = /** @type {HTMLInputElement} */ (card.querySelector('.all-columns input'))
allColumns.addEventListener('change', () => {
  card.classList.toggle('shows-all', allColumns.checked)
})

/**
 * @param {readonly SessionStatus[]} open
 * @param {number} omitted how many more there are
 * @param {string} line how to connect, shown when there is no session
 * @param {number} now
 */
export function showSessions(open, omitted, line, now) {
  sessions = open
  const total = open.length + omitted
  const latest = omitted > 0 ? `, the latest ${open.length} shown` : ''
  put(count, total === 0 ? '' : `${total}${latest}`)
  card.classList.toggle('is-empty', total === 0)
  put(emptyLine, line)
  sort()
  chooseColumns()
  for (const session of open) showRow(session, now)
}

/** A column that says nothing is hidden; on a narrow screen all but four are. */
function chooseColumns() {
  const valuesOf = new Map(COLUMNS.map(({ name, key }) => [name, new Set(sessions.map(key))]))
  const differs = (/** @type {string} */ name) => (valuesOf.get(name)?.size ?? 0) > 1
  const allAre = (/** @type {string} */ name, /** @type {string} */ value) =>
    valuesOf.get(name)?.size === 1 && valuesOf.get(name)?.has(value)
  const isUnused = (/** @type {string} */ name) =>
    allAre(name, '') || (name === 'Target' ? !differs(name) : allAre(name, 'connected'))
  const second = ['Last error', 'Phase', 'Target', 'Role', 'User'].find(differs) ?? 'Database'
  const major = [isUnused('Application') ? 'Client' : 'Application', second, 'Age', 'Down']
  for (const [index, { name }] of COLUMNS.entries()) {
    const cells = [headings[index], ...[...rows.values()].map(({ root }) => root.cells[index])]
    for (const cell of cells) {
      cell?.classList.toggle('is-unused', isUnused(name))
      cell?.classList.toggle('is-minor', !major.includes(name))
    }
  }
}

/** @param {SessionStatus} session @param {number} now */
function showRow(session, now) {
  const cells = rows.get(session.id)?.root.cells ?? []
  for (const [index, column] of COLUMNS.entries()) {
    const cell = cells[index]
    if (cell === undefined) continue
    const text = column.show(session, now)
    put(cell, text)
    // The table cuts what is too long for its column.
    if (cell.title !== text && !column.isNumber) cell.title = text
  }
}

function sort() {
  const { key } = /** @type {Column} */ (COLUMNS[sortedBy])
  const sign = ascending ? 1 : -1
  const order = [...sessions].sort((a, b) => {
    const [left, right] = [key(a), key(b)]
    if (left === right) return a.id < b.id ? -1 : 1
    return left < right ? -sign : sign
  })
  arrange(
    body,
    rows,
    order.map(({ id }) => id),
    newRow,
  )
  for (const [index, heading] of headings.entries()) {
    const direction = ascending ? 'ascending' : 'descending'
    heading.ariaSort = index === sortedBy ? direction : 'none'
  }
}

/** @param {Column} column @param {number} index */
function heading({ name, isNumber }, index) {
  const cell = document.createElement('th')
  cell.scope = 'col'
  cell.classList.toggle('number', isNumber)
  const button = document.createElement('button')
  button.type = 'button'
  button.textContent = name
  button.addEventListener('click', () => {
    ascending = index === sortedBy ? !ascending : true
    sortedBy = index
    sort()
  })
  cell.append(button)
  return cell
}

function newRow() {
  const row = document.createElement('tr')
  for (const { name, isNumber } of COLUMNS) {
    const cell = row.insertCell()
    cell.dataset.label = name
    cell.classList.toggle('number', isNumber)
  }
  return { root: row }
}
