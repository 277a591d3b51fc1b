// @ts-check
/** The buttons that copy a line, and say so to eyes and ears. */

const SHOWN_MS = 1_600

/** @param {Element} line holds one `input` and one `.copy` button */
export function copyable(line) {
  const input = /** @type {HTMLInputElement} */ (line.querySelector('input'))
  const button = /** @type {HTMLButtonElement} */ (line.querySelector('.copy'))
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer
  button.addEventListener('click', async () => {
    const done = await copy(input)
    say(done ? 'Copied' : 'Selected: press Ctrl-C or ⌘C')
    button.textContent = done ? 'Copied' : 'Selected'
    button.classList.toggle('done', done)
    clearTimeout(timer)
    timer = setTimeout(() => {
      button.textContent = 'Copy'
      button.classList.remove('done')
    }, SHOWN_MS)
  })
}

/** The clipboard is for secure origins only, which a name on the network is not. @param {HTMLInputElement} input */
async function copy(input) {
  try {
    await navigator.clipboard.writeText(input.value)
    return true
  } catch {
    input.select()
    return false
  }
}

/** @param {string} text */
function say(text) {
  const region = document.getElementById('said')
  if (region !== null) region.textContent = text
}
