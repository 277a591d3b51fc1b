/**
 * Every command of the command line, one entry each. To add one, add its entry here: parsing,
 * help, "did you mean" and completion follow. `run` loads what the command needs, when it runs.
 */

import { SETTING_NAMES, SETTINGS, type SettingName } from '../config/table.js'
import { ProxyError } from '../errors.js'
import type { Command, ConfigRequest, Surroundings } from './command.js'
import { SETTINGS_NOTE } from './command-tree.js'
import type { ServiceMachine } from './service.js'

type PickTarget = ConfigRequest['pickTarget']

/** The flag for targets is TARGET itself; its variable and file key are the table's. */
const ALL_SETTINGS = SETTING_NAMES

export const COMMANDS: readonly Command[] = [
  {
    name: 'start',
    summary: 'start the proxy (the command when none is named)',
    operands: ['[TARGET...]'],
    settings: ALL_SETTINGS,
    notes: SETTINGS_NOTE,
    examples: [
      'my-instance',
      'projects/shop --port 6000',
      "dev-db 'prod-db?port=5433&profile=prod&read-only'",
    ],
    async run({ surroundings, loadConfig }) {
      const { start } = await import('./start.js')
      return start({
        surroundings,
        loadConfig: async (notice) =>
          loadConfig({ notice, pickTarget: await pickerFor(surroundings) }),
      })
    },
  },
  {
    name: 'url',
    summary: 'print the local address in the form a tool wants',
    operands: ['[TARGET]'],
    settings: ALL_SETTINGS,
    options: [
      {
        flags: '--format <FORM>',
        help: 'what to print',
        choices: ['psql', 'uri', 'env', 'dotenv', 'jdbc', 'sqlalchemy', 'pgservice', 'dbeaver'],
        default: 'uri',
      },
    ],
    examples: ['url --format jdbc', 'url my-instance --format dotenv >> .env'],
    async run(invocation) {
      const { urlText, URL_FORMATS } = await import('./url.js')
      const { oneTarget } = await import('./one-target.js')
      const { config, target } = await oneTarget(invocation)
      const format = URL_FORMATS.find((each) => each === invocation.options.get('format'))!
      const { stdout } = invocation.surroundings
      stdout.write(urlText({ format, target, settings: config.settings }))
      return 0
    },
  },
  {
    name: 'exec',
    summary: 'run a program with a proxy of its own',
    operands: ['[TARGET]'],
    takesProgram: true,
    settings: ALL_SETTINGS,
    notes: `
The program finds PGHOST, PGPORT, PGUSER, PGDATABASE, PGSSLMODE and LAKEBASE_PG_URL in its
environment. The exit code is the program's.
`,
    examples: ["exec my-instance -- psql -c 'select 1'", 'exec -- npm run migrate'],
    async run(invocation) {
      const { exec } = await import('./exec.js')
      return exec(invocation, await pickerFor(invocation.surroundings))
    },
  },
  {
    name: 'service',
    summary: 'run the proxy in the background, now and at each login',
    examples: ['service install my-instance --profile dev', 'service status'],
    subcommands: [
      {
        name: 'install',
        summary: 'install and start a systemd user unit or a launchd agent with these settings',
        operands: ['[TARGET...]'],
        settings: ALL_SETTINGS,
        options: [{ flags: '--print', help: 'print it instead' }],
        examples: [
          'service install my-instance --profile dev',
          'service install my-instance --print',
        ],
        async run({ operands, flags, options, surroundings, loadConfig }) {
          const { installService } = await import('./service.js')
          const { settings } = await loadConfig()
          const args = [...operands, ...asArguments(flags)]
          const printOnly = options.has('print')
          return installService({ args, settings, printOnly }, await serviceMachine(surroundings))
        },
      },
      {
        name: 'uninstall',
        summary: 'stop and remove it, with all that it left',
        examples: ['service uninstall'],
        async run({ surroundings }) {
          const { uninstallService } = await import('./service.js')
          return uninstallService(await serviceMachine(surroundings))
        },
      },
      {
        name: 'status',
        summary: 'say whether it runs, and where its log is',
        examples: ['service status'],
        async run({ surroundings }) {
          const { serviceStatus } = await import('./service.js')
          return serviceStatus(await serviceMachine(surroundings))
        },
      },
    ],
  },
  {
    name: 'completion',
    summary: 'print a script that completes commands and flags in your shell',
    operands: ['<bash|zsh|fish>'],
    examples: ['completion bash > ~/.local/share/bash-completion/completions/lakebase-proxy'],
    async run({ operands: [shell], surroundings }) {
      const { completionScript, SHELLS } = await import('./completion.js')
      const { buildTree } = await import('./command-tree.js')
      const known = SHELLS.find((each) => each === shell)
      if (known === undefined) {
        throw new ProxyError('config', `"${shell}" is not a shell that completion is written for`, {
          hint: `There are ${SHELLS.join(', ')}.`,
        })
      }
      const ignore = async (): Promise<void> => {}
      const tree = buildTree({ commands: COMMANDS, byDefault: 'start', print() {}, run: ignore })
      surroundings.stdout.write(completionScript(known, tree))
      return 0
    },
  },
]

/** Somebody who can be asked sits at both ends of the terminal. */
async function pickerFor(surroundings: Surroundings): Promise<PickTarget> {
  const { stdin, stderr } = surroundings
  if (!stdin.isTTY || !stderr.isTTY) return undefined
  const { pickTarget } = await import('./pick-target.js')
  return (known) => pickTarget(known, surroundings)
}

async function serviceMachine(surroundings: Surroundings): Promise<ServiceMachine> {
  const { runProgram } = await import('./service.js')
  const { env, machine, uid, command, stdout, stderr } = surroundings
  return {
    platform: machine.platform,
    homeDirectory: machine.homeDir,
    uid,
    run: runProgram,
    print: (text) => void stdout.write(text),
    notice: (text) => void stderr.write(`${text}\n`),
    environment: env,
    workingDirectory: machine.cwd,
    command,
  }
}

/** Settings as the flags they were given as. */
function asArguments(flags: ReadonlyMap<SettingName, string>): string[] {
  return [...flags].flatMap(([name, text]) => {
    if (SETTINGS[name].kind.placeholder !== '') return [`--${name}`, text]
    return text === 'true' ? [`--${name}`] : [`--no-${name}`]
  })
}
