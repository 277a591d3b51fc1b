/** The folder in which the running proxies of a user leave a file each. */

import { existsSync, lstatSync } from 'node:fs'
import { join } from 'node:path'

import { stateDir } from '../../daemon/state-dir.js'
import type { Surroundings } from '../invocation/command.js'

export type FolderPlace = Pick<Surroundings, 'env' | 'machine' | 'uid'>

/** Undefined where this user has no place for it: a home that does not exist is not made. */
export function runningFolder({ env, machine, uid }: FolderPlace): string | undefined {
  const runtime = env.XDG_RUNTIME_DIR ?? ''
  // After `sudo -E` it is that of another user.
  if (runtime !== '' && isPrivate(runtime, { machine, uid })) return join(runtime, 'lakebase-proxy')
  const isElsewhere = Boolean(env.XDG_STATE_HOME || env.LOCALAPPDATA)
  if (!isElsewhere && !existsSync(machine.homeDir)) return undefined
  return join(stateDir(env, machine.homeDir), 'running')
}

/** A folder or file of this user that no other user can change, and no symbolic link. */
export function isPrivate(path: string, { machine, uid }: Omit<FolderPlace, 'env'>): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined || found.isSymbolicLink()) return false
  return machine.platform === 'win32' || (found.uid === uid && (found.mode & 0o022) === 0)
}
