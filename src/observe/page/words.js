// @ts-check
/** Numbers and times in words, the same everywhere on the page. */

/** @param {number} bytes */
export function inBytes(bytes) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  const digits = unit === 0 || value >= 99.5 ? 0 : 1
  return `${value.toFixed(digits)} ${units[unit]}`
}

/** Two units at most: `3 d 4 h`, `2 h 5 min`, `48 min`, `4 min 05 s`, `12 s`. @param {number} ms */
export function inTime(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const minutes = Math.floor(seconds / 60)
  const hours = Math.floor(minutes / 60)
  if (hours >= 48) return `${Math.floor(hours / 24)} d ${hours % 24} h`
  if (hours >= 1) return `${hours} h ${minutes % 60} min`
  if (minutes >= 10) return `${minutes} min`
  if (minutes >= 1) return `${minutes} min ${String(seconds % 60).padStart(2, '0')} s`
  return `${seconds} s`
}

/** @param {number} ms */
export function inMilliseconds(ms) {
  if (ms >= 10_000) return `${(ms / 1000).toFixed(0)} s`
  if (ms >= 1_000) return `${(ms / 1000).toFixed(1)} s`
  return `${ms > 0 && ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`
}

/** @param {number} at epoch ms @param {number} now epoch ms */
export function ago(at, now) {
  return now - at < 2_000 ? 'just now' : `${inTime(now - at)} ago`
}

/** By this browser's clock and language. @param {number} at epoch ms */
export function atTime(at) {
  return new Date(at).toLocaleTimeString(undefined, { timeStyle: 'medium' })
}

/** Writes only what changed, so that a selection or a focus in it stays. @param {Element} element @param {string} text */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/** @param {HTMLInputElement} input @param {string} value */
export function putValue(input, value) {
  if (input.value !== value) input.value = value
}

/** For a part that the template is known to have. @param {HTMLElement | undefined} element @returns {HTMLElement} */
export function part(element) {
  return /** @type {HTMLElement} */ (element)
}

/** The parts of a template's copy, by their `data-of`. @param {Element} root @returns {Record<string, HTMLElement>} */
export function partsOf(root) {
  /** @type {Record<string, HTMLElement>} */
  const parts = {}
  for (const part of root.querySelectorAll('[data-of]')) {
    if (part instanceof HTMLElement && part.dataset.of !== undefined) parts[part.dataset.of] = part
  }
  return parts
}

/** A copy of a template's only element. @param {string} id @returns {HTMLElement} */
export function fromTemplate(id) {
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById(id))
  const copy = /** @type {DocumentFragment} */ (template.content.cloneNode(true))
  return /** @type {HTMLElement} */ (copy.firstElementChild)
}
