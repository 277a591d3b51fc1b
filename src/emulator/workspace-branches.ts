/** Branches in the API of Lakebase Autoscaling: to make, list, extend, delete and bring back. */

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
import type { Branches, Expiry } from './branches.js'
import type { Branch, Identity, Project } from './inventory.js'
import type { OperationState } from './operations.js'

const LIST = '/api/2.0/postgres/(projects/*)/branches'
const ONE = '/api/2.0/postgres/((projects/*)/branches/*)'

export function branchRoutes(context: ApiContext): ApiRoute[] {
  const { branches, operations } = context
  /** The caller must be allowed to change the project. */
  const managed = (name: string, identity: Identity): Project => {
    const project = findProject(context, name)
    if (identity.projectRight !== 'CAN_MANAGE') {
      const message = `User does not have CAN MANAGE permission on project '${project.name}'.`
      throw new ApiError(403, 'PERMISSION_DENIED', message)
    }
    return project
  }
  const describe = (branch: Branch): object => describeBranch(branch, branches)
  return [
    route(`GET ${LIST}`, ({ path, query }) => {
      const project = findProject(context, path[0]!)
      const isWithDeleted = query.get('show_deleted') === 'true'
      const shown = isWithDeleted ? branches.all(project) : branches.present(project)
      const { items, next } = page(shown, query)
      return { branches: items.map(describe), ...next }
    }),
    route(`GET ${ONE}`, ({ path }) => describe(findBranch(context, path[0]!))),
    route(`POST ${LIST}`, ({ path, query, body, identity }) => {
      const project = managed(path[0]!, identity)
      const id = query.get('branch_id') ?? ''
      const spec = objectOf(body.spec)
      const expiry = readExpiry(spec)
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
      return operations.begin(branch.name, described)
    }),
    route(`PATCH ${ONE}`, ({ path, query, body, identity }) => {
      const project = managed(path[1]!, identity)
      const branch = findBranch(context, path[0]!)
      const spec = objectOf(body.spec)
      for (const field of (query.get('update_mask') ?? '').split(',')) {
        if (field === 'spec.expiration') {
          branches.setExpiry(project, branch, readExpiry(spec))
        } else if (/^spec\.(is_protected|isProtected)$/.test(field)) {
          branch.isProtected = spec.is_protected === true
        } else {
          throw badRequest(`update_mask has an invalid path: '${field}'`)
        }
      }
      return beginChange(context, branch.name, () => describe(branch))
    }),
    route(`DELETE ${ONE}`, ({ path: [name = '', parent = ''], query, identity }) => {
      const project = managed(parent, identity)
      const purge = query.get('purge') === 'true'
      const known = purge ? branches.all(project) : branches.present(project)
      const branch = known.find((each) => each.name === name)
      if (branch !== undefined) {
        branches.delete(project, branch, purge)
        return beginChange(context, name, () => ({}))
      }
      if (query.get('allow_missing') !== 'true') throw notFound('branch id not found')
      return operations.begin(name, () => ({ is: 'done', response: {} }))
    }),
    route(`POST ${ONE}/undelete`, ({ path: [name, parent = ''], identity }) => {
      const project = managed(parent, identity)
      const branch = branches.all(project).find((each) => each.name === name)
      if (branch === undefined) throw notFound('branch id not found')
      branches.undelete(project, branch)
      return beginChange(context, branch.name, () => describe(branch))
    }),
    route(`DELETE ${ONE}/endpoints/primary`, ({ path, identity }) => {
      managed(path[1]!, identity)
      findBranch(context, path[0]!)
      const info = {
        '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
        ...{ reason: 'MANAGED_BY_PARENT', domain: 'databricks.com' },
        metadata: { declarative_context: 'MANAGED_BY_PARENT' },
      }
      const message = 'the endpoint is managed by its branch'
      throw new ApiError(400, 'INVALID_PARAMETER_VALUE', message, [info])
    }),
    route('GET /api/2.0/postgres/(**/operations/*)', ({ path }) => operations.describe(path[0]!)),
  ]
}

/** Exactly one of ttl, expire_time and no_expiry. */
function readExpiry(spec: Readonly<Record<string, unknown>>): Expiry {
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
      return { expireAt: at }
    }
    default:
      if (spec.no_expiry !== true) throw badRequest('no_expiry must be true where it is set')
      return { noExpiry: true }
  }
}

/** A branch as the API gives it, without the `spec` of the request. */
function describeBranch(branch: Branch, branches: Branches): object {
  const purgeAt = branches.purgeAt(branch)
  const { name, createdAt, deletedAt, expireAt, source } = branch
  const branchId = name.split('/')[3]
  return {
    ...{ name, uid: branch.uid, branch_id: branchId },
    parent: name.split('/').slice(0, 2).join('/'),
    create_time: timestamp(createdAt),
    update_time: timestamp(branch.updatedAt),
    status: {
      branch_id: branchId,
      current_state: deletedAt === undefined ? branch.state : 'DELETED',
      ...(branch.state === 'INIT' && { pending_state: 'READY' }),
      // Booleans that are false are left out.
      ...(branch.isDefault && { default: true }),
      ...(branch.isProtected && { is_protected: true }),
      ...(source !== undefined && {
        source_branch: source,
        source_branch_time: timestamp(createdAt),
      }),
      ...(expireAt !== undefined && { expire_time: timestamp(expireAt) }),
      ...(deletedAt !== undefined && { delete_time: timestamp(deletedAt) }),
      ...(purgeAt !== undefined && { purge_time: timestamp(purgeAt) }),
    },
  }
}
