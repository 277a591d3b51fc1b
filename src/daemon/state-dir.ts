/** Where a user's programs keep what they make for themselves. */

import { join } from 'node:path'

/** https://specifications.freedesktop.org/basedir-spec/latest/ */
export function stateDir(
  env: Readonly<Record<string, string | undefined>>,
  homeDir: string,
): string {
  const base = env.XDG_STATE_HOME || env.LOCALAPPDATA || join(homeDir, '.local', 'state')
  return join(base, 'lakebase-proxy')
}
