/** Branches in the API of Lakebase Autoscaling: to make, list, extend, delete and bring back. */

import { ApiError, badRequest, notFound } from './api-error.js'
import { type ApiContext, type ApiRoute, objectOf, page, text, timestamp } from './api-route.js'
import type { Branches, Expiry } from './branches.js'
import type { Branch, Identity, Project } from './inventory.js'
import type { OperationState } from './operations.js'

const BASE = '\\/api\\/2\\.0\\/postgres'
const LIST = new RegExp(`^${BASE}\\/(projects\\/[^/]+)\\/branches$`)
const ONE = new RegExp(`^${BASE}\\/(projects\\/[^/]+)(\\/branches\\/[^/]+)$`)
const UNDELETE = new RegExp(`^${BASE}\\/(projects\\/[^/]+)(\\/branches\\/[^/]+)\\/undelete$`)
const PRIMARY = new RegExp(
  `^${BASE}\\/(projects\\/[^/]+)(\\/branches\\/[^/]+)\\/endpoints\\/primary$`,
)

export function branchRoutes(context: ApiContext): ApiRoute[] {
  const { inventory, behaviour, branches, operations, clock } = context
  const findProject = (name: string | undefined): Project => {
    const found = inventory.projects.find((each) => each.name === name)
    if (found === undefined) throw notFound('project id not found')
    return found
  }
  /** The caller must be allowed to change the project. */
  const managed = (name: string | undefined, identity: Identity): Project => {
    const project = findProject(name)
    if (identity.projectRight !== 'CAN_MANAGE') {
      const message = `User does not have CAN MANAGE permission on project '${project.name}'.`
      throw new ApiError(403, 'PERMISSION_DENIED', message)
    }
    return project
  }
  const find = (project: Project, rest: string | undefined): Branch => {
    const name = `${project.name}${rest}`
    const found = branches.present(project).find((each) => each.name === name)
    if (found === undefined) throw notFound('branch id not found')
    return found
  }
  const describe = (branch: Branch): object => describeBranch(branch, branches, context)
  /** An operation that takes as long as any state change. */
  const changing = (branch: Branch, response: () => object): { body: object } => {
    const doneAt = clock.now() + behaviour.transitionMs
    const state = (): OperationState =>
      clock.now() < doneAt ? { is: 'running' } : { is: 'done', response: response() }
    return { body: operations.begin(branch.name, state) }
  }
  return [
    {
      api: 'branches',
      method: 'GET',
      path: LIST,
      handle({ path, query }) {
        const project = findProject(path[0])
        const isWithDeleted = query.get('show_deleted') === 'true'
        const shown = isWithDeleted ? branches.all(project) : branches.present(project)
        const { items, next } = page(shown, query, behaviour)
        return { body: { branches: items.map(describe), ...next } }
      },
    },
    {
      api: 'branch',
      method: 'GET',
      path: ONE,
      handle: ({ path }) => ({ body: describe(find(findProject(path[0]), path[1])) }),
    },
    {
      api: 'branch-create',
      method: 'POST',
      path: LIST,
      handle({ path, query, body, identity }) {
        const project = managed(path[0], identity)
        const id = query.get('branch_id') ?? ''
        const spec = objectOf(body.spec)
        const expiry = readExpiry(spec, context)
        const existing = branches.present(project).find((each) => each.name.endsWith(`/${id}`))
        if (existing !== undefined && query.get('replace_existing') === 'true') {
          branches.setExpiry(project, existing, expiry)
          return changing(existing, () => describe(existing))
        }
        for (const name of ['source_branch_time', 'source_branch_lsn', 'source_snapshot']) {
          if (spec[name] !== undefined) {
            throw new ApiError(501, 'NOT_IMPLEMENTED', `the emulator does not take spec.${name}`)
          }
        }
        const isProtected = spec.is_protected === true
        const plan = { id, source: text(spec.source_branch), isProtected, expiry }
        const { branch, state } = branches.create(project, plan)
        const described = (): OperationState => {
          const now = state()
          return now.is === 'done' ? { is: 'done', response: describe(branch) } : now
        }
        return { body: operations.begin(branch.name, described) }
      },
    },
    {
      api: 'branch-update',
      method: 'PATCH',
      path: ONE,
      handle({ path, query, body, identity }) {
        const project = managed(path[0], identity)
        const branch = find(project, path[1])
        const spec = objectOf(body.spec)
        for (const field of (query.get('update_mask') ?? '').split(',')) {
          if (field === 'spec.expiration') {
            branches.setExpiry(project, branch, readExpiry(spec, context))
          } else if (/^spec\.(is_protected|isProtected)$/.test(field)) {
            branch.isProtected = spec.is_protected === true
          } else {
            throw badRequest(`update_mask has an invalid path: '${field}'`)
          }
        }
        return changing(branch, () => describe(branch))
      },
    },
    {
      api: 'branch-delete',
      method: 'DELETE',
      path: ONE,
      handle({ path, query, identity }) {
        const project = managed(path[0], identity)
        const name = `${path[0]}${path[1]}`
        const purge = query.get('purge') === 'true'
        const known = purge ? branches.all(project) : branches.present(project)
        const branch = known.find((each) => each.name === name)
        if (branch !== undefined) {
          branches.delete(project, branch, purge)
          return changing(branch, () => ({}))
        }
        if (query.get('allow_missing') !== 'true') throw notFound('branch id not found')
        return { body: operations.begin(name, () => ({ is: 'done', response: {} })) }
      },
    },
    {
      api: 'branch-undelete',
      method: 'POST',
      path: UNDELETE,
      handle({ path, identity }) {
        const project = managed(path[0], identity)
        const name = `${path[0]}${path[1]}`
        const branch = branches.all(project).find((each) => each.name === name)
        if (branch === undefined) throw notFound('branch id not found')
        branches.undelete(project, branch)
        return changing(branch, () => describe(branch))
      },
    },
    {
      api: 'endpoint-delete',
      method: 'DELETE',
      path: PRIMARY,
      handle({ path, identity }) {
        find(managed(path[0], identity), path[1])
        throw new ApiError(
          ...([400, 'INVALID_PARAMETER_VALUE', 'the endpoint is managed by its branch'] as const),
          [
            {
              '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
              ...{ reason: 'MANAGED_BY_PARENT', domain: 'databricks.com' },
              metadata: { declarative_context: 'MANAGED_BY_PARENT' },
            },
          ],
        )
      },
    },
    {
      api: 'operation',
      method: 'GET',
      path: new RegExp(`^${BASE}\\/(.+\\/operations\\/[^/]+)$`),
      handle: ({ path }) => ({ body: operations.describe(path[0] ?? '') }),
    },
  ]
}

/** Exactly one of ttl, expire_time and no_expiry. */
function readExpiry(spec: Readonly<Record<string, unknown>>, { behaviour }: ApiContext): Expiry {
  const given = ['ttl', 'expire_time', 'no_expiry'].filter((name) => spec[name] !== undefined)
  if (given.length !== 1) throw badRequest('one of ttl, expire_time and no_expiry must be set')
  switch (given[0]) {
    case 'ttl': {
      const seconds = /^(\d+(?:\.\d{1,9})?)s$/.exec(text(spec.ttl) ?? '')?.[1]
      if (seconds === undefined) throw badRequest('ttl must be a duration such as 7200s')
      return { ttlMs: Number(seconds) * 1000 }
    }
    case 'expire_time': {
      const at = Date.parse(text(spec.expire_time) ?? '')
      if (Number.isNaN(at)) throw badRequest('expire_time must be a timestamp')
      return { expireAt: at - behaviour.clockSkewMs }
    }
    default:
      if (spec.no_expiry !== true) throw badRequest('no_expiry must be true where it is set')
      return { noExpiry: true }
  }
}

/** What was asked for (`spec`) is not given back. */
function describeBranch(branch: Branch, branches: Branches, { behaviour }: ApiContext): object {
  const time = (at: number): string => timestamp(at, behaviour)
  const purgeAt = branches.purgeAt(branch)
  const { name, createdAt, deletedAt, expireAt, source } = branch
  const branchId = name.split('/')[3]
  return {
    ...{ name, uid: branch.uid, branch_id: branchId },
    parent: name.split('/').slice(0, 2).join('/'),
    create_time: time(createdAt),
    update_time: time(branch.updatedAt),
    status: {
      branch_id: branchId,
      current_state: deletedAt === undefined ? branch.state : 'DELETED',
      ...(branch.state === 'INIT' && { pending_state: 'READY' }),
      // Booleans that are false are left out.
      ...(branch.isDefault && { default: true }),
      ...(branch.isProtected && { is_protected: true }),
      ...(source !== undefined && { source_branch: source, source_branch_time: time(createdAt) }),
      ...(expireAt !== undefined && { expire_time: time(expireAt) }),
      ...(deletedAt !== undefined && { delete_time: time(deletedAt) }),
      ...(purgeAt !== undefined && { purge_time: time(purgeAt) }),
    },
  }
}
