/**
 * lakebase-proxy as a library: the same proxy, in your process, with no effect on anything else in
 * it: no signal handler, no admin port unless asked for, no log unless given one.
 */

import { homedir, platform } from 'node:os'
import { gitRunner } from '../branches/repository.js'
import {
  type ProxyOptions,
  settingsFromOptions,
  type TargetOptions,
} from '../config/resolve/options.js'
import { systemClock } from '../core/clock.js'
import { ProxyError } from '../core/errors.js'
import { type Log, silentLog } from '../core/log.js'
import { Daemon } from './daemon.js'
import { stateDir } from './state-dir.js'
import { workspaceOpener } from './workspace-opener.js'

export { ProxyError, type ProxyOptions, type TargetOptions }

export interface StartProxyOptions extends ProxyOptions {
  /** Where DATABRICKS_* and LAKEBASE_PROXY_* variables are read from; the process's, if left out. */
  env?: Readonly<Record<string, string | undefined>>
  /** A pino logger, or anything like it. */
  log?: Log
}

export interface TargetAddress {
  /** The target as it was named. */
  readonly target: string
  /** The port on each of the addresses. */
  readonly port: number
  /** Such as `127.0.0.1:5432`, or the path of a Unix socket. */
  readonly addresses: readonly string[]
}

export interface RunningProxy {
  readonly addresses: readonly TargetAddress[]
  /** Such as `http://127.0.0.1:9090`; undefined unless an admin port was asked for. */
  readonly adminUrl: string | undefined
  /** Refuses new clients, closes idle ones, gives the others `drainTimeout`. True when none was cut short. */
  drain(): Promise<boolean>
  /** Ends every session now. Safe to call twice. */
  close(): Promise<void>
}

/**
 * Listens for every target, then resolves; signing in goes on in the background. Errors: a ProxyError of kind
 * `config`, with every problem of the options, or a port that cannot be listened on.
 */
export async function startProxy(options: StartProxyOptions): Promise<RunningProxy> {
  const { env = process.env, log = silentLog, ...settings } = options
  const homeDir = homedir()
  const daemon = await Daemon.start({
    settings: settingsFromOptions(settings, env),
    openWorkspace: workspaceOpener({
      env,
      programEnv: env,
      homeDir,
      clock: systemClock,
      log,
    }),
    runGit: gitRunner({ programEnv: env, homeDir, platform: platform() }),
    stateDir: stateDir(env, homeDir),
    log,
  })
  return {
    get addresses() {
      return daemon.targets.map(({ settings: { name }, listener: { port, addresses } }) => ({
        target: name,
        port,
        addresses,
      }))
    },
    adminUrl: daemon.adminUrl,
    drain: () => daemon.drain(),
    close: () => daemon.close(),
  }
}
