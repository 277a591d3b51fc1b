/**
 * The child of proxy-process.ts: a daemon, a clock that its parent may set, and answers about what
 * this process holds. An unhandled error ends it with a message.
 */

import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'

import { settingsFromOptions } from '../../src/config/resolve/options.js'
import type { Log } from '../../src/core/log.js'
import { Daemon } from '../../src/daemon/daemon.js'
import { workspaceOpener } from '../../src/daemon/workspace-opener.js'
import type { ChildConfig, ChildReport, ChildState, ParentRequest } from './proxy-process.js'
import { SettableClock } from './world.js'

const config = JSON.parse(process.argv[2]!) as ChildConfig
const clock = new SettableClock()
const said: Record<string, number> = {}
const bugs: string[] = []
const log = countingLog()
const daemon = await Daemon.start({
  settings: settingsFromOptions(config.options, config.env),
  openWorkspace: workspaceOpener({
    env: config.env,
    programEnv: {},
    homeDir: tmpdir(),
    clock,
    log,
  }),
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

/** Counts lines instead of keeping them: this process's memory is what is measured. */
function countingLog(): Log {
  const level = (name: string) => (facts: unknown, message?: string) => {
    const { outcome, err } = facts as { outcome?: string; err?: unknown }
    const text = message ?? String(facts)
    if (name === 'error' || name === 'fatal') bugs.push(`${text}: ${String(err ?? '')}`)
    const what = text === 'session ended' ? `ended: ${outcome}` : `${name}: ${text}`
    said[what] = (said[what] ?? 0) + 1
  }
  const quiet = (): void => {}
  return {
    trace: quiet,
    debug: quiet,
    info: level('info'),
    warn: level('warn'),
    error: level('error'),
    fatal: level('fatal'),
  }
}
