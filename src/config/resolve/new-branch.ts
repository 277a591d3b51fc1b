/**
 * `branch-from`: which targets are served from the new branch. Those of its project are that name no
 * branch, or the one that it is made from; where no TARGET is named, the new branch is the target.
 */

import { quoted } from '../../core/plain-text.js'
import type { Target } from '../schema/target-text.js'
import type { BranchSource } from '../schema/values.js'
import type { WrittenTarget } from '../sources/sources.js'
import type { SettingLookup, TargetLookup } from './setting-lookup.js'
import type { FollowGit, NewBranchSettings, TargetSettings } from './settings.js'

/** For a command line that names no TARGET. */
export function targetsForBranch(
  targets: readonly WrittenTarget[],
  lookup: SettingLookup,
): readonly WrittenTarget[] {
  const source = lookup.value('branch-from')
  const written = lookup.find('branch-from')
  if (source === undefined || written === undefined) return targets
  if (lookup.targets(targets).some(({ known }) => isOnSource(known.target, source))) return targets
  return [{ ...written, options: new Map() }]
}

export function newBranchOf(
  targets: readonly TargetSettings[],
  lookup: SettingLookup,
): NewBranchSettings | undefined {
  const source = lookup.value('branch-from')
  const written = lookup.find('branch-from')
  if (source === undefined || written === undefined) return undefined
  const onSource = targets.filter(({ target }) => isOnSource(target, source))
  // With `follow-git`, it is what their branches are made from.
  const served = onSource.filter(({ followGit }) => followGit === undefined)
  if (served.length > 0) {
    const [ttlMs, keep] = [lookup.value('branch-ttl'), lookup.value('keep-branch')]
    const names = served.map(({ name }) => name)
    return { ...source, targets: names, ttlMs, keep, folder: lookup.machine.cwd }
  }
  // A flag (rank 1) must count. A TARGET that was typed is stronger than what is set for all elsewhere.
  if (written.rank === 1 && targets.length > 0 && onSource.length === 0) {
    lookup.refuse(
      'branch-from',
      `no target is served from a new branch of ${quoted(written.text, 'that project')}`,
      `Leave the TARGET out, or name ${source.project}.`,
    )
  }
  return undefined
}

export function followGitOf(lookup: TargetLookup): FollowGit | undefined {
  const how = lookup.value('follow-git')
  if (how === 'off') return undefined
  const { target, name } = lookup.known
  if (target.kind !== 'autoscaling' || target.branch !== undefined) {
    lookup.refuse(
      'follow-git',
      `follow-git chooses the branch, which ${quoted(name, 'the target')} leaves no room for`,
      'Name a project alone: projects/P.',
    )
    return undefined
  }
  const project = `projects/${target.project}`
  const from = lookup.value('branch-from')
  const source = from?.project === project ? from.branch : undefined
  return { project, source, create: how === 'create', folder: lookup.machine.cwd }
}

function isOnSource(target: Target, { project, branch }: BranchSource): boolean {
  if (target.kind !== 'autoscaling' || target.endpoint !== undefined) return false
  if (`projects/${target.project}` !== project) return false
  return target.branch === undefined || `${project}/branches/${target.branch}` === branch
}
