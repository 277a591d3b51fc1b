/** Entries of registry.ts: the proxy as a service of the user. */

import { SETTING_NAMES } from '../../config/schema/table.js'
import { asArguments, type Command } from '../invocation/command.js'

export const SERVICE_COMMANDS: readonly Command[] = [
  {
    name: 'service',
    summary: 'run the proxy in the background, now and at each login',
    examples: ['service install my-instance --profile dev', 'service status'],
    subcommands: [
      {
        name: 'install',
        summary: 'install and start a systemd user unit or a launchd agent with these settings',
        operands: ['[TARGET...]'],
        settings: SETTING_NAMES,
        options: [{ flags: '--print', help: 'print the unit or agent, and install nothing' }],
        examples: [
          'service install my-instance --profile dev',
          'service install my-instance --print',
        ],
        async run({ operands, flags, options, surroundings, loadConfig }) {
          const { installService, runProgram } = await import('../service/service.js')
          const { settings } = await loadConfig()
          const args = [...operands, ...asArguments(flags)]
          const printOnly = options.has('print')
          return installService({ args, settings, printOnly }, { ...surroundings, run: runProgram })
        },
      },
      {
        name: 'uninstall',
        summary: 'stop and remove it, with all that it left',
        examples: ['service uninstall'],
        async run({ surroundings }) {
          const { runProgram, uninstallService } = await import('../service/service.js')
          return uninstallService({ ...surroundings, run: runProgram })
        },
      },
      {
        name: 'status',
        summary: 'say whether it runs, and where its log is',
        examples: ['service status'],
        async run({ surroundings }) {
          const { runProgram, serviceStatus } = await import('../service/service.js')
          return serviceStatus({ ...surroundings, run: runProgram })
        },
      },
    ],
  },
]
