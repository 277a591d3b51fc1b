/**
 * Where a target lives, in either kind of Lakebase. A name that only the other kind knows is found there
 * and used, with a notice, because Databricks turned existing instances into projects. An unknown name
 * is answered with the closest ones.
 */

import type { Target } from '../../config/schema/target-text.js'
import { ProxyError } from '../../core/errors.js'
import type { Log } from '../../core/log.js'
import { nearest } from '../../core/nearest.js'
import { ApiError } from './api-error.js'
import {
  type EndpointOnBranch,
  findEndpoint,
  listProjects,
  type Missing,
  toDatabase,
} from './autoscaling.js'
import type { WorkspaceClient } from './client.js'
import { walkEndpoints } from './endpoint-walk.js'
import { findInstanceByUid, getInstance, listInstances } from './provisioned.js'
import type { LakebaseDatabase } from './workspace.js'

export interface FindOptions {
  readonly client: WorkspaceClient
  /** Notes when a target was found elsewhere than where its form says. */
  readonly log: Log
}

/** Errors: kind `target` when it is not there or not clear which is meant. */
export async function findDatabase(
  target: Target,
  options: FindOptions,
): Promise<LakebaseDatabase> {
  switch (target.kind) {
    case 'provisioned':
      return findByInstanceName(target.instance, options)
    case 'autoscaling':
      return findByPath(target, options)
    case 'branches':
      throw new ProxyError('target', `projects/${target.project}/branches/* is many branches`, {
        hint: 'Name one of them in the place of the *.',
      })
    case 'host':
      return findByHost(target.host.toLowerCase(), options)
    case 'static':
      throw new ProxyError('config', `${target.host} has a native password and is not looked up`)
  }
}

/** Both kinds in one list. When one product fails, the other is listed all the same. */
export interface DatabaseList {
  readonly databases: readonly LakebaseDatabase[]
  readonly failures: readonly { readonly kind: LakebaseDatabase['kind']; readonly error: unknown }[]
}

/** Errors: the error of the first product, when neither could be listed. */
export async function listDatabases(client: WorkspaceClient): Promise<DatabaseList> {
  const [autoscaling, provisioned] = await Promise.allSettled([
    walkEndpoints(client),
    listInstances(client),
  ])
  if (autoscaling.status === 'rejected' && provisioned.status === 'rejected') {
    throw autoscaling.reason
  }
  const databases: LakebaseDatabase[] = []
  const failures: { kind: LakebaseDatabase['kind']; error: unknown }[] = []
  if (autoscaling.status === 'fulfilled') databases.push(...autoscaling.value.map(toDatabase))
  else failures.push({ kind: 'autoscaling', error: autoscaling.reason })
  if (provisioned.status === 'fulfilled') databases.push(...provisioned.value)
  else failures.push({ kind: 'provisioned', error: provisioned.reason })
  return { databases, failures }
}

async function findByInstanceName(name: string, options: FindOptions): Promise<LakebaseDatabase> {
  const { client, log } = options
  const [instance, failure] = await settle(getInstance(client, name))
  if (instance !== undefined) return instance
  // Where Provisioned is switched off, its API may refuse anything; the other product may still know the name.
  const project = await askOther(findEndpoint(client, { project: name }), options)
  const found =
    project !== undefined && !('missing' in project)
      ? project
      : await findByCopiedName(name, options)
  if (found === undefined) {
    if (failure !== undefined) throw failure
    throw await notFound(`database instance "${name}"`, name, options)
  }
  log.warn(
    { target: name, endpoint: found.name },
    `"${name}" is not a Provisioned instance; using Autoscaling endpoint ${found.name}`,
  )
  return found
}

async function findByPath(
  target: Extract<Target, { kind: 'autoscaling' }>,
  options: FindOptions,
): Promise<LakebaseDatabase> {
  const { client, log } = options
  const [found, failure] = await settle(findEndpoint(client, target))
  if (found !== undefined && !('missing' in found)) return found
  const unknownProject = found === undefined || found.missing === 'project'
  if (unknownProject && target.branch === undefined) {
    const instance = await askOther(getInstance(client, target.project), options)
    if (instance !== undefined) {
      log.warn(
        { target: `projects/${target.project}`, instance: instance.name },
        `"${target.project}" is not an Autoscaling project; using the Provisioned instance of that name`,
      )
      return instance
    }
  }
  if (found === undefined) throw failure
  throw await missingPart(found, target.project, options)
}

async function findByHost(host: string, options: FindOptions): Promise<LakebaseDatabase> {
  const { client, log } = options
  const label = host.split('.')[0]!
  const uid = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/.exec(label)?.[0]
  if (uid !== undefined) {
    const instance = await askOther(findInstanceByUid(client, uid), options)
    if (instance !== undefined) return atNamedHost(instance, host)
  }
  const walk = walkEndpoints(client, {
    wanted: ({ endpoint }) => hostsOf(endpoint).includes(host) || endpoint.uid === label,
    firstOnly: true,
  })
  const [found] = (uid === undefined ? await walk : await askOther(walk, options)) ?? []
  if (found === undefined) {
    throw new ProxyError('target', `no Lakebase in ${client.host} has the host ${host}`, {
      hint: 'It may belong to another workspace (set --profile or DATABRICKS_HOST), or see: lakebase-proxy instances list',
    })
  }
  const database = toDatabase(found)
  const { hosts } = found.endpoint.status ?? {}
  const isReadWrite = hosts?.read_write_pooled_host?.toLowerCase() === host
  const isReadOnly = hosts?.read_only_pooled_host?.toLowerCase() === host
  if (!isReadWrite && !isReadOnly) return atNamedHost(database, host)
  log.warn(
    { host, endpoint: database.name },
    `${host} is a pooled host, which takes no tokens; using the direct host of its endpoint`,
  )
  return { ...database, directHost: isReadWrite ? database.readWriteHost : database.readOnlyHost }
}

/**
 * Which of its hosts the workspace calls by this name. A name with the right uid in another domain
 * may be a stranger's: a token goes to a host that the workspace names, and to no other.
 */
function atNamedHost(database: LakebaseDatabase, host: string): LakebaseDatabase {
  const known = [database.readWriteHost, database.readOnlyHost].filter((each) => each !== undefined)
  const directHost =
    known.find((each) => each.toLowerCase() === host) ??
    known.find((each) => labelOf(each) === labelOf(host))
  if (directHost !== undefined) return { ...database, directHost }
  if (known.length === 0) return database
  throw new ProxyError('target', `"${database.name}" does not have the host ${host}`, {
    hint: `Its hosts are: ${known.join(', ')}.`,
  })
}

function labelOf(host: string): string | undefined {
  return host.toLowerCase().split('.')[0]
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/**
 * What people copy from the workspace's pages: uids of all kinds, a project's display name, and the
 * last part of an endpoint's path where it is the only such.
 */
async function findByCopiedName(
  name: string,
  options: FindOptions,
): Promise<LakebaseDatabase | undefined> {
  const { client } = options
  if (UUID.test(name)) {
    const instance = await askOther(findInstanceByUid(client, name), options)
    if (instance !== undefined) return instance
  }
  const projects = (await askOther(listProjects(client), options)) ?? []
  const named = projects.filter(({ uid, spec, status }) =>
    [uid, spec?.display_name, status?.display_name].includes(name),
  )
  const project = theOnly(named, `projects are called "${name}"`)
  if (project !== undefined) return obviousEndpoint(project.name, client)

  const wanted = ({ endpoint, branch }: EndpointOnBranch): boolean =>
    [branch.uid, endpoint.uid].includes(name) || endpoint.name.endsWith(`/endpoints/${name}`)
  const found = (await askOther(walkEndpoints(client, { wanted }), options)) ?? []
  const branch = found.find((each) => each.branch.uid === name)?.branch
  if (branch !== undefined) return obviousEndpoint(branch.name, client)
  const endpoints = found.map(({ endpoint }) => endpoint)
  const byUid = endpoints.find(({ uid }) => uid === name)
  const only = byUid ?? theOnly(endpoints, `endpoints are called "${name}"`)
  const match = found.find(({ endpoint }) => endpoint === only)
  return match && toDatabase(match)
}

/** The endpoint that a project, or a branch, stands for. */
async function obviousEndpoint(
  path: string,
  client: WorkspaceClient,
): Promise<LakebaseDatabase | undefined> {
  const [, project = '', , branch] = path.split('/')
  const target = branch === undefined ? { project } : { project, branch }
  const found = await findEndpoint(client, target)
  return 'missing' in found ? undefined : found
}

function theOnly<T extends { readonly name: string }>(
  found: readonly T[],
  are: string,
): T | undefined {
  if (found.length <= 1) return found[0]
  throw new ProxyError('target', `several ${are}`, {
    hint: `Name one of: ${found.map(({ name }) => name).join(', ')}.`,
  })
}

function hostsOf(endpoint: EndpointOnBranch['endpoint']): (string | null | undefined)[] {
  const { hosts } = endpoint.status ?? {}
  return [
    hosts?.host,
    hosts?.read_only_host,
    hosts?.read_write_pooled_host,
    hosts?.read_only_pooled_host,
  ].map((host) => host?.toLowerCase())
}

async function missingPart(
  { missing, name }: Missing,
  project: string,
  options: FindOptions,
): Promise<ProxyError> {
  if (missing === 'project') return notFound(`Autoscaling project "${project}"`, project, options)
  if (/\/(branches|endpoints)$/.test(name)) {
    return new ProxyError('target', `${name.replace(/\/\w+$/, '')} has no ${missing}`, {
      hint: `Create one in the workspace ${options.client.host}.`,
    })
  }
  const parent = name.replace(/\/(branches|endpoints)\/[^/]*$/, '')
  return new ProxyError('target', `${missing} ${name} does not exist`, {
    hint: `Leave the part out to have it chosen (${parent}), or see: lakebase-proxy ${missing === 'branch' ? `branches list projects/${project}` : 'instances list'}`,
  })
}

async function notFound(what: string, name: string, options: FindOptions): Promise<ProxyError> {
  const { client } = options
  const [instances, projects] = await Promise.all([
    listInstances(client).catch(() => []),
    listProjects(client).catch(() => []),
  ])
  const names = [
    ...instances.map((instance) => ({ known: instance.name, shown: instance.name })),
    ...projects.map((item) => ({
      known: item.name.replace(/^projects\//, ''),
      shown: item.name,
    })),
  ]
  const close = nearest(
    name,
    names.map(({ known }) => known),
    3,
  ).flatMap((known) => names.filter((item) => item.known === known).map(({ shown }) => shown))
  return new ProxyError('target', `${what} does not exist in ${client.host}`, {
    hint:
      close.length === 0
        ? whatThereIs(names.map(({ shown }) => shown))
        : `Did you mean ${[...new Set(close)].join(' or ')}?`,
  })
}

const MAX_SHOWN = 10

function whatThereIs(names: readonly string[]): string {
  const all = 'See all with: lakebase-proxy instances list'
  if (names.length === 0) return all
  const shown = names.slice(0, MAX_SHOWN).join(', ')
  return names.length > MAX_SHOWN ? `There are ${shown}, … ${all}` : `There is: ${shown}.`
}

/** Asks the other product. That it refuses does not hide the error of the first product. */
async function askOther<T>(attempt: Promise<T>, options: FindOptions): Promise<T | undefined> {
  const [result, failure] = await settle(attempt)
  if (failure !== undefined) {
    options.log.debug({ err: failure }, 'the other kind of Lakebase could not be asked')
  }
  return result
}

/** With these errors the other product is tried: invalid name, no permission, not found, switched off. */
async function settle<T>(attempt: Promise<T>): Promise<[T | undefined, unknown]> {
  try {
    return [await attempt, undefined]
  } catch (error) {
    if (error instanceof ApiError && [400, 403, 404, 501].includes(error.status)) {
      return [undefined, error]
    }
    throw error
  }
}
