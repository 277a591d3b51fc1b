/** Entries of the registry: the commands that ask a proxy which is running. */

import type { SettingName } from '../../config/schema/table.js'
import type { Command } from './command.js'

/** The settings that say where the admin port is. */
const ADMIN_SETTINGS: readonly SettingName[] = ['admin-address', 'admin-port', 'config', 'env-file']

export const RUNNING_COMMANDS: readonly Command[] = [
  {
    name: 'status',
    summary: 'show the state of the running proxy',
    settings: ADMIN_SETTINGS,
    options: [{ flags: '--json', help: 'as JSON, as GET /status answers it' }],
    examples: ['status', 'status --json'],
    async run(invocation) {
      const { showStatus } = await import('../proxy/status.js')
      return showStatus(invocation)
    },
  },
  {
    name: 'wait',
    summary: 'wait until the running proxy is ready',
    settings: ADMIN_SETTINGS,
    options: [
      { flags: '--timeout <DURATION>', help: 'how long, before it has failed', default: '30s' },
    ],
    examples: ['wait', 'wait --timeout 2m && npm start'],
    async run(invocation) {
      const { waitUntilReady } = await import('../proxy/wait.js')
      return waitUntilReady(invocation)
    },
  },
  {
    name: 'shutdown',
    summary: 'let the sessions of the running proxy go, and stop it',
    settings: ADMIN_SETTINGS,
    options: [
      { flags: '--timeout <DURATION>', help: 'how long to wait for its end', default: '60s' },
    ],
    examples: ['shutdown'],
    async run(invocation) {
      const { shutDown } = await import('../proxy/wait.js')
      return shutDown(invocation)
    },
  },
]
