// @ts-check
/** How to connect to a target: one tab for each tool, with a line to copy or the fields of its dialog. */

import { copyable } from './copy.js'
import { part, put, putValue } from './words.js'

/** @typedef {import('../status.js').TargetStatus} TargetStatus */
/** @typedef {'psql' | 'uri' | 'jdbc' | 'dbeaver' | 'sqlalchemy'} Tool */

/** @type {readonly (readonly [Tool, string])[]} */
const TOOLS = [
  ['psql', 'psql'],
  ['uri', 'URI'],
  ['jdbc', 'JDBC'],
  ['dbeaver', 'DBeaver'],
  ['sqlalchemy', 'SQLAlchemy'],
]

export class ConnectTabs {
  /** @type {TargetStatus | undefined} */
  #target
  /** @type {Tool} */
  #tool = 'psql'

  /** @param {Element} root @param {Record<string, HTMLElement>} parts @param {number} index of the card */
  constructor(root, parts, index) {
    this.parts = parts
    this.line = /** @type {HTMLInputElement} */ (root.querySelector('.line input'))
    const fieldset = /** @type {HTMLElement} */ (root.querySelector('fieldset'))
    for (const [tool, name] of TOOLS) fieldset.append(this.#choice(index, tool, name))
    copyable(/** @type {Element} */ (root.querySelector('.line')))
  }

  /** @param {TargetStatus} target */
  show(target) {
    this.#target = target
    const { connect, localAuth } = target
    const { host, port, database, username } = connect.fields
    const { parts } = this
    putValue(this.line, connect[this.#tool])
    part(parts.fields).hidden = this.#tool !== 'dbeaver'
    put(part(parts.host), host)
    put(part(parts.port), port)
    put(part(parts['field-database']), database)
    put(part(parts.username), username)
    put(part(parts.password), localAuth === 'trust' ? 'leave it empty' : 'the local password')
  }

  /** @param {number} index @param {Tool} tool @param {string} name */
  #choice(index, tool, name) {
    const label = document.createElement('label')
    const input = document.createElement('input')
    input.type = 'radio'
    input.name = `tool-${index}`
    input.checked = tool === this.#tool
    input.addEventListener('change', () => {
      this.#tool = tool
      if (this.#target !== undefined) this.show(this.#target)
    })
    const text = document.createElement('span')
    text.textContent = name
    label.append(input, text)
    return label
  }
}
