/**
 * Which of the targets that run a TARGET means: by its name, its text, or as one of the branches of a
 * project.
 */

import { isBranchIn } from '../../config/resolve/routing.js'
import type { Target } from '../../config/schema/target-text.js'
import { parseTarget } from '../../config/schema/targets.js'
import type { AnnouncedTarget } from './running-proxies.js'

export function servedAs<T extends AnnouncedTarget>(
  running: readonly T[],
  name: string,
): readonly T[] {
  const named = running.filter((each) => each.name === name)
  if (named.length > 0) return named
  const written = running.filter(({ text }) => text === name)
  return written.length > 0 ? written : running.flatMap((each) => branchServedBy(each, name) ?? [])
}

/** An instance of that name in another workspace is another database. Undefined: not known, so it may be. */
export function isOfWorkspace({ workspace }: AnnouncedTarget, url: string | undefined): boolean {
  return url === undefined || workspace === undefined || workspace === url
}

/** One branch of those that `every` serves, as its clients reach it. */
function branchServedBy<T extends AnnouncedTarget>(every: T, name: string): T | undefined {
  const target = parsed(every.text ?? every.name)
  if (target === undefined || !isBranchIn({ target }, name)) return undefined
  const { user, database } = every.address
  const [, , , ...path] = name.split('/')
  const address = {
    ...every.address,
    // The user name ends in the word BRANCH, which stands for any.
    user: user?.replace(/BRANCH$/, () => path.join('/')),
    database: parseTarget(name).options.get('database') ?? database,
  }
  return { ...every, name, text: name, address }
}

/** Undefined when the name is not a TARGET, such as a short name. */
function parsed(name: string): Target | undefined {
  try {
    return parseTarget(name).target
  } catch {
    return undefined
  }
}
