/** Opens workspaces as targets name them; what that needs is loaded only when one does. */

import type { Clock } from '../clock.js'
import type { TargetSettings } from '../config/settings.js'
import { packageVersion } from '../config/version.js'
import type { Log } from '../log.js'
import type { ConnectedWorkspace } from '../workspace/connect-workspace.js'

export interface WorkspaceOpenerOptions {
  /** Variables of the process and of `.env`, already merged. */
  env: Readonly<Record<string, string | undefined>>
  homeDir: string
  clock: Clock
  log: Log
}

export type OpenWorkspace = (
  target: Pick<TargetSettings, 'databricksHost' | 'profile'>,
) => Promise<ConnectedWorkspace>

/** The returned function's errors: kind `config`, when the settings for signing in do not suffice. */
export function workspaceOpener(options: WorkspaceOpenerOptions): OpenWorkspace {
  return async ({ databricksHost, profile }) => {
    const { openWorkspace } = await import('../workspace/connect-workspace.js')
    return openWorkspace({ ...options, version: packageVersion(), databricksHost, profile })
  }
}
