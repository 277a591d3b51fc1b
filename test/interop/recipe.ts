/** The code blocks of docs/clients.md by their names, as a reader copies them. */

import assert from 'node:assert/strict'

import { codeBlocks, PAGES } from '../support/markdown.js'

const BLOCKS = PAGES.filter(({ path }) => path === 'docs/clients.md').flatMap(codeBlocks)

/** The block under `<!-- run: NAME -->`. */
export function recipe(name: string): string {
  const found = BLOCKS.filter(({ mark }) => mark?.kind === 'run' && mark.words === name)
  assert.equal(found.length, 1, `there is one block <!-- run: ${name} --> in docs/clients.md`)
  return found[0]!.text
}
