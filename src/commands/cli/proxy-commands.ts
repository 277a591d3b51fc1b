/** Entries of registry.ts: the commands that run a proxy, or say where it is. */

import { SETTING_NAMES } from '../../config/schema/table.js'
import type { Command, ConfigRequest, Surroundings } from '../invocation/command.js'
import { SETTINGS_NOTE } from './command-tree.js'

type PickTarget = ConfigRequest['pickTarget']

export const PROXY_COMMANDS: readonly Command[] = [
  {
    name: 'start',
    summary: 'start the proxy (the command when none is named)',
    operands: ['[TARGET...]'],
    settings: SETTING_NAMES,
    notes: SETTINGS_NOTE,
    examples: [
      'my-instance',
      'projects/shop --port 6000',
      "dev-db 'prod-db?port=5433&profile=prod&read-only'",
    ],
    async run({ surroundings, loadConfig }) {
      const { start } = await import('../proxy/start.js')
      const pickTarget = await pickerFor(surroundings)
      return start({
        surroundings,
        loadConfig: (notice) => loadConfig({ notice, pickTarget }),
      })
    },
  },
  {
    name: 'url',
    summary: 'print the local address in the form a tool wants',
    operands: ['[TARGET]'],
    settings: SETTING_NAMES,
    options: [
      {
        flags: '--format <FORM>',
        help: 'what to print',
        choices: ['psql', 'uri', 'env', 'dotenv', 'jdbc', 'sqlalchemy', 'pgservice', 'dbeaver'],
        default: 'uri',
      },
    ],
    examples: ['url my-instance --format jdbc', 'url my-instance --format dotenv >> .env'],
    run: async (given) => (await import('../proxy/url.js')).printUrl(given),
  },
  {
    name: 'exec',
    summary: 'run a program with a proxy of its own',
    operands: ['[TARGET]'],
    takesProgram: true,
    settings: SETTING_NAMES,
    notes: `
The program finds PGHOST, PGPORT, PGUSER, PGDATABASE, PGSSLMODE and LAKEBASE_PG_URL in its
environment. The exit code is the program's.
`,
    examples: [
      "exec my-instance -- psql -c 'select 1'",
      'exec -- npm run migrate',
      'exec --branch-from projects/shop -- npm test',
    ],
    async run(invocation) {
      const { exec } = await import('../proxy/exec.js')
      return exec(invocation, await pickerFor(invocation.surroundings))
    },
  },
]

/** Asks only when both stdin and stderr are a terminal, so that a person can answer. */
async function pickerFor(surroundings: Surroundings): Promise<PickTarget> {
  const { stdin, stderr } = surroundings
  if (!stdin.isTTY || !stderr.isTTY) return undefined
  const { pickTarget } = await import('../workspace/pick-target.js')
  let picked: Promise<string> | undefined
  // Asked once: settings that are read again keep the answer.
  return (known) => {
    picked ??= pickTarget(known, surroundings)
    return picked
  }
}
