// @ts-check
/** The latest errors, each with what to do about it and the session it ended. */

import { ago, atTime, fromTemplate, partsOf, put } from './words.js'

/** @typedef {import('../journal.js').Failure} Failure */

/** @type {Map<string, { root: HTMLElement, when: HTMLElement, at: number }>} */
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
  // From the oldest, so that each new one goes on top of those that stay.
  for (const failure of failures.toReversed()) {
    const key = keyOf(failure)
    if (items.has(key)) continue
    const item = build(failure)
    items.set(key, item)
    list.prepend(item.root)
  }
  const card = /** @type {HTMLElement} */ (document.getElementById('failures'))
  card.classList.toggle('is-empty', failures.length === 0)
  const count = /** @type {HTMLElement} */ (document.getElementById('failures-count'))
  put(count, failures.length === 0 ? '' : String(failures.length))
  tickFailures(now)
}

/** @param {number} now */
export function tickFailures(now) {
  for (const { when, at } of items.values()) put(when, ago(at, now))
}

/** @param {Failure} failure */
function keyOf({ at, target, session, message }) {
  return `${at} ${target} ${session} ${message}`
}

/** @param {Failure} failure */
function build(failure) {
  const root = fromTemplate('failure-item')
  const parts = partsOf(root)
  const when = /** @type {HTMLTimeElement} */ (parts.when)
  when.dateTime = new Date(failure.at).toISOString()
  when.title = atTime(failure.at)
  /** @type {[string, string | undefined][]} */
  const texts = [
    ['kind', failure.kind],
    ['where', whereOf(failure)],
    ['message', failure.message],
    ['detail', failure.detail],
    ['hint', failure.hint],
  ]
  for (const [name, text] of texts) {
    const part = /** @type {HTMLElement} */ (parts[name])
    if (text === undefined) part.remove()
    else part.textContent = text
  }
  return { root, when, at: failure.at }
}

/** @param {Failure} failure */
function whereOf({ target, session, phase }) {
  if (session === undefined) return target
  return `${target}, session ${session}${phase === undefined ? '' : `, in ${phase}`}`
}
