/**
 * `branch-from`: which targets are served from the new branch. Those of its project are that name no
 * branch, or the one that it is made from; where no TARGET is named, the new branch is the target.
 */

import { quoted } from '../../core/quoted.js'
import type { Target } from '../schema/target-text.js'
import type { BranchSource } from '../schema/values.js'
import type { Problems } from '../sources/problems.js'
import type { WrittenTarget } from '../sources/sources.js'
import type { KnownTarget } from './known-target.js'
import type { Lookup } from './lookup.js'
import type { Machine, NewBranchSettings } from './settings.js'

/** For a command line that names no TARGET. */
export function targetsForBranch(
  targets: readonly WrittenTarget[],
  lookup: Lookup,
): readonly WrittenTarget[] {
  const source = lookup.value('branch-from')
  const written = lookup.find('branch-from')
  if (source === undefined || written === undefined) return targets
  const known = targets.map((each) => lookup.target(each)?.target)
  if (known.some((target) => target !== undefined && isOnSource(target, source))) return targets
  return [{ ...written, options: new Map() }]
}

export function newBranchOf(
  lookup: Lookup,
  targets: readonly KnownTarget[],
  machine: Machine,
  problems: Problems,
): NewBranchSettings | undefined {
  const source = lookup.value('branch-from')
  const written = lookup.find('branch-from')
  if (source === undefined || written === undefined) return undefined
  if (targets.some(({ target }) => isOnSource(target, source))) {
    const [ttlMs, keep] = [lookup.value('branch-ttl'), lookup.value('keep-branch')]
    return { ...source, ttlMs, keep, folder: machine.cwd }
  }
  // A TARGET that was typed is stronger than what the environment or a file says for all.
  if (written.rank === 1 && targets.length > 0) {
    problems.add(
      written.where,
      `no target is served from a new branch of ${quoted(written.text, 'that project')}`,
      `Leave the TARGET out, or name ${source.project}.`,
    )
  }
  return undefined
}

export function isOnSource(target: Target, { project, branch }: BranchSource): boolean {
  if (target.kind !== 'autoscaling' || target.endpoint !== undefined) return false
  if (`projects/${target.project}` !== project) return false
  return target.branch === undefined || `${project}/branches/${target.branch}` === branch
}
