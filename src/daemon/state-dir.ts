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
  const base = env.XDG_STATE_HOME || env.LOCALAPPDATA || join(homeDir, '.local', 'state')
  return join(base, 'lakebase-proxy')
}
