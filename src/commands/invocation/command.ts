/** What a command is, and what it is given: the frame that registry.ts fills and program.ts runs. */

import type { Config, ConfigInputs } from '../../config/resolve/config.js'
import type { Machine } from '../../config/resolve/settings.js'
import { SETTINGS, type SettingName } from '../../config/schema/table.js'
import { type Kind, ValueError } from '../../config/schema/values.js'
import { ProxyError } from '../../core/errors.js'

export interface Command {
  readonly name: string
  /** One line, for the list of commands. */
  readonly summary: string
  /** Operands as commander writes them: `[TARGET]`, `<NAME>`, `[TARGET...]`. */
  readonly operands?: readonly string[]
  /** Takes `-- CMD…` after its operands. */
  readonly takesProgram?: boolean
  /** The settings it takes as flags. */
  readonly settings?: readonly SettingName[]
  readonly options?: readonly CommandOption[]
  /** Command lines without `lakebase-proxy`. */
  readonly examples: readonly string[]
  /** More for its help, in whole lines. */
  readonly notes?: string
  readonly subcommands?: readonly Command[]
  /** Resolves to the exit code. Loads the command's own modules, so that no other command pays. */
  readonly run?: (invocation: Invocation) => Promise<number>
}

/** An option that is not a setting: it belongs to this command alone. */
export interface CommandOption {
  /** `--format <FORM>`, or `--json`. */
  readonly flags: string
  readonly help: string
  readonly choices?: readonly string[]
  readonly default?: string
}

/** One run of a command. */
export interface Invocation {
  readonly operands: readonly string[]
  /** What followed `--`. */
  readonly program: readonly string[]
  /** Its own options, by their long name; a switch is `'true'`. */
  readonly options: ReadonlyMap<string, string>
  /** Settings given as flags. */
  readonly flags: ReadonlyMap<SettingName, string>
  readonly surroundings: Surroundings
  /** Settings from everywhere, for these TARGETs. Notices go to stderr unless `notice` takes them. */
  loadConfig(wanted?: ConfigRequest): Promise<Config>
}

export interface ConfigRequest extends Partial<Pick<ConfigInputs, 'targets' | 'targetOptional'>> {
  readonly pickTarget?: ConfigInputs['pickTarget']
  readonly notice?: (text: string) => void
}

export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP'

interface Terminal {
  readonly isTTY?: boolean
}

/** The process, as commands may use it. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly machine: Machine
  readonly uid: number
  /** The node binary and our main.js, both absolute. */
  readonly command: readonly string[]
  readonly stdin: NodeJS.ReadableStream & Terminal
  readonly stdout: NodeJS.WritableStream & Terminal
  readonly stderr: NodeJS.WritableStream & Terminal
  /** Standard error for a prompt, which moves the cursor: texts of others go through plainText first. */
  readonly prompt: NodeJS.WritableStream & Terminal
  /** While there is a listener, these signals do not end the process. Returns how to stop listening. */
  onSignal(listener: (signal: StopSignal) => void): () => void
  /** Sets where an uncaught error is reported before it ends the process. The default is stderr. */
  onCrash(report: (error: unknown) => void): void
}

/** The settings as flags again. */
export function asArguments(flags: ReadonlyMap<SettingName, string>): string[] {
  return [...flags].flatMap(([name, text]) => {
    if (SETTINGS[name].kind.placeholder !== '') return [`--${name}`, text]
    return text === 'true' ? [`--${name}`] : [`--no-${name}`]
  })
}

/** An option in the way that a setting of this kind is read. Errors: kind `config`. */
export function readOption<T>(
  options: ReadonlyMap<string, string>,
  name: string,
  kind: Pick<Kind<T, never>, 'parse'>,
): T | undefined {
  const text = options.get(name)
  try {
    return text === undefined ? undefined : kind.parse(text)
  } catch (error) {
    if (!(error instanceof ValueError)) throw error
    throw new ProxyError('config', `--${name} ${error.message}`)
  }
}
