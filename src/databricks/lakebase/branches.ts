/**
 * Branches of Autoscaling projects: listed, created with a limited life, extended and deleted. They
 * are named `projects/P/branches/B`, projects `projects/P`.
 * A branch is always created with a life (`ttl`), so that the workspace removes it when its maker is
 * gone; nothing here makes a branch that stays for ever or replaces one. The default branch and
 * protected ones are never deleted.
 */

import { z } from 'zod'

import type { Clock } from '../../core/clock.js'
import { pause, withDeadline } from '../../core/deadline.js'
import { ProxyError } from '../../core/errors.js'
import { plainText } from '../../core/plain-text.js'
import { ApiError, isFull, isTaken, unlessRefused } from './api-error.js'
import { Branch, listBranches, listProjects, POSTGRES } from './autoscaling.js'
import { type ApiRequest, apiPath, timeOf, type WorkspaceClient } from './client.js'
import type { BranchRef, BranchRequest, LakebaseBranch } from './workspace.js'

const Operation = z.object({
  name: z.string(),
  done: z.boolean().nullish(),
  error: z
    .object({ error_code: z.coerce.string().nullish(), message: z.string().nullish() })
    .nullish(),
})
type Operation = z.infer<typeof Operation>

const FIRST_POLL_MS = 250
/** A branch takes seconds, and clients wait for it. */
const MAX_POLL_MS = 1_000
const UNDO_LIMIT_MS = 5_000
/** The workspace gives its time in full seconds. */
const TIME_ERROR_MS = 2_000

export type WorkspaceBranches = Pick<LakebaseBranches, keyof LakebaseBranches>

export class LakebaseBranches {
  readonly #client: (signal: AbortSignal) => WorkspaceClient
  readonly #clock: Clock

  constructor(client: (signal: AbortSignal) => WorkspaceClient, clock: Clock) {
    this.#client = client
    this.#clock = clock
  }

  /** The projects that the identity may see. */
  async projects(signal: AbortSignal): Promise<string[]> {
    return (await listProjects(this.#client(signal))).map(({ name }) => name)
  }

  /** The branches that are not deleted. Errors: kind `target`, when the project does not exist. */
  async list(project: string, signal: AbortSignal): Promise<LakebaseBranch[]> {
    return (await listBranches(this.#client(signal), project)).map(described)
  }

  async get(name: string, signal: AbortSignal): Promise<LakebaseBranch | undefined> {
    const found = await unlessRefused(this.#get(name, signal), 404)
    return found && described(found.value)
  }

  /** Resolves when the branch exists. Errors: `isTaken(error)` when the name is in use. */
  async create(
    { project, id, source, lifeMs, isShared = false }: BranchRequest,
    signal: AbortSignal,
  ): Promise<LakebaseBranch> {
    const what = `create branch ${project}/branches/${id}`
    const sourceBranch = source ?? (await this.#defaultBranch(project, signal))
    const began = this.#clock.monotonic()
    const { value, serverTime = this.#clock.now() } = await this.#change(
      {
        method: 'POST',
        path: apiPath(POSTGRES, project, 'branches'),
        query: { branch_id: id },
        body: { spec: { source_branch: sourceBranch, ttl: `${Math.ceil(lifeMs / 1000)}s` } },
        what,
      },
      signal,
    )
    const name = `${project}/branches/${id}`
    const since = serverTime - (this.#clock.monotonic() - began) - TIME_ERROR_MS
    try {
      await this.#finished(value, what, signal)
      return described((await this.#get(name, signal)).value)
    } catch (error) {
      const wasNotMade = error instanceof ApiError && error.status === 200 // the operation's own word
      const mayBeOthers = isTaken(error) || (isShared && !wasNotMade)
      if (!mayBeOthers) await this.#undo({ name, sourceBranch, since, begun: value })
      throw error
    }
  }

  /**
   * It lives for this long from now. Errors: `isTooLong(error)` when the workspace allows less,
   * `isGone(error)` for another branch than the one that is meant.
   */
  async extend({ name, uid }: BranchRef, lifeMs: number, signal: AbortSignal): Promise<void> {
    const { value, serverTime = this.#clock.now() } = await this.#get(name, signal)
    refuseAnother(described(value), uid)
    const expireTime = new Date(serverTime + lifeMs).toISOString()
    await this.#change(
      {
        method: 'PATCH',
        path: apiPath(POSTGRES, name),
        query: { update_mask: 'spec.expiration' },
        body: { name, spec: { expire_time: expireTime } },
        what: `extend the life of branch ${name}`,
      },
      signal,
    )
  }

  /**
   * Resolves when the workspace has accepted. Without `purge`, the branch can be brought back for
   * some days, and its name stays reserved. Errors: kind `target` for a branch that must not be deleted,
   * or that is another than the one that is meant.
   */
  async remove({ name, uid }: BranchRef, purge: boolean, signal: AbortSignal): Promise<void> {
    const branch = await this.get(name, signal)
    if (branch === undefined) throw new ProxyError('target', `branch ${name} does not exist`)
    refuseAnother(branch, uid)
    await this.#delete(branch, purge, signal)
  }

  async #delete(branch: LakebaseBranch, purge: boolean, signal: AbortSignal): Promise<void> {
    const { name } = branch
    if (branch.isDefault || branch.isProtected) {
      const why = branch.isDefault ? 'the default branch of its project' : 'protected'
      throw new ProxyError('target', `branch ${name} is ${why}, and is not deleted`)
    }
    await this.#change(
      {
        method: 'DELETE',
        path: apiPath(POSTGRES, name),
        query: { purge: purge ? 'true' : undefined },
        what: `delete branch ${name}`,
      },
      signal,
    )
  }

  async #defaultBranch(project: string, signal: AbortSignal): Promise<string> {
    const found = (await this.list(project, signal)).find(({ isDefault }) => isDefault)
    if (found !== undefined) return found.name
    throw new ProxyError('target', `${project} has no default branch`, {
      hint: `Name the branch to start from: ${project}/branches/B.`,
    })
  }

  #get(name: string, signal: AbortSignal) {
    const what = `look up branch ${name}`
    const path = apiPath(POSTGRES, name)
    return this.#client(signal).exchange({ path, schema: Branch, what, kind: 'target' })
  }

  /**
   * Deletes the branch that an operation was to make, if it is certain to be that one. The caller will
   * not learn of it: that it ends with its life is enough if this fails.
   */
  async #undo({ name, sourceBranch, since, begun }: BegunBranch): Promise<void> {
    const reason = (): Error => new Error('timeout expired')
    const limit = { clock: this.#clock, ms: UNDO_LIMIT_MS, reason }
    await withDeadline(limit, async (signal) => {
      const [{ error }, branch] = await Promise.all([
        this.#operation(begun, `delete branch ${name}`, signal),
        this.get(name, signal),
      ])
      if (branch === undefined || (error && isTaken(failureOf(error, '')))) return
      const isOurs = branch.source === sourceBranch && (branch.createdAt ?? 0) >= since
      if (isOurs) await this.#delete(branch, true, signal)
    }).catch(() => {})
  }

  async #change(
    call: Pick<ApiRequest<Operation>, 'method' | 'path' | 'query' | 'body' | 'what'>,
    signal: AbortSignal,
  ) {
    try {
      const idempotent = call.method !== 'POST'
      const kind = 'target'
      return await this.#client(signal).exchange({ ...call, schema: Operation, idempotent, kind })
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 403 || isFull(error)) throw error
      const { status, errorCode } = error
      const project = call.path.slice(POSTGRES.length + 1).replace(/\/branches.*/, '')
      const hint = `This needs the permission CAN MANAGE on ${project}: ask one of its managers for it.`
      throw new ApiError('identity', error.message, { status, errorCode }, { hint, cause: error })
    }
  }

  async #finished(begun: Operation, what: string, signal: AbortSignal): Promise<void> {
    let operation = begun
    let delayMs = FIRST_POLL_MS
    while (operation.done !== true) {
      await pause(this.#clock, delayMs, signal)
      delayMs = Math.min(MAX_POLL_MS, delayMs * 1.5)
      operation = await this.#operation(begun, what, signal)
    }
    if (operation.error) throw failureOf(operation.error, what)
  }

  async #operation({ name }: Operation, what: string, signal: AbortSignal): Promise<Operation> {
    const path = apiPath(POSTGRES, name)
    const kind = 'target'
    return this.#client(signal).request({ path, schema: Operation, what, kind })
  }
}

interface BegunBranch {
  readonly name: string
  readonly sourceBranch: string
  /** It is created no earlier, in epoch ms by the workspace's clock. */
  readonly since: number
  readonly begun: Operation
}

function failureOf(error: NonNullable<Operation['error']>, what: string): ApiError {
  const { error_code, message } = error
  const isTakenName = error_code === '6' || /already exists/i.test(message ?? '') // 6: by gRPC's number
  const errorCode = isTakenName ? 'ALREADY_EXISTS' : (error_code ?? undefined)
  const why = plainText(message ?? errorCode ?? 'no reason was given')
  // That it failed is the content of a reply that has succeeded.
  return new ApiError('target', `could not ${what}: ${why}`, { status: 200, errorCode })
}

function refuseAnother({ name, uid }: LakebaseBranch, expected: string | undefined): void {
  if (expected === undefined || uid === expected) return
  throw new ProxyError('target', `branch ${name} was deleted and created again, and is left alone`)
}

function described({ name, uid, create_time, status }: Branch): LakebaseBranch {
  return {
    name,
    uid: uid ?? create_time ?? undefined,
    state: status?.current_state ?? 'UNKNOWN',
    isDefault: status?.default === true,
    isProtected: status?.is_protected === true,
    createdAt: timeOf(create_time),
    expiresAt: timeOf(status?.expire_time),
    source: status?.source_branch ?? undefined,
  }
}
