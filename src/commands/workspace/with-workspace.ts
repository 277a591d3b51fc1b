/** For commands that ask the workspace and end: signs in, runs `use`, closes. Ctrl-C ends its requests. */

import type { Config } from '../../config/resolve/config.js'
import type { TargetSettings } from '../../config/resolve/settings.js'
import { systemClock } from '../../core/clock.js'
import { ProxyError } from '../../core/errors.js'
import { oneLine } from '../../core/plain-text.js'
import { workspaceOpener } from '../../daemon/workspace-opener.js'
import type { ConnectedWorkspace } from '../../databricks/lakebase/connect-workspace.js'
import type { Invocation, Surroundings } from '../invocation/command.js'
import { noticeLog } from '../invocation/notice-log.js'

export interface WorkspaceUse {
  readonly workspace: ConnectedWorkspace
  readonly signal: AbortSignal
}

/** Errors: kind `config` when nothing says how to sign in, and those of `use`. */
export async function withWorkspace<T>(
  config: Pick<Config, 'databricksEnv' | 'programEnv'>,
  named: Pick<TargetSettings, 'databricksHost' | 'profile'>,
  surroundings: Pick<Surroundings, 'machine' | 'stderr' | 'onSignal'>,
  use: (given: WorkspaceUse) => Promise<T>,
): Promise<T> {
  const interrupted = new AbortController()
  const stopListening = surroundings.onSignal(() => {
    interrupted.abort(new ProxyError('stopping', 'interrupted'))
  })
  const open = workspaceOpener({
    env: config.databricksEnv,
    programEnv: config.programEnv,
    homeDir: surroundings.machine.homeDir,
    clock: systemClock,
    log: noticeLog(surroundings.stderr),
  })
  try {
    const workspace = await open(named)
    try {
      return await use({ workspace, signal: interrupted.signal })
    } finally {
      await workspace.close()
    }
  } finally {
    stopListening()
  }
}

/** For a command without a TARGET: the sign-in of the first target, or that which was set for all. */
export async function withSignIn<T>(
  { loadConfig, surroundings }: Pick<Invocation, 'loadConfig' | 'surroundings'>,
  use: (given: WorkspaceUse) => Promise<T>,
): Promise<T> {
  const config = await loadConfig({ targets: [], targetOptional: true })
  return withWorkspace(config, config.settings.targets[0] ?? config.signIn, surroundings, use)
}

/** Columns as wide as they need to be. */
export function table(cells: readonly (readonly string[])[]): string {
  const rows = cells.map((row) => row.map(oneLine))
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd()
  return `${rows.map(line).join('\n')}\n`
}
