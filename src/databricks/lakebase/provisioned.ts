/** Lakebase Provisioned, `/api/2.0/database`, normalised at this edge. */

import { z } from 'zod'

import { unlessRefused } from './api-error.js'
import { apiPath, type WorkspaceClient } from './client.js'
import { listAll } from './pages.js'
import type { DatabaseState, LakebaseDatabase } from './workspace.js'

/** Replies may leave out `name` and every false boolean. */
const DatabaseInstance = z.object({
  name: z.string().nullish(),
  uid: z.string().nullish(),
  state: z.string().nullish(),
  read_write_dns: z.string().nullish(),
  read_only_dns: z.string().nullish(),
  effective_stopped: z.boolean().nullish(),
})
type DatabaseInstance = z.infer<typeof DatabaseInstance>

const INSTANCES = '/api/2.0/database/instances'

export async function getInstance(
  client: WorkspaceClient,
  name: string,
): Promise<LakebaseDatabase | undefined> {
  const asked = client.request({
    path: apiPath(INSTANCES, name),
    schema: DatabaseInstance,
    what: `look up database instance "${name}"`,
  })
  const found = await unlessRefused(asked, 404)
  return found && normalize(found, name)
}

export async function findInstanceByUid(
  client: WorkspaceClient,
  uid: string,
): Promise<LakebaseDatabase | undefined> {
  const asked = client.request({
    path: `${INSTANCES}:findByUid`,
    query: { uid },
    schema: DatabaseInstance,
    what: `look up the database instance of uid ${uid}`,
  })
  const found = await unlessRefused(asked, 404)
  if (found === undefined) return undefined
  if (found.name) return normalize(found, found.name)
  // Without a name nothing can be minted for it, so it is looked for in the list.
  return (await listInstances(client)).find((instance) => instance.uid === uid)
}

export async function listInstances(client: WorkspaceClient): Promise<LakebaseDatabase[]> {
  const instances = await listAll(client, {
    path: INSTANCES,
    field: 'database_instances',
    item: DatabaseInstance,
    what: 'list database instances',
  })
  return instances.flatMap((instance) =>
    instance.name ? [normalize(instance, instance.name)] : [],
  )
}

/** Returns once the API has accepted: the state follows later. */
export async function setStopped(
  client: WorkspaceClient,
  name: string,
  stopped: boolean,
): Promise<void> {
  await client.request({
    method: 'PATCH',
    path: apiPath(INSTANCES, name),
    query: { update_mask: 'stopped' },
    body: { name, stopped },
    schema: z.unknown(),
    what: `${stopped ? 'stop' : 'start'} database instance "${name}"`,
    kind: 'target',
  })
}

function normalize(instance: DatabaseInstance, name: string): LakebaseDatabase {
  const apiState = instance.state ?? 'UNKNOWN'
  const stopping = instance.effective_stopped === true && apiState === 'AVAILABLE'
  return {
    kind: 'provisioned',
    name,
    uid: instance.uid ?? undefined,
    readWriteHost: instance.read_write_dns || undefined,
    readOnlyHost: instance.read_only_dns || undefined,
    state: stopping ? 'stopped' : (STATES[apiState] ?? 'available'),
    apiState,
    branchCreatedAt: undefined,
  }
}

/** A state that is not known here is tried rather than refused. */
const STATES: Readonly<Record<string, DatabaseState>> = {
  AVAILABLE: 'available',
  STARTING: 'starting',
  UPDATING: 'starting',
  UPGRADING: 'starting',
  FAILING_OVER: 'starting',
  STOPPED: 'stopped',
  DELETING: 'deleting',
}
