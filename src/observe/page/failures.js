// @ts-check
/** The latest errors, equal ones counted together, each with what to do about it. */

import { arrange, fill, fromTemplate, part, put } from './parts.js'
import { ago, timeOfDay } from './words.js'

/** @typedef {import('../journal.js').FailureGroup} Failure */

/** @type {Map<string, import('./parts.js').Copy>} */
const items = new Map()
const card = /** @type {HTMLElement} */ (document.getElementById('failures'))
const list = /** @type {HTMLElement} */ (card.querySelector('ol'))
const count = /** @type {HTMLElement} */ (document.getElementById('failures-count'))

/** @param {readonly Failure[]} failures the latest first @param {number} now */
export function showFailures(failures, now) {
  arrange(list, items, failures.map(keyOf), () => fromTemplate('failure-item'))
  for (const failure of failures) {
    const item = items.get(keyOf(failure))
    if (item !== undefined) show(item.parts, failure, now)
  }
  card.classList.toggle('is-empty', failures.length === 0)
  const total = failures.reduce((sum, each) => sum + each.count, 0)
  put(count, total === 0 ? '' : String(total))
}

/** @param {Failure} failure */
function keyOf({ target, kind, message }) {
  return JSON.stringify([target, kind, message])
}

/** @param {Record<string, HTMLElement>} parts @param {Failure} failure @param {number} now */
function show(parts, failure, now) {
  const { count, firstAt, at, kind, message, detail, hint } = failure
  const when = /** @type {HTMLTimeElement} */ (part(parts, 'when'))
  when.dateTime = new Date(at).toISOString()
  when.title = timeOfDay(at)
  fill(parts, {
    ...{ kind, message, detail: detail ?? '', hint: hint ?? '', where: whereOf(failure) },
    times: count > 1 ? `${count} times` : '',
    when: `${count > 1 ? `first ${ago(firstAt, now)}, last ` : ''}${ago(at, now)}`,
  })
}

/** @param {Failure} failure */
function whereOf({ target, session, phase, count }) {
  if (session === undefined) return target
  const which = count > 1 ? 'latest session' : 'session'
  return `${target}, ${which} ${session}${phase === undefined ? '' : `, in ${phase}`}`
}
