/**
 * Databricks' own settings, resolved as its SDKs do it (lakebase.md §4): what was said explicitly,
 * then the environment, then one profile of the configuration file. The file is not read at all
 * when no profile is named and the host or a way to sign in is already set. Where each value came
 * from is kept, for `doctor` and for messages.
 */

import { readFile } from 'node:fs/promises'
import path from 'node:path'

import { ProxyError } from '../../core/errors.js'
import { Secret } from '../../core/secret.js'
import { normalizeHost } from '../http/workspace-host.js'
import { type Profiles, parseDatabricksCfg, SETTINGS_SECTION } from './databrickscfg.js'

/** One setting, known by its key in the file, read also from the environment. */
export interface Attribute {
  readonly name: string
  /** The first that is set wins. */
  readonly env: readonly string[]
  /** What the SDKs call it when two ways of signing in are mixed: `pat`, `oauth`, `azure`, … */
  readonly family?: string
  readonly sensitive?: true
}

export interface DatabricksConfigOptions {
  readonly attributes: readonly Attribute[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly homeDir: string
  readonly databricksHost?: string | undefined
  readonly profile?: string | undefined
}

export interface ResolvedSetting {
  readonly name: string
  readonly value: string | Secret
  /** As in `DATABRICKS_HOST` or `profile "dev" of /home/me/.databrickscfg`. */
  readonly source: string
}

/** The settings of every way of signing in that is here, and of those that are not. */
export const COMMON_ATTRIBUTES: readonly Attribute[] = [
  { name: 'host', env: ['DATABRICKS_HOST'] },
  { name: 'auth_type', env: ['DATABRICKS_AUTH_TYPE'] },
  { name: 'account_id', env: ['DATABRICKS_ACCOUNT_ID'] },
  { name: 'workspace_id', env: ['DATABRICKS_WORKSPACE_ID'] },
  { name: 'discovery_url', env: ['DATABRICKS_DISCOVERY_URL'] },
  { name: 'audience', env: ['DATABRICKS_TOKEN_AUDIENCE'] },
  // Known so that a mixture with them is refused by name.
  { name: 'username', env: ['DATABRICKS_USERNAME'], family: 'basic' },
  { name: 'password', env: ['DATABRICKS_PASSWORD'], family: 'basic', sensitive: true },
  {
    name: 'google_service_account',
    env: ['DATABRICKS_GOOGLE_SERVICE_ACCOUNT'],
    family: 'google',
  },
  { name: 'google_credentials', env: ['GOOGLE_CREDENTIALS'], family: 'google', sensitive: true },
]

export class DatabricksConfig {
  /** `https://…` without a path, or undefined when none is set. */
  readonly host: string | undefined
  /** The profile that was read, if any. */
  readonly profile: string | undefined
  readonly settings: readonly ResolvedSetting[]
  /** Said when nothing was found: where the file is, and whether it was read. */
  readonly fileNote: string
  /** Settings of the profile that lost to the environment, as sentences. */
  readonly overridden: readonly string[]

  constructor(fields: Pick<DatabricksConfig, 'profile' | 'settings' | 'fileNote' | 'overridden'>) {
    this.settings = fields.settings
    this.profile = fields.profile
    this.fileNote = fields.fileNote
    this.overridden = fields.overridden
    const host = fields.settings.find(({ name }) => name === 'host')
    this.host = host && normalizeHost(String(host.value), host.source)
  }

  get(name: string): string | undefined {
    const value = this.settings.find((setting) => setting.name === name)?.value
    return value instanceof Secret ? value.reveal() : value
  }

  secret(name: string): Secret | undefined {
    const value = this.get(name)
    return value === undefined ? undefined : new Secret(value)
  }

  /** Where it was set, for a message; the name itself when it was not. */
  sourceOf(name: string): string {
    return this.settings.find((setting) => setting.name === name)?.source ?? name
  }
}

/** Errors: kind `config`, for a named profile that does not exist and for a file that is unreadable. */
export async function resolveDatabricksConfig(
  options: DatabricksConfigOptions,
): Promise<DatabricksConfig> {
  const { attributes, env } = options
  const settings = new Map<string, ResolvedSetting>()
  if (options.databricksHost !== undefined) {
    set(settings, attributes, 'host', options.databricksHost, '--databricks-host')
  }
  for (const attribute of attributes) {
    const variable = attribute.env.find((name) => (env[name] ?? '') !== '')
    if (variable === undefined || settings.has(attribute.name)) continue
    set(settings, attributes, attribute.name, env[variable]!, variable)
  }
  const profile = await readProfile(options, settings)
  const overridden: string[] = []
  for (const { name } of attributes) {
    const value = profile.values.get(name) ?? ''
    const held = settings.get(name)
    if (value === '') continue
    if (held === undefined) set(settings, attributes, name, value, profile.label)
    else if (options.profile !== undefined && held.source !== '--databricks-host') {
      const heldValue = held.value instanceof Secret ? held.value.reveal() : held.value
      if (heldValue !== value)
        overridden.push(`${held.source} overrides ${name} of ${profile.label}`)
    }
  }
  return new DatabricksConfig({
    settings: [...settings.values()],
    profile: profile.name,
    fileNote: profile.note,
    overridden,
  })
}

function set(
  settings: Map<string, ResolvedSetting>,
  attributes: readonly Attribute[],
  name: string,
  value: string,
  source: string,
): void {
  const sensitive = attributes.find((attribute) => attribute.name === name)?.sensitive === true
  settings.set(name, { name, value: sensitive ? new Secret(value) : value, source })
}

interface ReadProfile {
  readonly name: string | undefined
  readonly label: string
  readonly values: ReadonlyMap<string, string>
  readonly note: string
}

const NO_VALUES: ReadonlyMap<string, string> = new Map()

async function readProfile(
  options: DatabricksConfigOptions,
  settings: ReadonlyMap<string, ResolvedSetting>,
): Promise<ReadProfile> {
  const { env, homeDir, attributes } = options
  const asked = options.profile ?? (env.DATABRICKS_CONFIG_PROFILE || undefined)
  const askedBy = options.profile === undefined ? 'DATABRICKS_CONFIG_PROFILE' : '--profile'
  const file = expandHome(env.DATABRICKS_CONFIG_FILE || '~/.databrickscfg', homeDir)
  const enough = attributes.some(
    ({ name, family }) => (name === 'host' || family !== undefined) && settings.has(name),
  )
  if (asked === undefined && enough) {
    return { name: undefined, label: '', values: NO_VALUES, note: `${file} was not read` }
  }
  const profiles = await readProfiles(file)
  if (profiles === undefined) {
    if (asked !== undefined) {
      throw new ProxyError('config', `${file} does not exist, so it has no profile "${asked}"`, {
        hint: `${askedBy} names the profile. Make it with: databricks auth login --profile ${asked}`,
      })
    }
    return { name: undefined, label: '', values: NO_VALUES, note: `${file} does not exist` }
  }
  const byDefault = profiles.get(SETTINGS_SECTION)?.get('default_profile') || undefined
  const name = asked ?? byDefault ?? 'DEFAULT'
  const values = name === SETTINGS_SECTION ? undefined : profiles.get(name)
  if (values === undefined || values.size === 0) {
    if (asked === undefined && byDefault === undefined) {
      return {
        name: undefined,
        label: '',
        values: NO_VALUES,
        note: `${file} has no profile DEFAULT`,
      }
    }
    throw new ProxyError('config', `${file} has no profile "${name}"`, {
      detail: `It is named by ${asked === undefined ? 'default_profile in that file' : askedBy}.`,
      hint: profileHint(profiles),
    })
  }
  return { name, label: `profile "${name}" of ${file}`, values, note: `${file} was read` }
}

async function readProfiles(file: string): Promise<Profiles | undefined> {
  try {
    return parseDatabricksCfg(await readFile(file, 'utf8'))
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new ProxyError('config', `could not read ${file}: ${code || String(error)}`, {
      cause: error,
      hint: 'Check its permissions, or set DATABRICKS_CONFIG_FILE.',
    })
  }
}

function profileHint(profiles: Profiles): string {
  const names = [...profiles.keys()].filter(
    (name) => name !== SETTINGS_SECTION && (profiles.get(name)?.size ?? 0) > 0,
  )
  return names.length === 0
    ? 'It has no profiles; make one with: databricks auth login'
    : `Its profiles are: ${names.join(', ')}.`
}

function expandHome(file: string, homeDir: string): string {
  return /^~(?=[/\\]|$)/.test(file) ? path.join(homeDir, file.slice(1)) : file
}
