/** `instances`: lists the instances and endpoints of the workspace, and starts or stops one. */

import type { Target } from '../../config/schema/target-text.js'
import { writeDuration } from '../../config/schema/values.js'
import { systemClock } from '../../core/clock.js'
import { pause } from '../../core/deadline.js'
import { ProxyError } from '../../core/errors.js'
import { oneLine, shownJson } from '../../core/plain-text.js'
import type { LakebaseDatabase } from '../../databricks/lakebase/workspace.js'
import { checkStartable } from '../../endpoints/availability.js'
import type { Invocation } from '../invocation/command.js'
import { oneTarget } from '../invocation/one-target.js'
import { type ProgressLine, progressLine } from '../invocation/progress-line.js'
import { table, type WorkspaceUse, withSignIn, withWorkspace } from './with-workspace.js'

const POLL_MS = 2_000
const WAIT_LIMIT_MS = 20 * 60_000

/** Both kinds in one list; where one product fails, a notice says so and the other is listed. */
export async function listInstances(invocation: Invocation): Promise<number> {
  const { surroundings, options } = invocation
  const { stdout, stderr } = surroundings
  return withSignIn(invocation, async ({ workspace, signal }) => {
    const { databases, failures } = await workspace.listDatabases(signal)
    for (const { kind, error } of failures) {
      stderr.write(`Notice: ${kind} could not be listed: ${oneLine((error as Error).message)}\n`)
    }
    if (options.has('json')) {
      stdout.write(`${shownJson(databases.map(described))}\n`)
    } else if (databases.length === 0) {
      stdout.write(`There is no instance or endpoint in ${workspace.host}.\n`)
    } else {
      const rows = databases.map((each) => [
        each.name,
        each.kind,
        each.apiState,
        each.readWriteHost ?? '-',
      ])
      stdout.write(table([['TARGET', 'KIND', 'STATE', 'HOST'], ...rows]))
    }
    return 0
  })
}

export async function showInstance(invocation: Invocation): Promise<number> {
  const { stdout } = invocation.surroundings
  return withTarget(invocation, async (database) => {
    if (invocation.options.has('json')) {
      stdout.write(`${shownJson(described(database))}\n`)
      return 0
    }
    const rows = Object.entries(described(database)).map(([name, value]) => [name, value ?? '-'])
    stdout.write(table(rows as string[][]))
    return 0
  })
}

/** Shows progress until AVAILABLE: on one line of a terminal, a line for each state elsewhere. */
export async function startInstance(invocation: Invocation): Promise<number> {
  const { stderr } = invocation.surroundings
  return withTarget(invocation, async (database, use) => {
    if (isUp(database)) {
      stderr.write(`${database.name} is ${database.apiState} already.\n`)
      return 0
    }
    checkStartable(database)
    if (database.state === 'stopped') await use.workspace.startDatabase(database, use.signal)
    const reached = (now: LakebaseDatabase): boolean => {
      checkStartable(now)
      return isUp(now)
    }
    await untilState({ database, use, reached, kind: 'starting', progress: progressLine(stderr) })
    return 0
  })
}

export async function stopInstance(invocation: Invocation): Promise<number> {
  const { stderr } = invocation.surroundings
  return withTarget(invocation, async (database, use) => {
    if (database.state === 'stopped') {
      stderr.write(`${database.name} is ${database.apiState} already.\n`)
      return 0
    }
    await use.workspace.stopDatabase(database, use.signal)
    const reached = ({ state }: LakebaseDatabase): boolean => state === 'stopped'
    await untilState({ database, use, reached, kind: 'target', progress: progressLine(stderr) })
    return 0
  })
}

async function withTarget(
  invocation: Invocation,
  act: (database: LakebaseDatabase, use: WorkspaceUse) => Promise<number>,
): Promise<number> {
  const { config, target } = await oneTarget(invocation)
  if (target.target.kind === 'static') {
    const message = `${target.name} has a native password, and no workspace to ask`
    throw new ProxyError('config', message, {
      hint: 'Name an instance or an endpoint: lakebase-proxy instances list',
    })
  }
  return withWorkspace(config, target, invocation.surroundings, async (use) =>
    act(await use.workspace.findDatabase(target.target, use.signal), use),
  )
}

interface Waiting {
  database: LakebaseDatabase
  use: WorkspaceUse
  reached: (database: LakebaseDatabase) => boolean
  /** Of the error when it takes too long. */
  kind: 'starting' | 'target'
  progress: ProgressLine
}

async function untilState({ database, use, reached, kind, progress }: Waiting): Promise<void> {
  const until = systemClock.monotonic() + WAIT_LIMIT_MS
  const target = targetOf(database)
  for (;;) {
    const now = await use.workspace.findDatabase(target, use.signal)
    const done = reached(now)
    progress.tell(`${now.name}: ${now.apiState}`, done)
    if (done) return
    if (systemClock.monotonic() > until) {
      const limit = writeDuration(WAIT_LIMIT_MS)
      throw new ProxyError(kind, `${now.name} is still ${now.apiState} after ${limit}`, {
        hint: `It goes on without us; look again with: lakebase-proxy instances show ${now.name}`,
      })
    }
    await pause(systemClock, POLL_MS, use.signal)
  }
}

/** As a full name, so that the wait cannot move to another one. */
function targetOf({ kind, name }: LakebaseDatabase): Target {
  if (kind === 'provisioned') return { kind, instance: name }
  const [, project = '', , branch = '', , endpoint = ''] = name.split('/')
  return { kind, project, branch, endpoint }
}

function isUp({ state }: LakebaseDatabase): boolean {
  return state === 'available' || state === 'idle'
}

function described(database: LakebaseDatabase): Record<string, string | undefined> {
  const { name, kind, apiState, readWriteHost, readOnlyHost, uid } = database
  return { name, kind, state: apiState, host: readWriteHost, readOnlyHost, uid }
}
