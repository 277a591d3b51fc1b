/**
 * The tree of commands and flags as commander has it, made from the registry and the table of
 * settings. The help text, the parsing and the shell completion all read this one tree.
 */

import { Command as Commander, Help, Option } from 'commander'

import type { Setting } from '../../config/schema/setting.js'
import { SECTIONS, SETTINGS, type SettingName, variableOf } from '../../config/schema/table.js'
import { packageVersion } from '../../core/version.js'
import type { Command } from '../invocation/command.js'

export interface TreeOptions {
  readonly commands: readonly Command[]
  /** The command that runs when none is named. */
  readonly byDefault: string
  /** Where help goes. */
  readonly print: (text: string) => void
  readonly run: (command: Command, parsed: Commander) => Promise<void>
}

/** Commands without their flags and subcommands yet, and how each gets them. */
type Unfinished = Map<Commander, () => void>

/** A command gets its flags and subcommands when it is about to run; all get theirs for a help text. */
export function buildTree(options: TreeOptions): Commander {
  const unfinished: Unfinished = new Map()
  const root = buildRoot(options, unfinished)
  for (const parent of [root, ...root.commands]) {
    // A thousand flags for one command take longer than all else that it does to start.
    parent.hook('preSubcommand', (_, command) => unfinished.get(command)?.())
  }
  return root.addHelpText('beforeAll', () => {
    finish(unfinished)
    return ''
  })
}

/** With every flag of every command at once: for the completion script. */
export function buildWholeTree(options: TreeOptions): Commander {
  const unfinished: Unfinished = new Map()
  const root = buildRoot(options, unfinished)
  finish(unfinished)
  return root
}

function finish(unfinished: Unfinished): void {
  // Subcommands that are added meanwhile are visited too.
  for (const add of unfinished.values()) add()
}

function buildRoot(options: TreeOptions, unfinished: Unfinished): Commander {
  const { commands, byDefault, print, run } = options
  const root = new Commander('lakebase-proxy')
    .description(
      'Lets any PostgreSQL client connect to Databricks Lakebase, with no token to paste.',
    )
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .configureOutput({ writeOut: print, writeErr: () => {} })
    .configureHelp({ showGlobalOptions: false })
    .showSuggestionAfterError(false)
    .exitOverride()
    .usage('[start] [TARGET[?OPTION=VALUE&…]]… [flags]')
    .addHelpText('after', () => TARGETS_HELP + examplesOf(commands.flatMap(firstExample)))
  for (const command of commands) {
    addCommand(root, command, run, unfinished, command.name === byDefault)
  }
  return root
}

const TARGETS_HELP = `
TARGET:
  my-instance                             a Provisioned database instance
  projects/P[/branches/B[/endpoints/E]]   an Autoscaling endpoint
  instance-….database.…, ep-….database.…  a Lakebase host name
  postgresql://user:password@host/db      a native Postgres role, no workspace

"lakebase-proxy start --help" lists every setting.
`

function addCommand(
  parent: Commander,
  command: Command,
  run: TreeOptions['run'],
  unfinished: Unfinished,
  isDefault = false,
): void {
  const made = parent.command(command.name, { isDefault }).summary(command.summary)
  unfinished.set(made, () => {
    unfinished.delete(made)
    completeCommand(made, command, isDefault)
    for (const each of command.subcommands ?? []) addCommand(made, each, run, unfinished)
    if (command.run !== undefined) made.action(() => run(command, made))
  })
}

function completeCommand(made: Commander, command: Command, isDefault: boolean): void {
  made
    .description(sentence(command.summary))
    .helpOption('-h, --help', 'print help')
    .helpCommand(false)
  for (const operand of command.operands ?? []) made.argument(operand)
  if (command.takesProgram) made.usage(`${(command.operands ?? []).join(' ')} [flags] -- CMD…`)
  for (const { flags, help, choices, default: byDefault } of command.options ?? []) {
    const option = new Option(
      flags,
      byDefault === undefined ? help : `${help} (default: ${byDefault})`,
    )
    if (choices !== undefined) option.choices(choices)
    made.addOption(option)
  }
  addSettings(made, command.settings ?? [])
  if (!isDefault) hideSettings(made, command.settings ?? [])
  const settingsNote = isDefault || command.settings === undefined ? '' : OTHER_SETTINGS_NOTE
  made.addHelpText('after', (command.notes ?? '') + settingsNote + examplesOf(command.examples))
}

/** Flags of the settings, under the headings of the table. */
function addSettings(made: Commander, names: readonly SettingName[]): void {
  for (const [section, rows] of Object.entries(SECTIONS)) {
    for (const name of Object.keys(rows) as SettingName[]) {
      if (!names.includes(name)) continue
      for (const option of settingOptions(name)) made.addOption(option.helpGroup(`${section}:`))
    }
  }
}

/** Fifty flags of settings would hide the few of the command itself. */
function hideSettings(made: Commander, names: readonly string[]): void {
  const visibleOptions = (command: Commander): Option[] =>
    new Help().visibleOptions(command).filter((option) => !names.includes(option.name()))
  made.configureHelp({ showGlobalOptions: false, visibleOptions })
}

const OTHER_SETTINGS_NOTE = `
It takes settings as flags too, those that "lakebase-proxy start --help" lists.
`

function settingOptions(name: SettingName): Option[] {
  const { kind, help, perTarget, default: byDefault }: Setting = SETTINGS[name]
  const isSwitch = kind.placeholder === ''
  const marks = [
    ...(perTarget ? ['[t]'] : []),
    ...(byDefault === undefined || isSwitch ? [] : [`(default: ${byDefault})`]),
  ]
  const text = [help, ...marks].join(' ')
  if (!isSwitch) return [new Option(`--${name} <${kind.placeholder}>`, text)]
  const option = new Option(`--${name}`, text)
  if (option.negate) return [option]
  // So that a flag can take back what a file says.
  return [option, new Option(`--no-${name}`).hideHelp()]
}

/** The settings given as flags, as they were written. */
export function flagsOf(parsed: Commander): Map<SettingName, string> {
  const flags = new Map<SettingName, string>()
  for (const name of Object.keys(SETTINGS) as SettingName[]) {
    const attribute = new Option(`--${name}`).attributeName()
    if (parsed.getOptionValueSource(attribute) !== 'cli') continue
    const value: unknown = parsed.getOptionValue(attribute)
    // commander reads --no-admin as the negation of an option "admin".
    flags.set(name, String(name.startsWith('no-') ? !value : value))
  }
  return flags
}

/** The flags that stand in a command's help for those of `start`. */
export const SETTINGS_NOTE = `
Each flag is also a variable, as ${variableOf('drain-timeout')} is --drain-timeout, and a key
of the YAML file (--config), as drain-timeout: is. Flags win over the environment, that
over .env, that over the file. [t] may also stand in a TARGET: my-instance?port=5433.
`

function firstExample(command: Command): readonly string[] {
  return command.examples.slice(0, 1)
}

function examplesOf(lines: readonly string[]): string {
  const each = lines.map((line) => `  lakebase-proxy ${line}`.trimEnd())
  return `\n${each.length === 1 ? 'Example' : 'Examples'}:\n${each.join('\n')}\n`
}

function sentence(summary: string): string {
  return `${summary[0]!.toUpperCase()}${summary.slice(1)}.`
}
