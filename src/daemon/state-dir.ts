/** The folder in which this tool keeps files of its own for a user, such as the local authority. */

import { join } from 'node:path'

/**
 * XDG_STATE_HOME, or else LOCALAPPDATA (Windows), or else `~/.local/state`; the folder may not exist.
 * https://specifications.freedesktop.org/basedir-spec/latest/
 */
export function stateDir(
  env: Readonly<Record<string, string | undefined>>,
  homeDir: string,
): string {
  return join(stateHome(env) ?? join(homeDir, '.local', 'state'), 'lakebase-proxy')
}

/** The folder for state files that the environment names; undefined: below the home. */
export function stateHome(env: Readonly<Record<string, string | undefined>>): string | undefined {
  return env.XDG_STATE_HOME || env.LOCALAPPDATA || undefined
}
