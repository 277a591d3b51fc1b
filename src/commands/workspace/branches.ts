/**
 * `branches`: the branches of Autoscaling projects. `create` returns when the branch takes
 * connections; `delete` deletes what it is told to, but never a default or a protected branch.
 */

import { branchIdOf, fitBranchId, isMadeByUs } from '../../branches/branch-name.js'
import { makeBranch } from '../../branches/make-branch.js'
import { roughly } from '../../branches/rough-time.js'
import { privateSettings } from '../../config/resolve/shown-as.js'
import { branchSource, duration, writeDuration } from '../../config/schema/values.js'
import { systemClock } from '../../core/clock.js'
import { ProxyError } from '../../core/errors.js'
import { silentLog } from '../../core/log.js'
import { nearest } from '../../core/nearest.js'
import { shownJson } from '../../core/plain-text.js'
import { ApiError } from '../../databricks/lakebase/api-error.js'
import type { WorkspaceBranches } from '../../databricks/lakebase/branches.js'
import type { ConnectedWorkspace } from '../../databricks/lakebase/connect-workspace.js'
import type { LakebaseBranch } from '../../databricks/lakebase/workspace.js'
import { type Invocation, readOption } from '../invocation/command.js'
import { progressLine } from '../invocation/progress-line.js'
import { startDaemon } from '../proxy/start.js'
import { table, withSignIn } from './with-workspace.js'

export async function listBranchesOf(invocation: Invocation): Promise<number> {
  const [written] = invocation.operands
  const named = written === undefined ? undefined : projectOf(written)
  const { stdout } = invocation.surroundings
  return withSignIn(invocation, async ({ workspace, signal }) => {
    const branches = await workspace.branches()
    const projects = named === undefined ? await branches.projects(signal) : [named]
    const listing = Promise.all(projects.map((project) => branches.list(project, signal)))
    const lists = await listing.catch(async (error: unknown) => {
      if (named === undefined || !(error instanceof ApiError && error.status === 404)) throw error
      throw await noSuchProject(named, { branches, workspace, signal, cause: error })
    })
    const all = lists.flat()
    if (invocation.options.has('json')) stdout.write(`${shownJson(all.map(asJson))}\n`)
    else if (all.length === 0) stdout.write('There is no branch.\n')
    else stdout.write(table([HEADINGS, ...all.map((each) => row(each, systemClock.now()))]))
    return 0
  })
}

/** What is printed is the new branch's name alone, for scripts. */
export async function createBranch(invocation: Invocation): Promise<number> {
  const { operands, options, surroundings } = invocation
  const [id = ''] = operands
  const from = readOption(options, 'from', branchSource)
  if (from === undefined) {
    throw new ProxyError('config', 'nothing says what to make the branch from', {
      hint: `Name a project or a branch: lakebase-proxy branches create ${shownId(id)} --from projects/P`,
    })
  }
  if (!/^[a-z][a-z0-9-]{0,62}$/.test(id)) {
    throw new ProxyError('config', 'a branch name has lower-case letters, digits and hyphens', {
      detail: 'It begins with a letter and has at most 63 characters.',
      hint: `Such as: ${shownId(id)}`,
    })
  }
  const { project, branch: source } = from
  const lifeMs = readOption(options, 'ttl', LIFE)!
  const name = `${project}/branches/${id}`
  const progress = progressLine(surroundings.stderr)
  await withSignIn(invocation, async ({ workspace, signal }) => {
    const branches = await workspace.branches()
    progress.tell(`${name} is being made`, false)
    const now = systemClock.now()
    await makeBranch(branches, { project, source, ids: [id], lifeMs, now }, signal)
  })
  progress.tell(`${name} is made; waiting for its first login`, false)
  await connectTo(name, invocation)
  progress.tell(`${name} takes connections, and expires in ${writeDuration(lifeMs)}`, true)
  surroundings.stdout.write(`${name}\n`)
  return 0
}

export async function deleteBranch(invocation: Invocation): Promise<number> {
  const { operands, options, surroundings } = invocation
  const [written = ''] = operands
  const purge = options.has('purge')
  return withSignIn(invocation, async ({ workspace, signal }) => {
    const branches = await workspace.branches()
    const name = await wholeName(written, branches, signal)
    await branches.remove({ name }, purge, signal)
    const rest = purge ? '' : '; it can be brought back for some days, and its name stays reserved'
    surroundings.stderr.write(`${name} is deleted${rest}\n`)
    return 0
  })
}

/** What is called so instead, or nearly so. */
async function noSuchProject(
  project: string,
  asked: {
    readonly branches: WorkspaceBranches
    readonly workspace: ConnectedWorkspace
    readonly signal: AbortSignal
    readonly cause: unknown
  },
): Promise<ProxyError> {
  const { branches, workspace, signal, cause } = asked
  const id = project.slice('projects/'.length)
  const none = { databases: [], failures: [] }
  const [{ databases }, projects] = await Promise.all([
    workspace.listDatabases(signal).catch(() => none),
    branches.projects(signal).catch(() => []),
  ])
  if (databases.some(({ kind, name }) => kind === 'provisioned' && name === id)) {
    return new ProxyError('target', `"${id}" is a Provisioned instance, which has no branches`, {
      cause,
      hint: 'Autoscaling projects have: lakebase-proxy branches list',
    })
  }
  const [near] = nearest(
    id,
    projects.map((each) => each.slice('projects/'.length)),
    1,
  )
  return new ProxyError('target', `${project} does not exist in ${workspace.host}`, {
    cause,
    hint:
      near === undefined
        ? 'See all with: lakebase-proxy branches list'
        : `Did you mean projects/${near}?`,
  })
}

/** By a proxy of its own, which waits as long as it does for a client. */
async function connectTo(name: string, invocation: Invocation): Promise<void> {
  const { surroundings, loadConfig } = invocation
  const config = await loadConfig({ targets: [name], notice() {} })
  const settings = privateSettings(config.settings, config.settings.targets[0]!, undefined)
  const proxy = await startDaemon({ ...config, settings }, surroundings, silentLog)
  const stopListening = surroundings.onSignal(() => void proxy.close())
  try {
    await proxy.targets[0]!.tryLogin()
  } finally {
    stopListening()
    await proxy.close()
  }
}

/** `shop` or `projects/shop`. */
function projectOf(written: string): string {
  const id = /^(?:projects\/)?([A-Za-z0-9][A-Za-z0-9_-]{0,62})$/.exec(written)?.[1]
  if (id !== undefined) return `projects/${id}`
  throw new ProxyError('config', 'that is not the name of a project', {
    hint: 'Write it as projects/P.',
  })
}

const LIFE = duration(5_000, 30 * 24 * 3600_000)

/** A bare name means the one project that the sign-in sees. */
async function wholeName(
  written: string,
  branches: WorkspaceBranches,
  signal: AbortSignal,
): Promise<string> {
  if (/^projects\/[\w-]+\/branches\/[\w-]+$/.test(written)) return written
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]*$/.test(written)) {
    throw new ProxyError('config', 'that is not the name of a branch', {
      hint: 'Write it as projects/P/branches/NAME.',
    })
  }
  const projects = await branches.projects(signal)
  const [only, ...others] = projects
  if (only !== undefined && others.length === 0) return `${only}/branches/${written}`
  throw new ProxyError('config', `several projects may have a branch ${written}`, {
    hint: `Say which is meant: ${projects.map((each) => `${each}/branches/${written}`).join(', ')}.`,
  })
}

const HEADINGS = ['BRANCH', 'STATE', 'AGE', 'EXPIRES', 'SOURCE', 'MADE BY'] as const

function row(branch: LakebaseBranch, now: number): string[] {
  const { name, createdAt, expiresAt, source } = branch
  return [
    name,
    stateOf(branch),
    createdAt === undefined ? '-' : roughly(now - createdAt),
    expiresAt === undefined ? 'never' : `in ${roughly(expiresAt - now)}`,
    source === undefined ? '-' : branchIdOf(source),
    isMadeByUs(branchIdOf(name)) ? 'lakebase-proxy' : '-',
  ]
}

function stateOf({ state, isDefault, isProtected }: LakebaseBranch): string {
  return [state, isDefault && 'default', isProtected && 'protected'].filter(Boolean).join(', ')
}

function asJson({ createdAt, expiresAt, ...branch }: LakebaseBranch): object {
  const time = (at: number | undefined): string | null =>
    at === undefined ? null : new Date(at).toISOString()
  return {
    ...branch,
    source: branch.source ?? null,
    createdAt: time(createdAt),
    expiresAt: time(expiresAt),
    madeByLakebaseProxy: isMadeByUs(branchIdOf(branch.name)),
  }
}

function shownId(written: string): string {
  return written === '' ? 'NAME' : fitBranchId(written)
}
