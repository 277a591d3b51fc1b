/** With no TARGET on a terminal: the databases of the workspace, and a question. */

import { createInterface } from 'node:readline/promises'
import type { Unpicked } from '../../config/resolve/config.js'
import { systemClock } from '../../core/clock.js'
import { ProxyError } from '../../core/errors.js'
import { silentLog } from '../../core/log.js'
import { workspaceOpener } from '../../daemon/workspace-opener.js'
import type { DatabaseList } from '../../databricks/lakebase/instances.js'
import type { LakebaseDatabase } from '../../databricks/lakebase/workspace.js'
import type { Surroundings } from '../cli/command.js'

/** Resolves to a TARGET. Errors: kind `config` when there is nothing to pick, or nobody picks. */
export async function pickTarget(
  { databricksEnv, programEnv, databricksHost, profile }: Unpicked,
  { stdin, stderr, machine }: Pick<Surroundings, 'stdin' | 'stderr' | 'machine'>,
): Promise<string> {
  const openWorkspace = workspaceOpener({
    env: databricksEnv,
    programEnv,
    homeDir: machine.homeDir,
    clock: systemClock,
    log: silentLog,
  })
  const workspace = await openWorkspace({ databricksHost, profile })
  let list: DatabaseList
  try {
    list = await workspace.listDatabases(new AbortController().signal)
  } finally {
    await workspace.close()
  }
  const { databases } = list
  if (databases.length === 0) {
    throw new ProxyError('config', `there is no database in ${workspace.host}`, {
      hint: 'Create one in the workspace, or name another with --profile or --databricks-host.',
    })
  }
  if (databases.length === 1) {
    stderr.write(`Using ${databases[0]!.name}, the only database of ${workspace.host}.\n`)
    return databases[0]!.name
  }
  const terminal = createInterface({ input: stdin, output: stderr })
  const gone = new AbortController()
  terminal.once('close', () => gone.abort())
  try {
    stderr.write(menu(workspace.host, databases))
    for (;;) {
      const answer = await terminal.question('Which one? ', { signal: gone.signal })
      const picked = pickFrom(databases, answer.trim())
      if (picked !== undefined) return picked.name
      stderr.write(`Type a number from 1 to ${databases.length}, or a name.\n`)
    }
  } catch (cause) {
    if (!gone.signal.aborted) throw cause
    throw new ProxyError('config', 'no target was picked', { cause })
  } finally {
    terminal.close()
  }
}

function menu(host: string, databases: readonly LakebaseDatabase[]): string {
  const width = String(databases.length).length
  const lines = databases.map(
    ({ name, kind, state }, index) =>
      `  ${String(index + 1).padStart(width)}  ${name}  (${kind}, ${state})`,
  )
  return `Databases of ${host}:\n${lines.join('\n')}\n`
}

/** By number, by name, or by the only name that begins so. */
function pickFrom(
  databases: readonly LakebaseDatabase[],
  answer: string,
): LakebaseDatabase | undefined {
  if (answer === '') return undefined
  if (/^\d+$/.test(answer)) return databases[Number(answer) - 1]
  const exact = databases.find(({ name }) => name === answer)
  const begins = databases.filter(({ name }) => name.startsWith(answer))
  return exact ?? (begins.length === 1 ? begins[0] : undefined)
}
