/** What tells one repository from another, in every clone of it: its first commit. */

import type { CommandPlace, RunCommand } from '../databricks/sign-in/run-command.js'
import { findGitFolder } from './git-head.js'

/** Programs that the configuration of a repository can name. */
const WITHOUT_PROGRAMS = ['-c', 'core.fsmonitor=false', '-c', 'core.hooksPath=/dev/null']
/** A missing commit is not fetched: how to fetch is a program in that configuration, too. */
const WITHOUT_FETCH = {
  GIT_ALLOW_PROTOCOL: 'none',
  GIT_NO_LAZY_FETCH: '1',
  GIT_OPTIONAL_LOCKS: '0',
  GIT_TERMINAL_PROMPT: '0',
}

/** The first commit, as far as git knows it here; else the folder of the repository, or nothing. */
export async function repositoryOf(
  folder: string,
  run: RunCommand | undefined,
  signal: AbortSignal,
): Promise<string> {
  const gitFolder = await findGitFolder(folder)
  if (gitFolder === undefined || run === undefined) return gitFolder ?? ''
  // Told the folder, git does not search: it would also take a bare repository that a clone brought as files.
  const where = ['--no-pager', `--git-dir=${gitFolder}`, ...WITHOUT_PROGRAMS]
  // In a long history, the first parents alone are quick to follow.
  const args = [...where, 'rev-list', '--first-parent', '--max-parents=0', 'HEAD']
  const { exitCode, stdout } = await run('git', args, signal)
  const commit = stdout.trim().split('\n').at(-1) ?? ''
  return exitCode === 0 && commit !== '' ? commit : gitFolder
}

/** Its code is loaded when git is asked. */
export function gitRunner(place: CommandPlace): RunCommand {
  const programEnv = { ...place.programEnv, ...WITHOUT_FETCH }
  return async (...command) => {
    const { commandRunner } = await import('../databricks/sign-in/run-command.js')
    return commandRunner({ ...place, programEnv })(...command)
  }
}
