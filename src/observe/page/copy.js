// @ts-check
/** The buttons that copy the line in front of them, and say so to eyes and ears. */

import { put } from './parts.js'

const SHOWN_MS = 1_600

document.addEventListener('click', async ({ target }) => {
  if (!(target instanceof HTMLElement) || !target.matches('.copy')) return
  const done = await copy(/** @type {HTMLElement} */ (target.previousElementSibling))
  const said = /** @type {HTMLElement} */ (document.getElementById('said'))
  put(said, done ? 'Copied' : 'Selected: press Ctrl-C or ⌘C')
  put(target, done ? 'Copied' : 'Selected')
  target.classList.toggle('done', done)
  setTimeout(() => {
    put(target, 'Copy')
    target.classList.remove('done')
  }, SHOWN_MS)
})

/** The clipboard is for secure origins only, which a name on the network is not. @param {HTMLElement} line */
async function copy(line) {
  try {
    await navigator.clipboard.writeText(line.textContent ?? '')
    return true
  } catch {
    getSelection()?.selectAllChildren(line)
    return false
  }
}
