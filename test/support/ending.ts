/**
 * A file of tests ends when nothing is open any more. That shows what a test, or the proxy, leaves
 * open; but a test that fails leaves things open too, and its file would end by a time-out only.
 */

import { after } from 'node:test'

const PATIENCE_MS = 10_000

/** Ends the file also with things left open, but only after a test has failed. Call it at the top of the file. */
export function endWhenFailed(): void {
  after(() => {
    setTimeout(() => {
      if (process.exitCode) process.exit()
    }, PATIENCE_MS).unref()
  })
}
