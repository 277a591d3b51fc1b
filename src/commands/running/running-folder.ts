/** The folder in which each running proxy of a user keeps a file that describes it. */

import { existsSync, lstatSync } from 'node:fs'
import { join } from 'node:path'

import { stateDir, stateHome } from '../../daemon/state-dir.js'
import type { Surroundings } from '../invocation/command.js'

export type FolderPlace = Pick<Surroundings, 'env' | 'machine' | 'uid'>

/**
 * In XDG_RUNTIME_DIR, or else among the user's state files. Undefined for a user without a home: it is
 * not created.
 */
export function runningFolder({ env, machine, uid }: FolderPlace): string | undefined {
  const runtime = env.XDG_RUNTIME_DIR ?? ''
  // `sudo -E` keeps the variable, which then names the folder of the user who called sudo.
  if (runtime !== '' && onlyOwnerCanWrite(runtime, { machine, uid }))
    return join(runtime, 'lakebase-proxy')
  if (stateHome(env) === undefined && !existsSync(machine.homeDir)) return undefined
  return join(stateDir(env, machine.homeDir), 'running')
}

/**
 * Whether a folder or file belongs to this user, no other user can write to it, and it is no symbolic
 * link. Others may be able to read it. On Windows only the link is looked at: files have no mode there.
 */
export function onlyOwnerCanWrite(
  path: string,
  { machine, uid }: Omit<FolderPlace, 'env'>,
): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined || found.isSymbolicLink()) return false
  return machine.platform === 'win32' || (found.uid === uid && (found.mode & 0o022) === 0)
}
