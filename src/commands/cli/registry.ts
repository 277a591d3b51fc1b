/**
 * Every command of the command line. To add one, add its entry to the list it belongs to: parsing,
 * help, "did you mean" and completion follow. `run` loads what the command needs, when it runs.
 */

import { ProxyError } from '../../core/errors.js'
import type { Command } from '../invocation/command.js'
import { EMULATOR_COMMANDS } from './emulator-commands.js'
import { PROXY_COMMANDS } from './proxy-commands.js'
import { RUNNING_COMMANDS } from './running-commands.js'
import { SERVICE_COMMANDS } from './service-commands.js'
import { WORKSPACE_COMMANDS } from './workspace-commands.js'

/** The command that runs when none is named. */
export const DEFAULT_COMMAND = 'start'

const SHELL_COMMANDS: readonly Command[] = [
  {
    name: 'completion',
    summary: 'print a script that completes commands and flags in your shell',
    operands: ['<bash|zsh|fish>'],
    examples: ['completion bash > ~/.local/share/bash-completion/completions/lakebase-proxy'],
    async run({ operands: [shell], surroundings }) {
      const { completionScript, SHELLS } = await import('./completion.js')
      const { buildWholeTree } = await import('./command-tree.js')
      const known = SHELLS.find((each) => each === shell)
      if (known === undefined) {
        throw new ProxyError('config', `"${shell}" is not a shell that completion is written for`, {
          hint: `There are ${SHELLS.join(', ')}.`,
        })
      }
      const ignore = async (): Promise<void> => {}
      const tree = buildWholeTree({
        commands: COMMANDS,
        byDefault: DEFAULT_COMMAND,
        print() {},
        run: ignore,
      })
      surroundings.stdout.write(completionScript(known, tree, DEFAULT_COMMAND))
      return 0
    },
  },
]

/** In the order of the help. */
export const COMMANDS: readonly Command[] = [
  ...PROXY_COMMANDS,
  ...RUNNING_COMMANDS,
  ...WORKSPACE_COMMANDS,
  ...SERVICE_COMMANDS,
  ...EMULATOR_COMMANDS,
  ...SHELL_COMMANDS,
]
