/** Projects, endpoints, roles and credentials in the API of Lakebase Autoscaling, `/api/2.0/postgres`. */

import { ApiError, badRequest, notFound } from './api-error.js'
import {
  type ApiContext,
  type ApiRoute,
  beginChange,
  findBranch,
  findProject,
  objectOf,
  page,
  route,
  text,
  timestamp,
} from './api-route.js'
import { type Branch, type Endpoint, groups, type Project } from './inventory.js'

const PROJECT = '/api/2.0/postgres/(projects/*)'
const BRANCH = '/api/2.0/postgres/(projects/*/branches/*)'
const ENDPOINT = '/api/2.0/postgres/(projects/*/branches/*/endpoints/*)'

export function postgresRoutes(context: ApiContext): ApiRoute[] {
  const { inventory, behaviour, tokens } = context
  const branchOf = (path: readonly string[]): Branch => findBranch(context, path[0]!)
  const findEndpoint = (name: string): Endpoint => {
    const branch = findBranch(context, name.split('/').slice(0, 4).join('/'))
    const found = branch.endpoints.find((each) => each.name === name)
    if (found === undefined) throw notFound('endpoint id not found')
    return found
  }
  return [
    route('GET /api/2.0/postgres/projects', ({ query }) => {
      const { items, next } = page(inventory.projects, query)
      return { projects: items.map((each) => describeProject(each)), ...next }
    }),
    route(`GET ${PROJECT}`, ({ path }) => describeProject(findProject(context, path[0]!))),
    route(`GET ${BRANCH}/endpoints`, ({ path, query }) => {
      const { items, next } = page(branchOf(path).endpoints, query)
      return { endpoints: items.map((each) => describeEndpoint(each)), ...next }
    }),
    route(`GET ${ENDPOINT}`, ({ path }) => describeEndpoint(findEndpoint(path[0]!))),
    route(`PATCH ${ENDPOINT}`, ({ path, query, body }) => {
      const endpoint = findEndpoint(path[0]!)
      if (query.get('update_mask') !== 'spec.disabled') {
        throw badRequest('update_mask must be spec.disabled')
      }
      endpoint.disabled = objectOf(body.spec).disabled === true
      return beginChange(context, endpoint.name, () => describeEndpoint(endpoint))
    }),
    route(`GET ${BRANCH}/databases`, ({ path }) => ({
      databases: [describeDatabase(branchOf(path))],
    })),
    route(`GET ${BRANCH}/databases/(*)`, ({ path }) => {
      const database = describeDatabase(branchOf(path))
      if (!database.name.endsWith(`/${path[1]}`)) throw notFound('database id not found')
      return database
    }),
    route(`GET ${BRANCH}/roles`, ({ path, query }) => {
      const { items, next } = page(describeRoles(branchOf(path), context), query)
      return { roles: items, ...next }
    }),
    route(`GET ${BRANCH}/roles/(*)`, ({ path }) => {
      const described = describeRoles(branchOf(path), context)
      const found = described.find((each) => each.name.endsWith(`/roles/${path[1]}`))
      if (found === undefined) throw notFound('role id not found')
      return found
    }),
    route('POST /api/2.0/postgres/credentials', ({ body, identity }) => {
      const name = text(body.endpoint)
      if (name === undefined || name === '') throw badRequest('endpoint is required')
      findEndpoint(name)
      const group = text(body.group_name)
      if (group !== undefined && !identity.groups.includes(group)) {
        const message = `Caller is not a member of group '${group}'.`
        throw new ApiError(403, 'PERMISSION_DENIED', message)
      }
      const lifeMs = requestedLifeMs(body, context) ?? behaviour.tokenTtlMs
      const token = tokens.mint({ use: 'database', identity, lifeMs, group })
      return { token: token.text, expire_time: timestamp(token.expiresAt) }
    }),
  ]
}

/** 5 minutes to 1 hour, as a duration or as the moment of its end; the API takes either, not both. */
function requestedLifeMs(
  body: Readonly<Record<string, unknown>>,
  { clock }: ApiContext,
): number | undefined {
  if (body.ttl === undefined && body.expire_time === undefined) return undefined
  if (body.ttl !== undefined && body.expire_time !== undefined) {
    throw badRequest('only one of ttl and expire_time may be set')
  }
  const ttl = /^(\d+(?:\.\d{1,9})?)s$/.exec(text(body.ttl) ?? '')?.[1]
  const lifeMs =
    body.ttl !== undefined
      ? Number(ttl) * 1000
      : Date.parse(text(body.expire_time) ?? '') - clock.now()
  if (!(lifeMs >= 300_000 && lifeMs <= 3_600_000)) {
    throw badRequest('ttl must be a duration between 300s and 3600s')
  }
  return lifeMs
}

function describeDatabase({ name }: Branch): { name: string; parent: string; status: object } {
  const status = { postgres_database: 'databricks_postgres' }
  return { name: `${name}/databases/databricks-postgres`, parent: name, status }
}

function describeRoles({ name }: Branch, context: ApiContext): { name: string }[] {
  return roles(context).map((status, at) => ({
    name: `${name}/roles/role-${at + 1}`,
    parent: name,
    status: { ...status, auth_method: 'LAKEBASE_OAUTH_V1' },
  }))
}

function roles({ inventory }: ApiContext): { postgres_role: string; identity_type: string }[] {
  return [
    ...inventory.identities
      .filter((each) => each.hasRole)
      .map((each) => ({
        postgres_role: each.userName,
        identity_type: each.kind === 'user' ? 'USER' : 'SERVICE_PRINCIPAL',
      })),
    ...groups.map((name) => ({ postgres_role: name, identity_type: 'GROUP' })),
  ]
}

function describeProject(project: Project): object {
  const createdAt = timestamp(project.createdAt)
  return {
    name: project.name,
    uid: project.uid,
    create_time: createdAt,
    update_time: createdAt,
    status: { display_name: project.displayName, pg_version: 17, owner: 'ada@example.com' },
  }
}

function describeEndpoint(endpoint: Endpoint): object {
  const createdAt = timestamp(endpoint.createdAt)
  return {
    name: endpoint.name,
    uid: endpoint.uid,
    parent: endpoint.name.split('/').slice(0, 4).join('/'),
    endpoint_id: endpoint.name.split('/')[5],
    create_time: createdAt,
    update_time: createdAt,
    spec: {},
    status: {
      current_state: endpoint.state,
      ...(endpoint.pendingState !== undefined && { pending_state: endpoint.pendingState }),
      ...(endpoint.lastActiveAt !== undefined && {
        last_active_time: timestamp(endpoint.lastActiveAt),
      }),
      ...(endpoint.disabled && { disabled: true }),
      endpoint_type: `ENDPOINT_TYPE_${endpoint.type}`,
      autoscaling_limit_min_cu: 0.5,
      autoscaling_limit_max_cu: 4,
      suspend_timeout_duration: '86400s',
      hosts: {
        host: endpoint.host,
        ...(endpoint.readOnlyHost !== undefined && { read_only_host: endpoint.readOnlyHost }),
        // Listed first by some clients, and never to be chosen for a token.
        read_write_pooled_host: endpoint.pooledHost,
      },
    },
  }
}
