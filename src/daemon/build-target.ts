/** Builds what serves a target of the settings: one target, or every branch of a project. */

import type { TargetSettings } from '../config/resolve/settings.js'
import type { RunCommand } from '../databricks/sign-in/run-command.js'
import type { Resolver } from '../endpoints/resolver.js'
import type { Listener } from '../listener/listener.js'
import { BranchTargets } from './branch-targets.js'
import { GitTarget } from './git-target.js'
import type { PortOptions } from './port.js'
import { RunningTarget, type RunningTargetOptions } from './running-target.js'
import { type RoutedTarget, TargetRouter } from './target-router.js'
import type { Watch } from './watch.js'
import type { Workspaces } from './workspaces.js'

export interface TargetParts extends PortOptions {
  resolver: Resolver
  workspaces: Pick<Workspaces, 'of'>
  watch: Pick<Watch, 'credentialObserver' | 'forget' | 'moved'>
  runGit: RunCommand | undefined
  /** The port that serves every target: where its clients go, and what listens there. */
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
    {
      credentialObserver = watch.credentialObserver(settings),
      ...more
    }: Partial<RunningTargetOptions> = {},
  ): RunningTarget =>
    new RunningTarget({
      ...parts,
      ...{ target: settings, signedIn, entrance, sharedListener, credentialObserver, ...more },
    })
  if (signedIn === undefined) return build(target)
  if (target.followGit !== undefined) {
    // One for all branches: they are one target.
    const credentialObserver = watch.credentialObserver(target)
    return new GitTarget({
      ...parts,
      ...{ signedIn, entrance, sharedListener },
      moved: () => watch.moved(target.name),
      build: (settings) => build(settings, { credentialObserver, entrance: undefined }),
    })
  }
  if (target.target.kind !== 'branches') return build(target)
  const branches: BranchTargets = new BranchTargets({
    ...parts,
    signedIn,
    entrance:
      entrance ?? (() => new TargetRouter({ ...parts.settings, route: 'required' }, [branches])),
    sharedListener,
    build: (settings, found, lastLeft) =>
      build(settings, { found, lastLeft, sharedListener: shared.listener }),
    closed: (name) => watch.forget(name),
  })
  return branches
}
