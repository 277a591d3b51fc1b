/**
 * Branches of an Autoscaling project: listed, created with a limited life, extended and deleted.
 * A branch is always created with a life (`ttl`), so that the workspace removes it when its maker is
 * gone; nothing here makes a branch that stays for ever or replaces one. The default branch and
 * protected ones are never deleted.
 */

import { z } from 'zod'

import type { Clock } from '../../core/clock.js'
import { pause, withDeadline } from '../../core/deadline.js'
import { ProxyError } from '../../core/errors.js'
import { plainText } from '../../core/plain-text.js'
import { ApiError, isFull, unlessRefused } from './api-error.js'
import { Branch, listBranches, listProjects, POSTGRES, timeOf } from './autoscaling.js'
import { apiPath, type WorkspaceClient } from './client.js'
import type { LakebaseBranch, NewBranch, WorkspaceBranches } from './workspace.js'

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

export class LakebaseBranches implements WorkspaceBranches {
  readonly #client: WorkspaceClient
  readonly #clock: Clock

  constructor(client: WorkspaceClient, clock: Clock) {
    this.#client = client
    this.#clock = clock
  }

  async projects(signal: AbortSignal): Promise<string[]> {
    return (await listProjects(this.#client, signal)).map(({ name }) => name)
  }

  async list(project: string, signal: AbortSignal): Promise<LakebaseBranch[]> {
    return (await listBranches(this.#client, project, signal)).map(described)
  }

  async get(name: string, signal: AbortSignal): Promise<LakebaseBranch | undefined> {
    const found = await unlessRefused(this.#get(name, signal), 404)
    return found && described(found.value)
  }

  async create(
    { project, id, source, lifeMs }: NewBranch,
    signal: AbortSignal,
  ): Promise<LakebaseBranch> {
    const what = `create branch ${project}/branches/${id}`
    const sourceBranch = source ?? (await this.#defaultBranch(project, signal))
    const { value } = await this.#change(
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
    try {
      await this.#finished(value, what, signal)
      return described((await this.#get(name, signal)).value)
    } catch (error) {
      await this.#undo(name)
      throw error
    }
  }

  async extend(name: string, lifeMs: number, signal: AbortSignal): Promise<void> {
    const { serverTime = this.#clock.now() } = await this.#get(name, signal)
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

  async remove(name: string, purge: boolean, signal: AbortSignal): Promise<void> {
    const branch = await this.get(name, signal)
    if (branch === undefined) throw new ProxyError('target', `branch ${name} does not exist`)
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
    return this.#client.request({
      ...{ path: apiPath(POSTGRES, name), schema: Branch, what, signal, kind: 'target' },
    })
  }

  /** The caller will not learn of it: that it ends with its life is enough if this fails. */
  async #undo(name: string): Promise<void> {
    const reason = (): Error => new Error('timeout expired')
    const limit = { clock: this.#clock, ms: UNDO_LIMIT_MS, reason }
    await withDeadline(limit, (signal) => this.remove(name, true, signal)).catch(() => {})
  }

  async #change(
    call: {
      readonly method: 'POST' | 'PATCH' | 'DELETE'
      readonly path: string
      readonly query: Readonly<Record<string, string | undefined>>
      readonly body?: unknown
      readonly what: string
    },
    signal: AbortSignal,
  ) {
    try {
      const idempotent = call.method !== 'POST'
      const kind = 'target'
      return await this.#client.request({ ...call, schema: Operation, signal, idempotent, kind })
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
      const { value } = await this.#client.request({
        path: apiPath(POSTGRES, begun.name),
        ...{ schema: Operation, what, signal, kind: 'target' },
      })
      operation = value
    }
    const { error } = operation
    if (!error) return
    const why = plainText(error.message ?? error.error_code ?? 'no reason was given')
    throw new ProxyError('target', `could not ${what}: ${why}`)
  }
}

function described({ name, create_time, status }: Branch): LakebaseBranch {
  return {
    name,
    state: status?.current_state ?? 'UNKNOWN',
    isDefault: status?.default === true,
    isProtected: status?.is_protected === true,
    createdAt: timeOf(create_time),
    expiresAt: timeOf(status?.expire_time),
    source: status?.source_branch ?? undefined,
  }
}
