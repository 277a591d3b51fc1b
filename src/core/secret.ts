/**
 * A text that must never be logged, shown or serialised: it always prints as [redacted]. The process
 * keeps a list of all its secrets, so that a secret is found in any text that a server sends back.
 */

import { inspect } from 'node:util'

import { Windows } from './windows.js'

export const HIDDEN = '[redacted]'

/** Shorter secrets are not searched for: they would take letters out of every word. */
const MIN_LENGTH = 4
/** Shorter secrets may be words, such as "postgres", and count only where they stand alone. */
const UNMISTAKABLE_LENGTH = 16
/** Servers cut names to 63 bytes: this many first characters identify a secret. */
const BEGINNING_LENGTH = 24

/** Up to this many are searched for one by one in less time than a text is hashed. */
const FEW = 32
/** How many entries the list may have before those of collected secrets are removed. */
const MIN_LIMIT = 2 * FEW

type Held = WeakRef<Secret>

/**
 * All secrets of the process. A gateway holds thousands, and every line of the log is searched for all
 * of them.
 */
const held = new Set<Held>()
let limit = MIN_LIMIT
/** Secrets by their last characters, since many JWTs begin alike. */
const byEnd = new Windows<Held>(UNMISTAKABLE_LENGTH)
const byBeginning = new Windows<Held>(BEGINNING_LENGTH)
const byWord = new Windows<Held>(MIN_LENGTH)

export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
    if (value.length >= MIN_LENGTH) hold(new WeakRef(this), value)
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
  for (const reference of held.size <= FEW ? held : mayBeIn(text, what)) {
    const value = reference.deref()?.reveal()
    if (value === undefined) held.delete(reference)
    else if (value.length >= UNMISTAKABLE_LENGTH) clean = hide(clean, value, what)
    else if (what === 'words') clean = hideWord(clean, value)
  }
  return clean
}

function mayBeIn(text: string, what: 'whole' | 'beginning' | 'words'): ReadonlySet<Held> {
  const found = new Set<Held>()
  byEnd.find(text, found)
  if (what === 'beginning') byBeginning.find(text, found)
  if (what === 'words') byWord.find(text, found)
  return found
}

function hold(reference: Held, value: string): void {
  held.add(reference)
  index(reference, value)
  if (held.size <= limit) return
  for (const windows of [byEnd, byBeginning, byWord]) windows.clear()
  for (const each of held) {
    const value = each.deref()?.reveal()
    if (value === undefined) held.delete(each)
    else index(each, value)
  }
  limit = Math.max(MIN_LIMIT, 2 * held.size)
}

function index(reference: Held, value: string): void {
  if (value.length < UNMISTAKABLE_LENGTH) byWord.add(value, reference)
  else byEnd.add(value.slice(-UNMISTAKABLE_LENGTH), reference)
  if (value.length > BEGINNING_LENGTH) byBeginning.add(value, reference)
}

function hide(text: string, value: string, what: 'whole' | 'beginning' | 'words'): string {
  const beginning = value.slice(0, BEGINNING_LENGTH)
  if (!text.includes(beginning)) return text
  const clean = text.replaceAll(value, HIDDEN)
  if (what !== 'beginning') return clean
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
