/**
 * Finds which of many texts another text may hold, in a time that does not grow with their number:
 * each is known by the hash of one stretch of it (a window), and all windows of the other text are
 * looked up. A hash keeps no part of a text in memory.
 */

import { randomInt } from 'node:crypto'

// Another number in each process, so that no text can be made up to have the hashes of many.
const BASE = 2 * randomInt(2 ** 20, 2 ** 30) + 1

export class Windows<Item> {
  readonly #length: number
  /** The factor of the character that leaves the window, in the hash. */
  readonly #leaving: number
  readonly #byHash = new Map<number, Set<Item>>()

  /** `length`: how many characters a window has. */
  constructor(length: number) {
    this.#length = length
    let leaving = 1
    for (let i = 0; i < length; i++) leaving = Math.imul(leaving, BASE)
    this.#leaving = leaving
  }

  /** Adds an item under the first window of `text`. */
  add(text: string, item: Item): void {
    let hash = 0
    for (let i = 0; i < this.#length; i++) hash = (Math.imul(hash, BASE) + text.charCodeAt(i)) | 0
    const items = this.#byHash.get(hash)
    if (items === undefined) this.#byHash.set(hash, new Set([item]))
    else items.add(item)
  }

  /** Adds the items whose window may be in the text. */
  find(text: string, found: Set<Item>): void {
    const length = this.#length
    if (this.#byHash.size === 0) return
    let hash = 0
    for (let i = 0; i < text.length; i++) {
      hash = (Math.imul(hash, BASE) + text.charCodeAt(i)) | 0
      if (i < length - 1) continue
      if (i >= length) hash = (hash - Math.imul(text.charCodeAt(i - length), this.#leaving)) | 0
      const items = this.#byHash.get(hash)
      if (items !== undefined) for (const item of items) found.add(item)
    }
  }

  clear(): void {
    this.#byHash.clear()
  }
}
