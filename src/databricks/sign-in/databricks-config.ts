/**
 * Databricks' own settings, resolved as its SDKs do it: flags, then the
 * environment, then one profile of the configuration file. The file is not read at all when no
 * profile is named and the host or a way to sign in is already set. Unlike the SDKs, a profile's
 * credential goes to the profile's own host only. The source of each value is kept, for `doctor`
 * and for messages.
 */

import { ProxyError } from '../../core/errors.js'
import { Secret } from '../../core/secret.js'
import { parseWorkspaceAddress } from '../http/workspace-host.js'
import { noProfile, type Profile, readProfile } from './profile.js'

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
  // As in the SDKs, a profile alone can set them.
  { name: 'scopes', env: [] },
  // Known so that a mixture with them is refused by name.
  { name: 'username', env: ['DATABRICKS_USERNAME'], family: 'basic' },
  { name: 'password', env: ['DATABRICKS_PASSWORD'], family: 'basic', sensitive: true },
]

const OF_THE_WORKSPACE = ['host', 'account_id', 'workspace_id', 'discovery_url']

export class DatabricksConfig {
  /** `https://…` without a path, or undefined when none is set. */
  readonly host: string | undefined
  /** Which workspace of a host that serves several. */
  readonly workspaceId: string | undefined
  readonly accountId: string | undefined
  readonly settings: readonly ResolvedSetting[]
  readonly profile: Profile
  /** Settings of the profile that lost to the environment, as sentences. */
  readonly overridden: readonly string[]

  constructor(settings: readonly ResolvedSetting[], profile: Profile, overridden: string[]) {
    this.settings = settings
    this.profile = profile
    this.overridden = overridden
    const host = settings.find(({ name }) => name === 'host')
    const address = host && parseWorkspaceAddress(String(host.value), host.source)
    this.host = address?.host
    this.accountId = this.get('account_id') ?? address?.accountId
    const workspaceId = this.get('workspace_id') ?? address?.workspaceId
    // "none" is what the CLI writes for an account without a workspace.
    this.workspaceId = workspaceId === 'none' ? undefined : workspaceId
  }

  /** OAuth scopes, as a token request wants them. A profile holds them with commas. */
  get scopes(): string {
    const scopes = (this.get('scopes') ?? '').split(',').map((scope) => scope.trim())
    return scopes.filter((scope) => scope !== '').join(' ') || 'all-apis'
  }

  get(name: string): string | undefined {
    const value = this.settings.find((setting) => setting.name === name)?.value
    return value instanceof Secret ? value.reveal() : value
  }

  secret(name: string): Secret | undefined {
    const value = this.get(name)
    return value === undefined ? undefined : new Secret(value)
  }

  /** The same workspace, with this credential and none of the settings of our own sign-in. */
  signedInWith(credential: readonly ResolvedSetting[]): DatabricksConfig {
    const kept = this.settings.filter(({ name }) => OF_THE_WORKSPACE.includes(name))
    return new DatabricksConfig([...kept, ...credential], noProfile(this.profile.note), [])
  }

  /** Where it was set, for a message; the name itself when it was not. */
  sourceOf(name: string): string {
    return this.settings.find((setting) => setting.name === name)?.source ?? name
  }
}

/**
 * Errors: kind `config`, for a named profile that does not exist, a file that is unreadable, and a
 * profile that is used for another host than its own.
 */
export async function resolveDatabricksConfig(
  options: DatabricksConfigOptions,
): Promise<DatabricksConfig> {
  const { attributes, env, databricksHost } = options
  const settings = new Map<string, ResolvedSetting>()
  const set = ({ name, sensitive }: Attribute, value: string, source: string): void => {
    settings.set(name, { name, value: sensitive ? new Secret(value) : value, source })
  }
  for (const attribute of attributes) {
    if (attribute.name === 'host' && databricksHost !== undefined) {
      set(attribute, databricksHost, '--databricks-host')
      continue
    }
    const variable = attribute.env.find((name) => (env[name] ?? '') !== '')
    if (variable !== undefined) set(attribute, withoutLineBreak(env[variable]!), variable)
  }
  const profile = await readProfile({
    asked: askedProfile(options),
    file: env.DATABRICKS_CONFIG_FILE,
    homeDir: options.homeDir,
    enough: attributes.some(
      ({ name, family }) => (name === 'host' || family !== undefined) && settings.has(name),
    ),
  })
  refuseOtherHost(profile, settings, attributes)
  const overridden: string[] = []
  for (const attribute of attributes) {
    const { name } = attribute
    const value = profile.values.get(name) ?? ''
    const held = settings.get(name)
    if (value === '') continue
    if (held === undefined) set(attribute, value, profile.label)
    else if (options.profile !== undefined && held.source !== '--databricks-host') {
      const heldValue = held.value instanceof Secret ? held.value.reveal() : held.value
      if (heldValue !== value)
        overridden.push(`${held.source} overrides ${name} of ${profile.label}`)
    }
  }
  return new DatabricksConfig([...settings.values()], profile, overridden)
}

/** `$(cat file)` leaves none, but a Kubernetes Secret made of a file keeps its last line break. */
export function withoutLineBreak(value: string): string {
  return value.replace(/\r?\n$/, '')
}

function askedProfile({
  profile,
  env,
}: DatabricksConfigOptions): { name: string; by: string } | undefined {
  if (profile !== undefined) return { name: profile, by: '--profile' }
  const name = env.DATABRICKS_CONFIG_PROFILE
  return name ? { name, by: 'DATABRICKS_CONFIG_PROFILE' } : undefined
}

/**
 * A profile is a credential and the workspace it is for. The SDKs let a host of the environment
 * replace the profile's, and send the credential there: then a line in a `.env` is enough to steal
 * a token. The CLI's own login is meant too: it is asked for by the profile's name.
 */
function refuseOtherHost(
  profile: Profile,
  settings: ReadonlyMap<string, ResolvedSetting>,
  attributes: readonly Attribute[],
): void {
  const host = settings.get('host')
  const own = profile.values.get('host')
  if (profile.name === undefined) return
  const holdsCredential = attributes.some(
    ({ name, family }) => family !== undefined && (profile.values.get(name) ?? '') !== '',
  )
  const ownHost = own && parseWorkspaceAddress(own, profile.label).host
  if (host !== undefined) {
    const used = parseWorkspaceAddress(String(host.value), host.source).host
    if (ownHost ? ownHost !== used : holdsCredential) {
      throw new ProxyError(
        'config',
        ownHost
          ? `profile "${profile.name}" is for ${ownHost}, not for ${used}`
          : `profile "${profile.name}" names no host, so its credential is not sent to ${used}`,
        {
          detail: `The host is set by ${host.source}. A profile's credential is used for the profile's own host only.`,
          hint: ownHost
            ? `Unset ${host.source}, or choose the profile of ${used} with --profile.`
            : `Add to ${profile.label}: host = ${used}`,
        },
      )
    }
  }
  const discovery = settings.get('discovery_url')
  if (discovery !== undefined && holdsCredential && originOf(discovery) !== ownHost) {
    throw new ProxyError(
      'config',
      `${discovery.source} would send the credential of ${profile.label} to another host`,
      { hint: `Unset ${discovery.source}, or write discovery_url into the profile.` },
    )
  }
}

function originOf({ value }: ResolvedSetting): string | undefined {
  const text = String(value)
  return URL.canParse(text) ? new URL(text).origin : undefined
}
