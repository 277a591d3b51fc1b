/**
 * A text that must never be logged, shown or serialised: it always prints as [redacted]. The process
 * keeps a list of all its secrets, so that a secret is found in any text that a server sends back.
 */

import { inspect } from 'node:util'

export const HIDDEN = '[redacted]'

/** Shorter ones would take letters out of every word. */
const MIN_LENGTH = 4
/** Shorter ones may be words, such as "postgres", and count only where they stand alone. */
const UNMISTAKABLE_LENGTH = 16
/** Servers cut names to 63 bytes: this many first characters identify a secret. */
const BEGINNING_LENGTH = 24

const held = new Set<WeakRef<Secret>>()

export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
    if (value.length >= MIN_LENGTH) held.add(new WeakRef(this))
  }

  /** The secret itself: call it where it is sent, and keep no copy. */
  reveal(): string {
    return this.#value
  }

  toString(): string {
    return HIDDEN
  }

  toJSON(): string {
    return HIDDEN
  }

  [inspect.custom](): string {
    return HIDDEN
  }
}

/**
 * The text without the secrets that this process holds. `whole`: the long ones. `beginning`: also
 * the first part of one, for a text that was cut. `words`: also short ones, where they stand alone.
 */
export function hideKnown(text: string, what: 'whole' | 'beginning' | 'words'): string {
  if (text.length < MIN_LENGTH) return text
  let clean = text
  for (const reference of held) {
    const value = reference.deref()?.reveal()
    if (value === undefined) held.delete(reference)
    else if (value.length >= UNMISTAKABLE_LENGTH) clean = hide(clean, value, what)
    else if (what === 'words') clean = hideWord(clean, value)
  }
  return clean
}

function hide(text: string, value: string, what: 'whole' | 'beginning' | 'words'): string {
  const clean = text.replaceAll(value, HIDDEN)
  if (what !== 'beginning' || value.length <= BEGINNING_LENGTH) return clean
  const beginning = value.slice(0, BEGINNING_LENGTH)
  let [done, from] = ['', 0]
  for (;;) {
    const at = clean.indexOf(beginning, from)
    if (at === -1) return done + clean.slice(from)
    let length = BEGINNING_LENGTH
    while (length < value.length && clean[at + length] === value[length]) length++
    done += clean.slice(from, at) + HIDDEN
    from = at + length
  }
}

function hideWord(text: string, value: string): string {
  let [done, from] = ['', 0]
  for (let look = 0; ; ) {
    const at = text.indexOf(value, look)
    if (at === -1) return done + text.slice(from)
    look = at + value.length
    if (isLetter(text[at - 1]) || isLetter(text[look])) continue
    done += text.slice(from, at) + HIDDEN
    from = look
  }
}

function isLetter(character: string | undefined): boolean {
  return character !== undefined && /\w/.test(character)
}
