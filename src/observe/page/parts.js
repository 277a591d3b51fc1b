// @ts-check
/** What the templates of index.html become, and how their copies are filled. */

/** A template's copy, and the parts of it that have a `data-of`, by that name. @typedef {{ root: HTMLElement, parts: Record<string, HTMLElement> }} Copy */

/** @param {string} id @returns {Copy} */
export function fromTemplate(id) {
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById(id))
  const copy = /** @type {DocumentFragment} */ (template.content.cloneNode(true))
  const root = /** @type {HTMLElement} */ (copy.firstElementChild)
  return { root, parts: partsOf(root) }
}

/** @param {Element} root @returns {Record<string, HTMLElement>} */
export function partsOf(root) {
  const parts = /** @type {HTMLElement[]} */ ([...root.querySelectorAll('[data-of]')])
  return Object.fromEntries(parts.map((part) => [part.dataset.of ?? '', part]))
}

/** @param {Record<string, HTMLElement>} parts @param {string} name of a part that the template has */
export function part(parts, name) {
  return /** @type {HTMLElement} */ (parts[name])
}

/** @param {Record<string, HTMLElement>} parts @param {Record<string, string>} texts by the name of the part */
export function fill(parts, texts) {
  for (const [name, text] of Object.entries(texts)) put(part(parts, name), text)
}

/** Writes only what changed, so that a selection in it stays. @param {Element} element @param {string} text */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/**
 * Makes the children of `list` those that belong to `keys`, in this order. One that is in its
 * place is not touched, so that a selection in it stays.
 * @template {{ root: Element }} T
 * @param {Element} list @param {Map<string, T>} shown by key @param {readonly string[]} keys @param {(key: string) => T} make
 */
export function arrange(list, shown, keys, make) {
  for (const [key, { root }] of shown) {
    if (keys.includes(key)) continue
    root.remove()
    shown.delete(key)
  }
  for (const [index, key] of keys.entries()) {
    const one = shown.get(key) ?? make(key)
    shown.set(key, one)
    if (list.children[index] !== one.root) list.insertBefore(one.root, list.children[index] ?? null)
  }
}
