/** One run of the command line. Wrong usage is one clear message and exit code 2. */

import { type Command as Commander, CommanderError } from 'commander'

import { type Config, loadConfig } from '../../config/resolve/config.js'
import { isSettingName, SETTINGS } from '../../config/schema/table.js'
import { describeFailure, errorKind, ProxyError } from '../../core/errors.js'
import { didYouMean, isNear } from '../../core/nearest.js'
import { forPeople } from '../../core/terminal.js'
import type { Command, ConfigRequest, Invocation, Surroundings } from '../invocation/command.js'
import { buildTree, flagsOf } from './command-tree.js'
import { COMMANDS, DEFAULT_COMMAND } from './registry.js'

/** Resolves to the exit code: 2 for wrong usage or settings, 1 for another failure, which it tells. */
export async function runCommandLine(
  argv: readonly string[],
  surroundings: Omit<Surroundings, 'prompt'>,
): Promise<number> {
  try {
    return await run(argv, surroundings)
  } catch (error) {
    surroundings.stderr.write(describeFailure(error))
    return errorKind(error) === 'config' ? 2 : 1
  }
}

/** Errors: those of the commands, and kind `config` for wrong usage. */
async function run(
  argv: readonly string[],
  { stdout, stderr, ...others }: Omit<Surroundings, 'prompt'>,
): Promise<number> {
  const people = { stdout: forPeople(stdout), stderr: forPeople(stderr) }
  const surroundings = { ...others, ...people, prompt: stderr }
  const dashes = argv.indexOf('--')
  const words = dashes === -1 ? argv : argv.slice(0, dashes)
  const program = dashes === -1 ? [] : argv.slice(dashes + 1)
  refuseMistypedCommand(words)

  let exitCode = 0
  let found: Commander | undefined
  const tree = buildTree({
    commands: COMMANDS,
    byDefault: DEFAULT_COMMAND,
    print: (text) => surroundings.stdout.write(text),
    async run(command, parsed) {
      found = parsed
      if (program.length > 0 && !command.takesProgram) {
        throw new ProxyError('config', `"${command.name}" takes nothing after --`)
      }
      exitCode = await command.run!(invocationOf(command, parsed, program, surroundings))
    },
  })
  for (const parent of [tree, ...tree.commands]) {
    parent.hook('preSubcommand', (_, subcommand) => {
      found = subcommand
    })
  }
  try {
    await tree.parseAsync([...words], { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) return 0
    throw usageError(error, found ?? tree, dashes !== -1)
  }
  return exitCode
}

/**
 * Without this, a mistyped command would be taken for a TARGET, and the workspace's answer would not
 * explain it. `start NAME` still means an instance of any name.
 */
function refuseMistypedCommand(words: readonly string[]): void {
  const [first] = words
  const names = COMMANDS.map(({ name }) => name)
  if (first !== undefined && !first.startsWith('-') && !names.includes(first)) {
    const meant = /^[a-z-]{3,}$/.test(first) ? names.find((name) => isNear(first, name)) : undefined
    if (meant !== undefined) {
      throw new ProxyError('config', `"${first}" is not a command`, {
        hint: `Did you mean "${meant}"? For an instance of that name: lakebase-proxy start ${first}`,
      })
    }
  }
  if (first?.startsWith('-')) {
    const late = words.find((word, at) => names.includes(word) && !takesValue(words[at - 1]))
    if (late !== undefined) {
      throw new ProxyError('config', `the command "${late}" stands after a flag`, {
        hint: `Put it first: lakebase-proxy ${late} …`,
      })
    }
  }
}

/** Whether the word after `flag` is its value. */
function takesValue(flag: string | undefined): boolean {
  const name = flag?.replace(/^--(no-(?!admin))?/, '') ?? ''
  return (
    flag?.startsWith('--') === true && isSettingName(name) && SETTINGS[name].kind.placeholder !== ''
  )
}

function invocationOf(
  command: Command,
  parsed: Commander,
  program: readonly string[],
  surroundings: Surroundings,
): Invocation {
  const flags = flagsOf(parsed)
  const options = new Map<string, string>()
  for (const { flags: written, default: byDefault } of command.options ?? []) {
    const name = /--([a-z-]+)/.exec(written)![1]!
    const option = parsed.options.find((each) => each.long === `--${name}`)!
    const value: unknown = parsed.getOptionValue(option.attributeName()) ?? byDefault
    if (value !== undefined) options.set(name, String(value))
  }
  const loadForThis = async (wanted: ConfigRequest = {}): Promise<Config> => {
    const { env, machine, uid, stderr } = surroundings
    const config = await loadConfig({ targets: parsed.args, flags, env, uid, machine, ...wanted })
    const notice = wanted.notice ?? ((text: string) => void stderr.write(`Notice: ${text}\n`))
    for (const each of config.notices) notice(each)
    return config
  }
  return {
    operands: parsed.args,
    program,
    options,
    flags,
    surroundings,
    loadConfig: loadForThis,
  }
}

/** commander's own words, with the nearest right one beside them. */
function usageError(error: CommanderError, command: Commander, hasDashes: boolean): ProxyError {
  const full = pathOf(command)
  if (error.code === 'commander.help') {
    const names = command.commands.map((each) => each.name()).join(', ')
    return new ProxyError('config', `"${full}" wants one of: ${names}`)
  }
  const message = error.message.replace(/^error: /, '')
  const wrong = /'([^']*)'/.exec(message)?.[1] ?? ''
  const candidates =
    error.code === 'commander.unknownOption'
      ? command.options.flatMap((option) => (option.hidden ? [] : [option.long!]))
      : error.code === 'commander.unknownCommand'
        ? command.commands.map((each) => each.name())
        : []
  const takesProgram = COMMANDS.some(
    ({ name, takesProgram }) => takesProgram && name === command.name(),
  )
  const otherwise =
    takesProgram && !hasDashes && STRAY_CODES.includes(error.code)
      ? `Put the program after two hyphens: ${full} TARGET -- CMD…`
      : `See ${full} --help.`
  const hint = didYouMean(wrong.replace(/=.*/s, ''), candidates) ?? otherwise
  return new ProxyError('config', withoutValue(message), { hint })
}

/** `'--password=x'` without what may be a secret. */
function withoutValue(message: string): string {
  const [equals, quote] = [message.indexOf('='), message.lastIndexOf("'")]
  return equals === -1 || quote < equals ? message : message.slice(0, equals) + message.slice(quote)
}

/** What a program's own words end in, where they stand before the hyphens. */
const STRAY_CODES = ['commander.unknownOption', 'commander.excessArguments']

function pathOf(command: Commander): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`
}
