/** A gateway in a process of its own, with a clock and a heap that a test can command. */

import { homedir } from 'node:os'
import { setImmediate as turn } from 'node:timers/promises'
import { writeHeapSnapshot } from 'node:v8'

import { settingsFromOptions } from '../../src/config/resolve/options.js'
import { silentLog } from '../../src/core/log.js'
import { Daemon } from '../../src/daemon/daemon.js'
import { workspaceOpener } from '../../src/daemon/workspace-opener.js'
import { FakeClock } from './fake-clock.js'

export type GatewayCommand =
  | { readonly do: 'advance'; readonly ms: number }
  | { readonly do: 'snapshot'; readonly file: string }

const [stateDir = homedir()] = process.argv.slice(2)
const clock = new FakeClock()
const { env } = process
const options = { targets: ['projects/demo'], port: 0, localAuth: 'databricks', localTls: 'auto' }
const daemon = await Daemon.start({
  settings: settingsFromOptions(options as Parameters<typeof settingsFromOptions>[0], env),
  openWorkspace: workspaceOpener({
    ...{ env, programEnv: {}, homeDir: stateDir, clock, log: silentLog },
  }),
  ...{ stateDir, log: silentLog, clock },
})

process.on('message', (command: GatewayCommand) => {
  void obey(command).then(() => process.send!('done'))
})
process.on('disconnect', () => process.exit())
process.send!(daemon.targets[0]!.listener.port)

async function obey(command: GatewayCommand): Promise<void> {
  switch (command.do) {
    case 'advance':
      return clock.advance(command.ms)
    case 'snapshot':
      for (let i = 0; i < 5; i++) {
        globalThis.gc!()
        await turn()
      }
      writeHeapSnapshot(command.file)
  }
}
