/** Everything that is wrong with the settings, gathered so that the user reads it all at once. */

import { ProxyError } from '../../core/errors.js'

export interface Problem {
  /** Where it was set, as the user would look for it: `--port`, `LAKEBASE_PROXY_PORT`, `proxy.yaml:3`. */
  readonly where: string
  readonly message: string
  readonly hint?: string | undefined
}

export class Problems {
  readonly #found = new Map<string, Problem>()

  /** The same problem is kept once, however many targets it concerns. */
  add(where: string, message: string, hint?: string): void {
    this.#found.set(`${where}\n${message}`, { where, message, hint })
  }

  /** Runs `read`; a `config` error becomes a problem at `where`, and the result is undefined. */
  catch<T>(where: string, read: () => T): T | undefined {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof ProxyError) || error.kind !== 'config') throw error
      this.add(where, error.message, error.hint)
      return undefined
    }
  }

  /** Throws one `config` error with every problem in it, if there is any. */
  throwIfAny(): void {
    const found = inOrderOfFiles([...this.#found.values()])
    const [first] = found
    if (first === undefined) return
    if (found.length === 1) {
      throw new ProxyError('config', placed(first), { hint: first.hint })
    }
    // A hint that is also that of the next problem is given once, after both.
    const lines = found.map((problem, at) =>
      problem.hint === undefined || problem.hint === found[at + 1]?.hint
        ? `  ${placed(problem)}`
        : `  ${placed(problem)}\n    ${problem.hint}`,
    )
    throw new ProxyError('config', `${found.length} settings are wrong\n${lines.join('\n')}`)
  }
}

/** The place is left off where the message names it. */
function placed({ where, message }: Problem): string {
  const isNamed =
    message.startsWith(`${where} `) ||
    (message.startsWith('cannot read ') && message.includes(where))
  return isNamed ? message : `${where}: ${message}`
}

/**
 * The problems of one file stand together, in the order of its lines, so that the user goes through it
 * once.
 */
function inOrderOfFiles(found: readonly Problem[]): readonly Problem[] {
  const located = found.map((problem) => ({ problem, ...placeOf(problem) }))
  const files = [...new Set(located.map(({ file }) => file))]
  const rank = new Map(files.map((file, at) => [file, at]))
  return located
    .sort((a, b) => rank.get(a.file)! - rank.get(b.file)! || a.line - b.line)
    .map(({ problem }) => problem)
}

/** The file and the line in `proxy.yaml:3` and in `NAME (.env:3)`. Another place is a file of its own. */
function placeOf({ where }: Problem): { file: string; line: number } {
  const colon = where.lastIndexOf(':')
  const line = Number.parseInt(where.slice(colon + 1), 10)
  if (colon === -1 || Number.isNaN(line)) return { file: where, line: 0 }
  return { file: where.slice(where.lastIndexOf('(', colon) + 1, colon), line }
}
