/** Entries of registry.ts: the commands that ask the proxies that run. */

import type { SettingName } from '../../config/schema/table.js'
import type { Command } from '../invocation/command.js'

/** The settings that say where the admin interface is. */
const ADMIN_SETTINGS: readonly SettingName[] = [
  ...(['admin-address', 'admin-port', 'admin-socket', 'config', 'env-file'] as const),
]

const FOUND_NOTE = `
Your running proxies are found by themselves, wherever their ports are. --admin-port or
--admin-socket names one of another user or of a container.
`

export const RUNNING_COMMANDS: readonly Command[] = [
  {
    name: 'status',
    summary: 'show your running proxies',
    operands: ['[TARGET]'],
    settings: ADMIN_SETTINGS,
    options: [{ flags: '--json', help: 'as GET /status answers it; a list where several run' }],
    notes: FOUND_NOTE,
    examples: ['status', 'status my-instance', 'status --json'],
    run: async (given) => (await import('../running/status.js')).showStatus(given),
  },
  {
    name: 'wait',
    summary: 'wait until a running proxy is ready',
    operands: ['[TARGET]'],
    settings: ADMIN_SETTINGS,
    options: [
      { flags: '--timeout <DURATION>', help: 'how long to wait at most', default: '30s' },
      { flags: '--all', help: 'until all of yours are ready' },
    ],
    notes: FOUND_NOTE,
    examples: ['wait', 'wait my-instance', 'wait --timeout 2m && npm start'],
    run: async (given) => (await import('../running/wait.js')).waitUntilReady(given),
  },
  {
    name: 'shutdown',
    summary: 'let the sessions of a running proxy go, and stop it',
    operands: ['[TARGET]'],
    settings: ADMIN_SETTINGS,
    options: [
      { flags: '--timeout <DURATION>', help: 'how long to wait for its end', default: '60s' },
      { flags: '--all', help: 'stop all of yours' },
    ],
    notes: FOUND_NOTE,
    examples: ['shutdown', 'shutdown my-instance', 'shutdown --all'],
    run: async (given) => (await import('../running/shutdown.js')).shutDown(given),
  },
]
