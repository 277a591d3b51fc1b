// @ts-check
/** The latest errors, equal ones counted together, each with what to do about it. */

import { ago, atTime, fromTemplate, part, partsOf, put } from './words.js'

/** @typedef {import('../journal.js').FailureGroup} Failure */

/** @type {Map<string, { root: HTMLElement, parts: Record<string, HTMLElement>, failure: Failure }>} */
const items = new Map()

/** @param {readonly Failure[]} failures the latest first @param {number} now */
export function showFailures(failures, now) {
  const list = /** @type {HTMLElement} */ (document.querySelector('#failures ol'))
  const keys = failures.map(keyOf)
  for (const [key, item] of items) {
    if (keys.includes(key)) continue
    item.root.remove()
    items.delete(key)
  }
  for (const [index, failure] of failures.entries()) {
    const key = keyOf(failure)
    let item = items.get(key)
    if (item === undefined) {
      const root = fromTemplate('failure-item')
      item = { root, parts: partsOf(root), failure }
      items.set(key, item)
    }
    fill(item.parts, failure)
    item.failure = failure
    // An item that is in its place is not touched: a selection in it stays.
    if (list.children[index] !== item.root) {
      list.insertBefore(item.root, list.children[index] ?? null)
    }
  }
  const card = /** @type {HTMLElement} */ (document.getElementById('failures'))
  card.classList.toggle('is-empty', failures.length === 0)
  const total = failures.reduce((sum, { count }) => sum + count, 0)
  const count = /** @type {HTMLElement} */ (document.getElementById('failures-count'))
  put(count, total === 0 ? '' : String(total))
  tickFailures(now)
}

/** @param {number} now */
export function tickFailures(now) {
  for (const { parts, failure } of items.values()) {
    const { count, firstAt, at } = failure
    const first = count > 1 ? `first ${ago(firstAt, now)}, last ` : ''
    put(part(parts.when), `${first}${ago(at, now)}`)
  }
}

/** @param {Failure} failure */
function keyOf({ target, kind, message }) {
  return JSON.stringify([target, kind, message])
}

/** @param {Record<string, HTMLElement>} parts @param {Failure} failure */
function fill(parts, failure) {
  const when = /** @type {HTMLTimeElement} */ (parts.when)
  when.dateTime = new Date(failure.at).toISOString()
  when.title = atTime(failure.at)
  put(part(parts.kind), failure.kind)
  put(part(parts.times), failure.count > 1 ? `${failure.count} times` : '')
  put(part(parts.where), whereOf(failure))
  put(part(parts.message), failure.message)
  put(part(parts.detail), failure.detail ?? '')
  put(part(parts.hint), failure.hint ?? '')
}

/** @param {Failure} failure */
function whereOf({ target, session, phase, count }) {
  if (session === undefined) return target
  const which = count > 1 ? 'latest session' : 'session'
  return `${target}, ${which} ${session}${phase === undefined ? '' : `, in ${phase}`}`
}
