/** Builds what serves a target of the settings: one target, or every branch of a project. */

import type { RunGit } from '../branches/repository.js'
import type { TargetSettings } from '../config/resolve/settings.js'
import type { LakebaseDatabase } from '../databricks/lakebase/workspace.js'
import type { Resolver } from '../endpoints/resolver.js'
import type { Listener } from '../listener/listener.js'
import { BranchTargets } from './branch-targets.js'
import type { PortOptions } from './port.js'
import { RunningTarget } from './running-target.js'
import { type RoutedTarget, TargetRouter } from './target-router.js'
import type { Watch } from './watch.js'
import type { Workspaces } from './workspaces.js'

export interface TargetParts extends PortOptions {
  resolver: Resolver
  workspaces: Pick<Workspaces, 'of'>
  watch: Pick<Watch, 'credentialObserver' | 'forget'>
  runGit: RunGit | undefined
  /** Of the port that serves every target: where its clients go, and what listens there. */
  shared: { entrance: () => TargetRouter; listener: () => Listener | undefined }
}

export function buildTarget(parts: TargetParts): RoutedTarget {
  const { target, workspaces, watch, shared } = parts
  const entrance = target.reach === 'shared port' ? shared.entrance : undefined
  const sharedListener = (): Listener | undefined =>
    target.reach === 'name' ? shared.listener() : undefined
  const signedIn = workspaces.of(target)
  const build = (
    settings: TargetSettings,
    found?: LakebaseDatabase,
    lastLeft?: () => void,
  ): RunningTarget =>
    new RunningTarget({
      ...parts,
      target: settings,
      signedIn,
      entrance,
      sharedListener: found === undefined ? sharedListener : shared.listener,
      found,
      lastLeft,
      credentialObserver: watch.credentialObserver(settings),
    })
  if (target.target.kind !== 'branches' || signedIn === undefined) return build(target)
  const branches: BranchTargets = new BranchTargets({
    ...parts,
    signedIn,
    entrance: entrance ?? (() => new TargetRouter('required', [branches])),
    sharedListener,
    build,
    closed: (name) => watch.forget(name),
  })
  return branches
}
