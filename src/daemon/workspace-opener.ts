/** Opens workspaces as targets name them; what that needs is loaded only when one does. */

import type { TargetSettings } from '../config/resolve/settings.js'
import { packageVersion } from '../core/version.js'
import type {
  ConnectedWorkspace,
  OpenWorkspaceOptions,
} from '../databricks/lakebase/connect-workspace.js'

export interface WorkspaceOpenerOptions
  extends Pick<OpenWorkspaceOptions, 'env' | 'programEnv' | 'homeDir' | 'clock' | 'log'> {
  /** True when a person waits for the answer: then nothing is tried again. */
  oneTry?: boolean
}

export type OpenWorkspace = (
  target: Pick<TargetSettings, 'databricksHost' | 'profile'>,
  /** How long clients wait at most; left out where none do. */
  connectTimeoutMs?: number,
) => Promise<ConnectedWorkspace>

// A client is told why the workspace cannot be asked only if that is known before its time is up,
// and one request that hangs must leave time for another.
const BUDGET_SHARE = 0.9
const MAX_BUDGET_MS = 30_000
const ATTEMPT_SHARE = 0.5
const MAX_ATTEMPT_MS = 10_000

/** The returned function's errors: kind `config`, when the settings for signing in do not suffice. */
export function workspaceOpener(options: WorkspaceOpenerOptions): OpenWorkspace {
  return async ({ databricksHost, profile }, connectTimeoutMs = Number.POSITIVE_INFINITY) => {
    const { openWorkspace } = await import('../databricks/lakebase/connect-workspace.js')
    return openWorkspace({
      ...options,
      version: packageVersion(),
      databricksHost,
      profile,
      ...(options.oneTry ? { retries: 0 } : {}),
      budgetMs: Math.min(MAX_BUDGET_MS, BUDGET_SHARE * connectTimeoutMs),
      attemptMs: Math.min(MAX_ATTEMPT_MS, ATTEMPT_SHARE * connectTimeoutMs),
    })
  }
}
