/**
 * Lakebase Autoscaling, `/api/2.0/postgres`, normalised at this edge. A name that is given in part is
 * completed by the only child, else by the default branch or the read-write endpoint. Pooled hosts are
 * never handed on: they take no tokens.
 */

import { z } from 'zod'

import { ProxyError } from '../../core/errors.js'
import { unlessRefused } from './api-error.js'
import { apiPath, timeOf, type WorkspaceClient } from './client.js'
import { listAll } from './pages.js'
import type { DatabaseState, LakebaseDatabase } from './workspace.js'

export const POSTGRES = '/api/2.0/postgres'

const DisplayName = z.object({ display_name: z.string().nullish() }).nullish()
const Project = z.object({
  name: z.string(),
  uid: z.string().nullish(),
  spec: DisplayName,
  status: DisplayName,
})
type Project = z.infer<typeof Project>

export const Branch = z.object({
  name: z.string(),
  uid: z.string().nullish(),
  create_time: z.string().nullish(),
  status: z
    .object({
      default: z.boolean().nullish(),
      is_protected: z.boolean().nullish(),
      current_state: z.string().nullish(),
      source_branch: z.string().nullish(),
      expire_time: z.string().nullish(),
    })
    .nullish(),
})
export type Branch = z.infer<typeof Branch>

const Host = z.string().nullish()
const Endpoint = z.object({
  name: z.string(),
  uid: z.string().nullish(),
  status: z
    .object({
      current_state: z.string().nullish(),
      disabled: z.boolean().nullish(),
      endpoint_type: z.string().nullish(),
      hosts: z
        .object({
          host: Host,
          read_only_host: Host,
          read_write_pooled_host: Host,
          read_only_pooled_host: Host,
        })
        .nullish(),
    })
    .nullish(),
})
export type Endpoint = z.infer<typeof Endpoint>

/** A branch and one of its endpoints, as found while walking through a workspace. */
export interface EndpointOnBranch {
  readonly endpoint: Endpoint
  readonly branch: Branch
}

export function listProjects(client: WorkspaceClient): Promise<Project[]> {
  return listAll(client, {
    path: `${POSTGRES}/projects`,
    field: 'projects',
    item: Project,
    what: 'list projects',
  })
}

export function listBranches(client: WorkspaceClient, project: string): Promise<Branch[]> {
  return listAll(client, {
    path: apiPath(POSTGRES, project, 'branches'),
    field: 'branches',
    item: Branch,
    what: `list the branches of ${project}`,
  })
}

export function listEndpoints(client: WorkspaceClient, branch: string): Promise<Endpoint[]> {
  return listAll(client, {
    path: apiPath(POSTGRES, branch, 'endpoints'),
    field: 'endpoints',
    item: Endpoint,
    what: `list the endpoints of ${branch}`,
  })
}

export interface Missing {
  readonly missing: 'project' | 'branch' | 'endpoint'
  readonly name: string
}

export async function findEndpoint(
  client: WorkspaceClient,
  target: { readonly project: string; readonly branch?: string; readonly endpoint?: string },
): Promise<LakebaseDatabase | Missing> {
  const project = `projects/${target.project}`
  if (target.branch !== undefined && target.endpoint !== undefined) {
    const name = `${project}/branches/${target.branch}/endpoints/${target.endpoint}`
    return findByWholeName(client, name)
  }
  const branch =
    target.branch === undefined
      ? await chooseBranch(client, project)
      : await getBranch(client, `${project}/branches/${target.branch}`)
  if ('missing' in branch) return branch
  const endpoint = await chooseEndpoint(client, branch.name)
  if ('missing' in endpoint) return endpoint
  return toDatabase({ endpoint, branch })
}

export function toDatabase({ endpoint, branch }: EndpointOnBranch): LakebaseDatabase {
  const { status } = endpoint
  const readOnly = status?.endpoint_type === 'ENDPOINT_TYPE_READ_ONLY'
  const host = status?.hosts?.host || undefined
  return {
    kind: 'autoscaling',
    name: endpoint.name,
    uid: endpoint.uid ?? undefined,
    readWriteHost: readOnly ? undefined : host,
    readOnlyHost: status?.hosts?.read_only_host || (readOnly ? host : undefined),
    state: stateOf(endpoint, branch),
    apiState: apiStateOf(endpoint, branch),
    branchCreatedAt: timeOf(branch.create_time),
  }
}

/** `projects/p/branches/b` of an endpoint's name. */
export function branchNameOf(endpointName: string): string {
  return endpointName.replace(/\/endpoints\/.*$/, '')
}

async function findByWholeName(
  client: WorkspaceClient,
  name: string,
): Promise<LakebaseDatabase | Missing> {
  const branchName = branchNameOf(name)
  const [endpoint, branch] = await Promise.all([
    orMissing(
      client.request({
        path: apiPath(POSTGRES, name),
        schema: Endpoint,
        what: `look up ${name}`,
        kind: 'target',
      }),
      { missing: 'endpoint', name },
    ),
    // An identity may use an endpoint and not see its branch: then its age and state are unknown.
    getBranch(client, branchName).catch(() => ({ name: branchName })),
  ])
  if ('missing' in endpoint) return 'missing' in branch ? branch : endpoint
  return toDatabase({ endpoint, branch: 'missing' in branch ? { name: branchName } : branch })
}

async function chooseBranch(client: WorkspaceClient, project: string): Promise<Branch | Missing> {
  const missing = { missing: 'project', name: project } as const
  const branches = await orMissing(listBranches(client, project), missing)
  if ('missing' in branches) return branches
  const none = { missing: 'branch', name: `${project}/branches` } as const
  return choose(branches, none, ({ status }) => status?.default === true)
}

async function chooseEndpoint(
  client: WorkspaceClient,
  branch: string,
): Promise<Endpoint | Missing> {
  const missing = { missing: 'branch', name: branch } as const
  const endpoints = await orMissing(listEndpoints(client, branch), missing)
  if ('missing' in endpoints) return endpoints
  const none = { missing: 'endpoint', name: `${branch}/endpoints` } as const
  const isReadWrite = ({ status }: Endpoint): boolean =>
    status?.endpoint_type === 'ENDPOINT_TYPE_READ_WRITE'
  const chosen = choose(endpoints, none, isReadWrite)
  if ('missing' in chosen || endpoints.length === 1) return chosen
  return withReadOnlyHost(chosen, endpoints)
}

/** The only one, or the obvious one. */
function choose<T extends { readonly name: string }>(
  items: readonly T[],
  none: Missing,
  isObvious: (item: T) => boolean,
): T | Missing {
  const [first = none, ...others] = items
  if (others.length === 0) return first
  const [obvious, ...more] = items.filter(isObvious)
  if (obvious !== undefined && more.length === 0) return obvious
  const [, parent, what] = /^(.*)\/(\w+)$/.exec(none.name) ?? []
  throw new ProxyError('target', `${parent} has several ${what}, and none is the obvious one`, {
    hint: `Name one of: ${items.map(({ name }) => name).join(', ')}.`,
  })
}

/** Read-only sessions go to the read-only endpoint beside it, unless it has read-only computes of its own. */
function withReadOnlyHost(endpoint: Endpoint, all: readonly Endpoint[]): Endpoint {
  const { status } = endpoint
  const beside = all.find(
    (each) =>
      each.status?.endpoint_type === 'ENDPOINT_TYPE_READ_ONLY' && each.status.disabled !== true,
  )?.status?.hosts
  const host = status?.hosts?.read_only_host || beside?.read_only_host || beside?.host
  return { ...endpoint, status: { ...status, hosts: { ...status?.hosts, read_only_host: host } } }
}

async function getBranch(client: WorkspaceClient, name: string): Promise<Branch | Missing> {
  return orMissing(
    client.request({
      path: apiPath(POSTGRES, name),
      schema: Branch,
      what: `look up ${name}`,
      kind: 'target',
    }),
    { missing: 'branch', name },
  )
}

async function orMissing<T>(reply: Promise<T>, missing: Missing): Promise<T | Missing> {
  return (await unlessRefused(reply, 404)) ?? missing
}

// A branch in such a state takes connections later: an archived one is brought back by the first.
const UNREADY_BRANCH = new Set(['INIT', 'ARCHIVED', 'IMPORTING', 'RESETTING'])

/** The API's word for what stands in the way most: the branch's state, where it is not ready. */
function apiStateOf({ status }: Endpoint, branch: Branch): string {
  const branchState = branch.status?.current_state ?? ''
  if (branchState === 'DELETED') return branchState
  if (status?.disabled === true) return 'DISABLED'
  if (UNREADY_BRANCH.has(branchState)) return branchState
  return status?.current_state ?? 'UNKNOWN'
}

function stateOf(endpoint: Endpoint, branch: Branch): DatabaseState {
  switch (apiStateOf(endpoint, branch)) {
    case 'DELETED':
      return 'deleting'
    case 'DISABLED':
      return 'disabled'
    case 'IDLE':
    case 'ARCHIVED':
      return 'idle'
    case 'INIT':
    case 'IMPORTING':
    case 'RESETTING':
      return 'starting'
    default:
      // ACTIVE; DEGRADED still connects; an unknown state is tried rather than refused.
      return 'available'
  }
}
