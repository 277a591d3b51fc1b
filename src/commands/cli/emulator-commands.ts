/** Entries of registry.ts: demo and emulator, which need no Databricks account. */

import { duration, wholeNumber } from '../../config/schema/values.js'
import { type Command, readOption } from '../invocation/command.js'

export const EMULATOR_COMMANDS: readonly Command[] = [
  {
    name: 'demo',
    summary: 'try it: an emulated workspace, a real PostgreSQL, and the proxy in front',
    options: [
      { flags: '--once', help: 'query across several token expiries, say what happened, and end' },
    ],
    examples: ['demo', 'demo --once'],
    async run({ options, surroundings }) {
      const { stdout, onSignal } = surroundings
      const { runDemo } = await import('../proxy/demo.js')
      const { untilSignal } = await import('../proxy/stop.js')
      const once = options.has('once')
      return untilSignal(onSignal, (signal) =>
        runDemo({ once, stdout, signal, place: surroundings }),
      )
    },
  },
  {
    name: 'emulator',
    summary: 'the emulated workspace alone; prints the environment to export',
    options: [
      { flags: '--token-ttl <DURATION>', help: 'life of database credentials (default: 1h)' },
      {
        flags: '--port <PORT>',
        help: 'of the workspace API; the next two are PostgreSQL and DNS (default: free ones)',
      },
      { flags: '--output <FOLDER>', help: 'write .env and ca.pem there too' },
    ],
    examples: ['emulator --token-ttl 30s', 'emulator --port 8080'],
    async run({ options, surroundings: { stdout, stderr, onSignal } }) {
      const { runEmulator } = await import('../proxy/emulator.js')
      const { untilSignal } = await import('../proxy/stop.js')
      const given = {
        tokenTtlMs: readOption(options, 'token-ttl', duration(1)),
        port: readOption(options, 'port', wholeNumber('port', 65_533)),
        output: options.get('output'),
      }
      return untilSignal(onSignal, (signal) => runEmulator({ ...given, stdout, stderr, signal }))
    },
  },
]
