/** What `doctor` found out, step by step, for people (layout.ts) and as JSON. */

import { systemClock } from '../../core/clock.js'
import { ProxyError } from '../../core/errors.js'
import { oneLine } from '../../core/plain-text.js'
import { redact } from '../../core/redact.js'

export type Outcome = 'ok' | 'warning' | 'skipped' | 'failed'

export interface StepResult {
  readonly step: string
  readonly outcome: Outcome
  readonly text: string
  /** Details, shown to a person after a failure and with `--verbose`. */
  readonly detail?: string | undefined
  /** What to type next; for warnings and failures. */
  readonly fix?: string | undefined
  readonly ms: number
}

/** What a step found out: `value` is for the steps after it. */
export interface Finding<T> {
  readonly value: T
  readonly text: string
  readonly detail?: string | undefined
  readonly outcome?: Exclude<Outcome, 'skipped'>
  readonly fix?: string | undefined
}

export interface Audience {
  /** Called before a step, which may take seconds. */
  begins(step: string): void
  /** Called after one step, or several that are skipped for the same reason. */
  ended(results: readonly StepResult[]): void
}

export class DoctorReport {
  readonly results: StepResult[] = []
  readonly #audience: Audience

  constructor(audience: Audience) {
    this.#audience = audience
  }

  /** The step's value, or undefined when it failed: then the steps that need it are skipped. */
  async step<T>(step: string, look: () => Promise<Finding<T>>): Promise<T | undefined> {
    this.#audience.begins(step)
    const startedAt = systemClock.monotonic()
    const elapsed = (): number => Math.round(systemClock.monotonic() - startedAt)
    try {
      const { value, outcome = 'ok', ...told } = await look()
      this.#add([{ step, outcome, ...told, ms: elapsed() }])
      return value
    } catch (error) {
      this.#add([{ ...failure(step, error), ms: elapsed() }])
      return undefined
    }
  }

  warn(step: string, text: string, fix: string): void {
    this.#add([{ step, outcome: 'warning', text, fix, ms: 0 }])
  }

  skip(steps: string | readonly string[], text: string): void {
    this.#add([steps].flat().map((step) => ({ step, outcome: 'skipped', text, ms: 0 })))
  }

  get failed(): readonly StepResult[] {
    return this.results.filter(({ outcome }) => outcome === 'failed')
  }

  /** A step's text may quote the server and the workspace. */
  #add(results: readonly StepResult[]): void {
    const shown = (words: string): string => redact(oneLine(words))
    const clean = results.map(({ text, detail, fix, ...rest }) => ({
      ...rest,
      text: shown(text),
      detail: detail?.split('\n').map(shown).join('\n'),
      fix: fix && shown(fix),
    }))
    this.results.push(...clean)
    this.#audience.ended(clean)
  }
}

function failure(step: string, error: unknown): Omit<StepResult, 'ms'> {
  if (error instanceof ProxyError) {
    const { message, detail: more, hint: fix } = error
    // Several problems are a list, with a hint in a line of its own for each.
    const [text = '', ...list] = message.split('\n')
    const lines = list.map((line) => line.replace(/^ {4}/, '→ ').trim())
    const detail = lines.length > 0 ? lines.join('\n') : more
    return { step, outcome: 'failed', text, detail, fix: fix && withoutDoctor(fix) }
  }
  const fix = 'This is a bug: please report it.'
  return { step, outcome: 'failed', text: `internal error: ${String(error)}`, fix }
}

/** The hint without its advice to run what runs already. */
function withoutDoctor(hint: string): string | undefined {
  const parts = hint.split(/(?<=[.?;:]) /)
  const others = parts.filter((part) => !part.includes('lakebase-proxy doctor'))
  return others.join(' ').replace(/[;:]$/, '.') || undefined
}
