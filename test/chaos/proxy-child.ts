/**
 * The child of proxy-process.ts: a daemon, a clock that its parent may set, and answers about what
 * this process holds. Whatever goes unhandled here ends it with a message.
 */

import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'

import { settingsFromOptions } from '../../src/config/options.js'
import { Daemon } from '../../src/daemon/daemon.js'
import { workspaceOpener } from '../../src/daemon/workspace-opener.js'
import { recordedLog } from '../support/recorded-log.js'
import type { ChildConfig, ChildReport, ChildState, ParentRequest } from './proxy-process.js'
import { SettableClock } from './world.js'

const config = JSON.parse(process.argv[2]!) as ChildConfig
const clock = new SettableClock()
const log = recordedLog()
const daemon = await Daemon.start({
  settings: settingsFromOptions(config.options, config.env),
  openWorkspace: workspaceOpener({ env: config.env, homeDir: tmpdir(), clock, log }),
  stateDir: config.stateDir,
  log,
  clock,
})
await Promise.all(daemon.targets.map((target) => target.prime()))
process.on('message', (request: ParentRequest) => void answer(request))
process.once('disconnect', orphaned)
report({ type: 'listening', ports: daemon.targets.map(({ listener }) => listener.port) })

async function answer(request: ParentRequest): Promise<void> {
  switch (request.ask) {
    case 'state':
      return report({ type: 'state', id: request.id, state: state() })
    case 'clock':
      clock.aheadMs = request.aheadMs
      return report({ type: 'state', id: request.id, state: state() })
    case 'close': {
      await daemon.close()
      // Handles are closed in the loop's next turn.
      await new Promise((resolve) => setTimeout(resolve, 100))
      report({ type: 'state', id: request.id, state: state() })
      process.off('disconnect', orphaned)
      process.disconnect()
    }
  }
}

function orphaned(): never {
  process.exit(3)
}

function state(): ChildState {
  const resources: Record<string, number> = {}
  for (const name of process.getActiveResourcesInfo()) resources[name] = (resources[name] ?? 0) + 1
  if (globalThis.gc !== undefined) globalThis.gc()
  const { rss, heapUsed, external } = process.memoryUsage()
  const said: Record<string, number> = {}
  for (const { level, facts, message } of log.lines) {
    if (level === 'debug' || level === 'trace') continue
    const what = message === 'session ended' ? `ended: ${facts.outcome}` : `${level}: ${message}`
    said[what] = (said[what] ?? 0) + 1
  }
  const bugs = log.lines
    .filter(({ level }) => level === 'error' || level === 'fatal')
    .map(({ message, facts }) => `${message}: ${String(facts.err ?? '')}`)
  return {
    sessions: daemon.targets.flatMap(({ listener }) => [...listener.sessions]).length,
    files: openFiles(),
    rssBytes: rss,
    heapBytes: heapUsed + external,
    ...{ resources, said, bugs },
  }
}

/** Sockets among them; undefined where there is no /proc. */
function openFiles(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return undefined
  }
}

function report(message: ChildReport): void {
  process.send!(message)
}
