/**
 * What each target is called, and how clients reach it: with `route`, the first target's port serves
 * all of them. Names are labels of metrics and words of user names, so no two may be the same.
 */

import type { Target } from '../schema/target-text.js'
import { isId, parseTarget } from '../schema/targets.js'
import type { TargetLookup } from './setting-lookup.js'
import type { ProxySettings, TargetSettings } from './settings.js'

export function namesOf(targets: readonly TargetLookup[]): readonly string[] {
  const texts = targets.map(({ known }) => known.name)
  const names = targets.map(({ known, values, problems }, index) => {
    if (values.name !== undefined) return values.name
    const earlier = targets.slice(0, index).filter(({ known: other }) => other.name === known.name)
    if (earlier.length === 0) return known.name
    if (earlier.some((other) => optionsOf(other) === optionsOf({ known }))) {
      problems.add(
        known.written.where,
        `target "${known.name}" is named twice`,
        'Leave one out, or give them different settings: my-instance?read-only&port=5433.',
      )
    }
    return `${known.name}?${optionsOf({ known })}`
  })
  for (const [index, lookup] of targets.entries()) {
    const { name } = lookup.values
    if (name === undefined) continue
    const isTaken =
      names.indexOf(name) < index || texts.some((text, at) => at !== index && text === name)
    if (!isTaken) continue
    lookup.refuse(
      'name',
      `the name "${name}" is also the name of another target`,
      'Give each target a name of its own: my-instance?name=shop.',
    )
  }
  return names
}

function optionsOf({ known }: Pick<TargetLookup, 'known'>): string {
  return [...known.options]
    .filter(([name]) => name !== 'port')
    .map(([name, { text }]) => `${name}=${text}`)
    .sort()
    .join('&')
}

/** The target with this name. `TARGET/branches/NAME` finds a target that serves every branch. */
export function targetCalled(
  targets: readonly TargetSettings[],
  name: string,
): TargetSettings | undefined {
  const named = targets.find((each) => each.name === name)
  if (named !== undefined) return named
  // When two targets have the same TARGET, that text is ambiguous: clients must use the names.
  const [only, ...others] = targets.filter(({ text }) => text === name)
  if (only !== undefined) return others.length === 0 ? only : undefined
  for (const target of targets) {
    if (isBranchIn(target, name)) return settingsOfBranch(target, name)
  }
  return undefined
}

/**
 * Whether `name` is a branch of P, or an endpoint or database of one, where `target` is every branch
 * of P.
 */
export function isBranchIn({ target }: { readonly target: Target }, name: string): boolean {
  if (target.kind !== 'branches') return false
  const [projects, project, branches, branch = '', what, id = '', ...more] = name.split('/')
  const isOfProject = projects === 'projects' && project === target.project
  if (!isOfProject || branches !== 'branches' || !isId(branch) || more.length > 0) return false
  return what === undefined || ((what === 'endpoints' || what === 'databases') && isId(id))
}

/** What `name` means, of a target that is every branch of a project. */
export function settingsOfBranch(every: TargetSettings, name: string): TargetSettings {
  if (!isBranchIn(every, name)) throw new Error(`"${name}" is not a branch of "${every.name}"`)
  const { target, options } = parseTarget(name)
  return {
    ...every,
    ...{ name, text: name, target, database: options.get('database') ?? every.database },
    ...{ reach: 'name', shownAs: { ...every.shownAs, user: name } },
  }
}

export function reachOf(lookup: TargetLookup, index: number): TargetSettings['reach'] {
  if (lookup.values.route === 'off') return 'own port'
  if (index === 0) return 'shared port'
  return lookup.find('port')?.isOwn ? 'own port' : 'name'
}

/**
 * A client of the shared port can choose any target, so all of them need the same `local-auth`.
 * Otherwise a strict target could be reached through the port of a lax one.
 */
export function checkRouting(
  { name, target, reach, localAuth }: TargetSettings,
  { route, targets: [first] }: ProxySettings,
  lookup: TargetLookup,
): void {
  const { known } = lookup
  if (route === 'off') {
    if (target.kind !== 'branches') return
    lookup.problems.add(
      known.written.where,
      `target "${known.name}" is every branch of a project, and route is off`,
      'Set route=on, so that each client can choose one, or name one branch.',
    )
    return
  }
  if (localAuth !== first?.localAuth) {
    lookup.refuse(
      'local-auth',
      `local-auth of target "${name}" is ${localAuth}, and ${first?.localAuth} at the port that serves it too`,
      'With route, all targets need the same local-auth. Start another lakebase-proxy for a target that differs.',
    )
  }
  for (const ofPort of ['address', 'unix-socket'] as const) {
    if (reach !== 'name' || !known.options.has(ofPort)) continue
    lookup.refuse(
      ofPort,
      `${ofPort} of target "${name}" has no effect: it is reached at the port of the first target`,
      `Give it a port too, or leave ${ofPort} out.`,
    )
  }
}
