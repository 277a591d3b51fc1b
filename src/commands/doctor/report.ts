/** What `doctor` says: one line a step, with its time and what to do; or the same as JSON. */

import { systemClock } from '../../core/clock.js'
import { ProxyError } from '../../core/errors.js'
import { oneLine } from '../../core/plain-text.js'
import { redact } from '../../core/redact.js'

export type Outcome = 'ok' | 'warning' | 'skipped' | 'failed'

export interface StepResult {
  readonly step: string
  readonly outcome: Outcome
  readonly text: string
  /** What to type next; for warnings and failures. */
  readonly fix?: string | undefined
  readonly ms: number
}

/** What a step found out: `value` is for the steps after it. */
export interface Finding<T> {
  readonly value: T
  readonly text: string
  readonly outcome?: Exclude<Outcome, 'skipped'>
  readonly fix?: string | undefined
}

export class DoctorReport {
  readonly results: StepResult[] = []
  readonly #tell: (result: StepResult) => void

  constructor(tell: (result: StepResult) => void) {
    this.#tell = tell
  }

  /** The step's value, or undefined when it failed: then the steps that need it are skipped. */
  async step<T>(step: string, look: () => Promise<Finding<T>>): Promise<T | undefined> {
    const startedAt = systemClock.monotonic()
    try {
      const { value, text, outcome = 'ok', fix } = await look()
      this.#add({ step, outcome, text, fix, ms: Math.round(systemClock.monotonic() - startedAt) })
      return value
    } catch (error) {
      const known = error instanceof ProxyError
      const detail = known && error.detail !== undefined ? ` (${error.detail})` : ''
      const text = known ? `${error.message}${detail}` : `internal error: ${String(error)}`
      const fix = known ? error.hint : 'This is a bug: please report it.'
      this.#add({
        step,
        outcome: 'failed',
        text,
        fix,
        ms: Math.round(systemClock.monotonic() - startedAt),
      })
      return undefined
    }
  }

  warn(step: string, text: string, fix: string): void {
    this.#add({ step, outcome: 'warning', text, fix, ms: 0 })
  }

  skip(step: string, text: string): void {
    this.#add({ step, outcome: 'skipped', text, ms: 0 })
  }

  get failed(): boolean {
    return this.results.some(({ outcome }) => outcome === 'failed')
  }

  /** A step's text may quote the server and the workspace. */
  #add({ step, outcome, text, fix, ms }: StepResult): void {
    const shown = (words: string): string => redact(oneLine(words))
    const result = { step, outcome, text: shown(text), fix: fix && shown(fix), ms }
    this.results.push(result)
    this.#tell(result)
  }
}

const COLOUR: Record<Outcome, number> = { ok: 32, warning: 33, skipped: 90, failed: 31 }

export function stepLine({ step, outcome, text, fix, ms }: StepResult, coloured: boolean): string {
  const word = outcome.padEnd(7)
  const shown = coloured ? `\x1b[${COLOUR[outcome]}m${word}\x1b[0m` : word
  const time = outcome === 'skipped' ? '' : ` (${ms} ms)`
  const fixed = fix === undefined ? '' : ` → ${fix}`
  return `${shown}  ${step.padEnd(12)}  ${text}${time}${fixed}\n`
}
