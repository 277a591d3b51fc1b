/**
 * One new branch under the first name that is free. What stands in the way is told with what to do
 * about it: a missing permission, a project that is full (with our own branches in it), a life that
 * the workspace does not allow.
 */

import { writeDuration } from '../config/schema/values.js'
import { ProxyError } from '../core/errors.js'
import { isFull, isTaken, isTooLong } from '../databricks/lakebase/api-error.js'
import type { WorkspaceBranches } from '../databricks/lakebase/branches.js'
import type { BranchRequest, LakebaseBranch } from '../databricks/lakebase/workspace.js'
import { branchIdOf, isMadeByUs } from './branch-name.js'
import { roughly } from './rough-time.js'

export interface BranchPlan extends Omit<BranchRequest, 'id'> {
  /** In the order to try them. */
  readonly ids: Iterable<string>
  /** Epoch ms, for the ages of branches in a message. */
  readonly now: number
}

/** Resolves when the workspace has made it. Errors: kinds `target` and `identity`, and those of a request. */
export async function makeBranch(
  branches: WorkspaceBranches,
  { ids, now, ...plan }: BranchPlan,
  signal: AbortSignal,
): Promise<LakebaseBranch> {
  const { project, lifeMs } = plan
  let taken: unknown
  const tried: string[] = []
  for (const id of ids) {
    try {
      return await branches.create({ ...plan, id }, signal)
    } catch (error) {
      if (isTooLong(error)) {
        throw new ProxyError('target', (error as ProxyError).message, {
          cause: error,
          hint: `The workspace does not let a branch live for ${writeDuration(lifeMs)}: ask for less with --branch-ttl, or --ttl of "branches create".`,
        })
      }
      if (isFull(error)) throw await full(error as ProxyError, branches, { project, now }, signal)
      if (!isTaken(error)) throw error
      taken = error
      tried.push(`${project}/branches/${id}`)
    }
  }
  const listed = await branches.list(project, signal).catch(() => undefined)
  const isListed = listed?.some(({ name }) => tried.includes(name)) === true
  throw new ProxyError('target', (taken as ProxyError).message, {
    cause: taken,
    detail: isListed ? undefined : 'A deleted branch keeps its name until it is purged.',
    hint: `Choose another name. See those in use with: lakebase-proxy branches list ${project}`,
  })
}

const MOST_SHOWN = 20

async function full(
  error: ProxyError,
  branches: WorkspaceBranches,
  { project, now }: Pick<BranchPlan, 'project' | 'now'>,
  signal: AbortSignal,
): Promise<ProxyError> {
  const all = await branches.list(project, signal).catch(() => [])
  const ours = all.filter(({ name }) => isMadeByUs(branchIdOf(name)))
  const lines = ours
    .slice(0, MOST_SHOWN)
    .map((each) => `\n  ${branchIdOf(each.name)}: ${lifeOf(each, now)}`)
  const detail =
    ours.length === 0
      ? 'None of its branches was made by lakebase-proxy.'
      : `Made by lakebase-proxy:${lines.join('')}`
  return new ProxyError('target', error.message, {
    cause: error,
    detail,
    hint: `Delete one that is not needed: lakebase-proxy branches delete ${project}/branches/NAME`,
  })
}

function lifeOf({ createdAt, expiresAt }: LakebaseBranch, now: number): string {
  const age = createdAt === undefined ? 'of unknown age' : `${roughly(now - createdAt)} old`
  const end = expiresAt === undefined ? 'does not expire' : `expires in ${roughly(expiresAt - now)}`
  return `${age}, ${end}`
}
