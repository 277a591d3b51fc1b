// @ts-check
/** How to connect to a target: one tab for each tool, with a line to copy or the fields of its dialog. */

import { fill, part } from './parts.js'

/** @typedef {import('../status.js').TargetStatus} TargetStatus */

const TOOLS = /** @type {const} */ ({
  psql: 'psql',
  uri: 'URI',
  jdbc: 'JDBC',
  dbeaver: 'DBeaver',
  sqlalchemy: 'SQLAlchemy',
})

/** The tabs; `onChoice` is told of each click. @param {HTMLElement} fieldset @param {string} key of the card @param {() => void} onChoice */
export function addTabs(fieldset, key, onChoice) {
  for (const [tool, name] of Object.entries(TOOLS)) {
    const label = document.createElement('label')
    const input = document.createElement('input')
    input.type = 'radio'
    input.name = `tool-${key}`
    input.value = tool
    input.checked = tool === 'psql'
    input.addEventListener('change', onChoice)
    const text = document.createElement('span')
    text.textContent = name
    label.append(input, text)
    fieldset.append(label)
  }
}

/** @param {HTMLElement} root @param {Record<string, HTMLElement>} parts @param {TargetStatus} target */
export function showConnect(root, parts, { connect, localAuth }) {
  const chosen = /** @type {HTMLInputElement} */ (root.querySelector('fieldset :checked'))
  const tool = /** @type {keyof typeof TOOLS} */ (chosen.value)
  const { host, port, database, username } = connect.fields
  part(parts, 'fields').hidden = tool !== 'dbeaver'
  fill(parts, {
    ...{ line: connect[tool], host, port, 'field-database': database, username },
    password: localAuth === 'trust' ? 'leave it empty' : 'the local password',
  })
}
