/**
 * With no TARGET on a terminal: an instance or endpoint is chosen with the arrow keys or by typing a part
 * of its name. With several profiles and none chosen, the profile is asked first.
 */

import type { Environments, Unpicked } from '../../config/resolve/config.js'
import { systemClock } from '../../core/clock.js'
import { ProxyError } from '../../core/errors.js'
import { silentLog } from '../../core/log.js'
import { plainText } from '../../core/plain-text.js'
import { workspaceOpener } from '../../daemon/workspace-opener.js'
import type { LakebaseDatabase } from '../../databricks/lakebase/workspace.js'
import { profilesToChooseFrom } from '../../databricks/sign-in/profile.js'
import type { Surroundings } from '../invocation/command.js'

export type PromptPlace = Pick<Surroundings, 'stdin' | 'prompt' | 'machine'>

/** Resolves to a TARGET. Errors: kind `config` when there is nothing to pick, or nothing is picked. */
export async function pickTarget(known: Unpicked, place: PromptPlace): Promise<string> {
  const { databricksEnv, programEnv, databricksHost } = known
  const profile = await pickProfile(known, place)
  const { homeDir } = place.machine
  const open = workspaceOpener({
    ...{ env: databricksEnv, programEnv, homeDir },
    ...{ clock: systemClock, log: silentLog, oneTry: true },
  })
  const workspace = await open({ databricksHost, profile: profile ?? known.profile })
  try {
    const { databases } = await workspace.listDatabases(new AbortController().signal)
    const name = await pickDatabase(databases, workspace.host, place)
    return withProfile(name, profile)
  } finally {
    await workspace.close()
  }
}

/** A TARGET that keeps the profile that was picked. */
export function withProfile(name: string, profile: string | undefined): string {
  return profile === undefined ? name : `${name}?profile=${encodeURIComponent(profile)}`
}

/** Undefined when the workspace is known already, or there is nothing to choose from. */
export async function pickProfile(
  known: Pick<Environments, 'databricksEnv'> & Pick<Unpicked, 'databricksHost' | 'profile'>,
  place: PromptPlace,
): Promise<string | undefined> {
  const { databricksEnv: env, databricksHost, profile } = known
  const isKnown = [databricksHost, profile, env.DATABRICKS_HOST, env.DATABRICKS_CONFIG_PROFILE]
  if (isKnown.some(Boolean)) return undefined
  const file = env.DATABRICKS_CONFIG_FILE
  const choices = await profilesToChooseFrom({ file, homeDir: place.machine.homeDir })
  if (choices.length === 0) return undefined
  const options = choices.map(({ name, host }) => ({ value: name, label: `${name} (${host})` }))
  return ask('Which profile?', options, 'no profile was picked', place)
}

/** Resolves to its name. A single database is picked without a question. */
export async function pickDatabase(
  databases: readonly LakebaseDatabase[],
  host: string,
  place: PromptPlace,
): Promise<string> {
  const [first, ...others] = databases
  if (first === undefined) {
    throw new ProxyError('config', `there is no instance or endpoint in ${host}`, {
      hint: 'Create one in the workspace, or name another with --profile or --databricks-host.',
    })
  }
  if (others.length === 0) {
    place.prompt.write(`Using ${plainText(first.name)}, the only target of ${host}.\n`)
    return first.name
  }
  const options = databases.map(({ name, kind, state }) => ({
    value: name,
    label: `${name} (${MARKS[state] ?? kind})`,
  }))
  return ask(`Which instance or endpoint of ${host}?`, options, 'no target was picked', place)
}

/** How those are marked that take no connections as they are. */
const MARKS: Readonly<Partial<Record<LakebaseDatabase['state'], string>>> = {
  stopped: 'stopped',
  disabled: 'disabled',
  deleting: 'being deleted',
  starting: 'starting',
}

const MAX_SHOWN = 12

async function ask(
  message: string,
  options: readonly { readonly value: string; readonly label: string }[],
  cancelled: string,
  { stdin, prompt }: PromptPlace,
): Promise<string> {
  const { autocomplete } = await import('@clack/prompts')
  const gone = new AbortController()
  const end = (): void => gone.abort()
  stdin.once('end', end)
  try {
    const picked = await autocomplete<string>({
      message: plainText(message),
      options: options.map(({ value, label }) => ({ value, label: plainText(label) })),
      placeholder: 'type to search',
      maxItems: MAX_SHOWN,
      input: stdin as NodeJS.ReadStream,
      output: prompt as NodeJS.WriteStream,
      signal: gone.signal,
    })
    if (typeof picked === 'string') return picked
    throw new ProxyError('config', cancelled)
  } finally {
    stdin.off('end', end)
  }
}
