/**
 * The settings of a command: flags over the environment over `.env` over the YAML file. Every
 * problem is reported at once, with where it was set; the result is frozen.
 */

import { ProxyError } from '../../core/errors.js'
import { openToOthers } from '../../core/secret-file.js'
import { type SettingName, variableOf } from '../schema/table.js'
import { holdsPassword } from '../schema/targets.js'
import { readConfigFile } from '../sources/config-file.js'
import { type EnvFile, readEnvFile } from '../sources/env-file.js'
import { type GivenSetting, givenSettings } from '../sources/given.js'
import { Problems } from '../sources/problems.js'
import {
  fromVariables,
  LOCAL_PASSWORD,
  localPasswordOf,
  type Source,
  type Variables,
  type Written,
} from '../sources/sources.js'
import { checkHosts } from './checks.js'
import { usableVariables } from './implicit.js'
import { targetsForBranch } from './new-branch.js'
import { resolveSettings } from './resolve.js'
import { selectTargets } from './selection.js'
import { SettingLookup } from './setting-lookup.js'
import type { Machine, ProxySettings } from './settings.js'

export interface ConfigInputs {
  readonly targets: readonly string[]
  readonly flags: ReadonlyMap<SettingName, string>
  readonly env: Readonly<Record<string, string | undefined>>
  /** The user id that this process runs as. */
  readonly uid: number
  readonly machine: Machine
  /** Asks the user for a TARGET when no TARGET is named. Undefined when there is no terminal to ask on. */
  readonly pickTarget?: ((known: Unpicked) => Promise<string>) | undefined
  /** True for commands that can do without a target. */
  readonly targetOptional?: boolean
}

/** What signing in reads, and what the programs that it starts get. */
export interface Environments {
  /** The environment over `.env`; nothing of ours is in it. */
  readonly databricksEnv: Readonly<Record<string, string>>
  /** The environment alone: `.env` is not for other programs. */
  readonly programEnv: Readonly<Record<string, string | undefined>>
}

/** What is known before there is a target. */
export interface Unpicked extends Environments {
  readonly databricksHost: string | undefined
  readonly profile: string | undefined
}

export interface Config extends Environments {
  readonly settings: ProxySettings
  /** The settings of the workspace, for commands that have no target. */
  readonly signIn: Pick<Unpicked, 'databricksHost' | 'profile'>
  /** Which settings were set and where, without secrets. */
  readonly given: readonly GivenSetting[]
  /** What the user should know although it is not an error. */
  readonly notices: readonly string[]
  /** The file that is read again on SIGHUP. */
  readonly configFile: string | undefined
}

/** Errors: a single one, of kind `config`, with all problems. */
export async function loadConfig(inputs: ConfigInputs): Promise<Config> {
  const { env, machine } = inputs
  const problems = new Problems()
  const notices: string[] = []

  const flags = new Map<SettingName, Written>()
  for (const [name, text] of inputs.flags) {
    flags.set(name, { text, where: `--${name}`, folder: machine.cwd })
  }
  const read = (from: Variables) => ({ from, source: fromVariables(from, notices) })
  const environment = read({ values: env, where: (name) => name, folder: machine.cwd })
  const envFile = await findEnvFile([flags, environment.source], problems, inputs)
  if (envFile !== undefined) checkEnvFile(envFile, machine.platform, problems, notices)
  const variables = [environment, ...(envFile === undefined ? [] : [read(envFile)])]
  const above = [flags, ...variables.map(({ source }) => source)]

  const configFile = new SettingLookup({ sources: above, machine, problems }).value('config')
  const shown = above.map((settings) => settings.get('config')?.text).find(Boolean)
  const file =
    configFile === undefined
      ? undefined
      : await readConfigFile(configFile, shown ?? configFile, machine.platform, problems)
  const sources = [...above, ...(file === undefined ? [] : [file.source])]
  const lookup = new SettingLookup({ sources, machine, problems })
  const { 'databricks-host': databricksHost, profile } = lookup.values
  const signIn = { databricksHost, profile }
  const usable = envFile === undefined ? {} : usableVariables(envFile, env, problems)
  const databricksEnv = mergeEnvironment(usable, env)
  const programEnv = mergeEnvironment({}, env)
  let targets = selectTargets({
    typed: inputs.targets,
    flags,
    variables,
    fileTargets: file?.targets ?? [],
    cwd: machine.cwd,
    hostname: machine.hostname,
  })
  if (inputs.targets.length === 0 && !inputs.targetOptional) {
    const ahead = new SettingLookup({ sources, machine, problems: new Problems() })
    targets = targetsForBranch(targets, ahead)
  }
  if (targets.length === 0 && !inputs.targetOptional) {
    checkHosts([lookup], envFile, env)
    problems.throwIfAny()
    const unpicked = { databricksEnv, programEnv, ...signIn }
    const text = await inputs.pickTarget?.(unpicked)
    if (text === undefined) {
      throw new ProxyError('config', 'no target is named', {
        hint: 'Name one, as in "lakebase-proxy my-instance", or set LAKEBASE_PROXY_TARGETS, targets: in the --config file, LAKEBASE_ENDPOINT, LAKEBASE_INSTANCE, LAKEBASE_PG_URL or PGHOST.',
      })
    }
    targets = [{ text, where: 'TARGET', folder: machine.cwd, options: new Map() }]
  }
  const known = lookup.targets(targets)
  checkHosts(known.length === 0 ? [lookup] : known, envFile, env)
  const localPassword = variables.map(({ from }) => localPasswordOf(from)).find(Boolean)
  const settings = resolveSettings(lookup, known, localPassword)
  problems.throwIfAny()
  const given = givenSettings({ sources, targets, variables: variables.map(({ from }) => from) })
  return { settings, databricksEnv, programEnv, signIn, given, notices, configFile }
}

/** `--env-file`, or its variable, or `.env`. */
async function findEnvFile(
  above: readonly Source[],
  problems: Problems,
  { machine, uid }: ConfigInputs,
): Promise<EnvFile | undefined> {
  const written = above.map((settings) => settings.get('env-file')).find(Boolean)
  const { cwd, platform } = machine
  const path = new SettingLookup({ sources: above, machine, problems }).value('env-file')
  if (written !== undefined && path === undefined) return undefined
  try {
    const shown = written?.text ?? '.env'
    return await readEnvFile({ named: path, shown, cwd, uid, platform })
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error
    problems.add(written?.where ?? '.env', error.message, error.hint)
    return undefined
  }
}

const OUR_TARGETS = [variableOf('targets'), 'LAKEBASE_ENDPOINT', 'LAKEBASE_INSTANCE']

/** The file is the application's, and so is its mode; but not with a secret in it that is for us alone. */
function checkEnvFile(
  file: EnvFile,
  platform: string,
  problems: Problems,
  notices: string[],
): void {
  if (!openToOthers(file.path, platform)) return
  const hint = `Type: chmod 600 ${file.path}`
  const names = Object.keys(file.values)
  const ours = names.find(
    (name) =>
      name === LOCAL_PASSWORD || (OUR_TARGETS.includes(name) && holdsPassword(file.values[name]!)),
  )
  if (ours !== undefined) {
    problems.add(file.where(ours), 'the file can be read by others', hint)
    return
  }
  const secret = names.find(
    (name) =>
      /^DATABRICKS_(TOKEN|CLIENT_SECRET|PASSWORD)$/.test(name) ||
      (name === 'LAKEBASE_PG_URL' &&
        file.assignments(name).some(({ text }) => holdsPassword(text))),
  )
  if (secret !== undefined) {
    notices.push(`${file.where(secret)} is a secret, and the file can be read by others. ${hint}`)
  }
}

function mergeEnvironment(
  weaker: Readonly<Record<string, string>>,
  stronger: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  const merged: Record<string, string> = {}
  for (const [name, value] of [...Object.entries(weaker), ...Object.entries(stronger)]) {
    if (value === undefined || name.startsWith('LAKEBASE_')) continue
    // Here too an empty variable counts as not set.
    if (value !== '' || merged[name] === undefined) merged[name] = value
  }
  return Object.freeze(merged)
}
