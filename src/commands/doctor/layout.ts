/**
 * Prints the steps of `doctor` for a person: the outcome, the step and its text in three columns, with
 * long texts folded at 100 characters. On a terminal it shows which step is running. `verdict`
 * makes the last line.
 */

import type { Audience, Outcome, StepResult } from './report.js'

const WIDTH = 100
const GAP = '  '
/** As long as `skipped` and `warning`. */
const OUTCOME_WIDTH = 7
const STEP_AT = OUTCOME_WIDTH + GAP.length
const STEP_WIDTH = 14
const TEXT_AT = STEP_AT + STEP_WIDTH
const COLOUR: Record<Outcome, number> = { ok: 32, warning: 33, skipped: 90, failed: 31 }
const REDRAW = '\r\x1b[K'

export interface LayoutOptions {
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean }
  readonly verbose: boolean
}

export class Layout implements Audience {
  readonly #options: LayoutOptions
  readonly #isTerminal: boolean
  #progress: NodeJS.Timeout | undefined

  constructor(options: LayoutOptions) {
    this.#options = options
    this.#isTerminal = options.stdout.isTTY === true
  }

  begins(step: string): void {
    if (!this.#isTerminal) return
    let seconds = 0
    const show = (): void => {
      const waited = seconds === 0 ? '' : ` ${seconds} s`
      this.#options.stdout.write(`${REDRAW}${'…'.padEnd(STEP_AT)}${step}${waited}`)
      seconds++
    }
    show()
    this.#progress = setInterval(show, 1_000)
  }

  ended(results: readonly StepResult[]): void {
    clearInterval(this.#progress)
    const [first] = results
    if (first === undefined) return
    const front = this.#isTerminal ? REDRAW : ''
    this.#options.stdout.write(front + this.#lines(first, results))
  }

  #lines(result: StepResult, all: readonly StepResult[]): string {
    const { step, outcome, text, detail, fix, ms } = result
    const word = outcome.padEnd(OUTCOME_WIDTH)
    const shown = this.#isTerminal ? `\x1b[${COLOUR[outcome]}m${word}\x1b[0m` : word
    if (outcome === 'skipped') {
      const steps = all.map((each) => each.step).join(', ')
      const [first = '', ...others] = folded(`${steps}: ${text}`, WIDTH - STEP_AT)
      return [
        `${shown}${GAP}${first}\n`,
        ...others.map((line) => `${' '.repeat(STEP_AT)}${line}\n`),
      ].join('')
    }
    const wantsDetail = outcome === 'failed' || this.#options.verbose
    const more = wantsDetail ? (detail?.split('\n').flatMap(detailLines) ?? []) : []
    const fixes = fix === undefined ? [] : fixLines(fix)
    const [first = '', ...others] = folded(text, WIDTH - TEXT_AT, `(${ms} ms)`)
    const indented = [...others, ...more, ...fixes].map((line) => `${' '.repeat(TEXT_AT)}${line}\n`)
    return `${shown}${GAP}${step.padEnd(STEP_WIDTH)}${first}\n${indented.join('')}`
  }
}

function detailLines(line: string): string[] {
  return line.startsWith('→ ') ? fixLines(line.slice(2)) : folded(line, WIDTH - TEXT_AT)
}

function fixLines(fix: string): string[] {
  const lines = folded(fix, WIDTH - TEXT_AT - GAP.length)
  return lines.map((line, at) => (at === 0 ? `→ ${line}` : `${GAP}${line}`))
}

/** The last line. `next` is what to type when nothing failed. */
export function verdict(failed: readonly StepResult[], next: string): string {
  const [first, ...others] = failed
  if (first === undefined) return next
  const count = others.length === 0 ? '1 problem' : `${failed.length} problems; the first`
  const line = `${count}: ${first.step}: ${first.text}`
  return line.length <= WIDTH ? line : `${line.slice(0, WIDTH - 1)}…`
}

/** Splits the text at spaces. A word that is longer than a line stays whole, so that it can be copied. */
function folded(text: string, width: number, last?: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of [...text.split(' '), ...(last === undefined ? [] : [last])]) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
