/**
 * All Autoscaling endpoints of a workspace: the API lists them only branch by branch, so this walks
 * projects, branches and endpoints, several at a time, and stops at the first that is wanted.
 */

import { unlessRefused } from './api-error.js'
import { type EndpointOnBranch, listBranches, listEndpoints, listProjects } from './autoscaling.js'
import type { WorkspaceClient } from './client.js'

const AT_ONCE = 8

/** The endpoints that `wanted` accepts, in the API's order; only the first when `firstOnly`. */
export async function walkEndpoints(
  client: WorkspaceClient,
  options: {
    readonly wanted?: (endpoint: EndpointOnBranch) => boolean
    readonly firstOnly?: boolean
  } = {},
): Promise<EndpointOnBranch[]> {
  const { wanted = () => true, firstOnly = false } = options
  const projects = await listProjects(client)
  const found: EndpointOnBranch[][] = projects.map(() => [])
  let enough = false
  await severalAtOnce(projects, async ({ name }, at) => {
    if (enough) return
    for (const branch of await known(listBranches(client, name))) {
      if (enough) return
      for (const endpoint of await known(listEndpoints(client, branch.name))) {
        const here = { endpoint, branch }
        if (wanted(here)) found[at]!.push(here)
      }
      enough ||= firstOnly && found[at]!.length > 0
    }
  })
  return found.flat()
}

async function severalAtOnce<T>(
  items: readonly T[],
  work: (item: T, at: number) => Promise<void>,
): Promise<void> {
  const left = items.entries()
  const worker = async (): Promise<void> => {
    for (const [at, item] of left) await work(item, at)
  }
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, worker))
}

/** What was deleted since it was listed, or is not ours to see, is passed over. */
async function known<T>(items: Promise<T[]>): Promise<T[]> {
  return (await unlessRefused(items, 404, 403)) ?? []
}
