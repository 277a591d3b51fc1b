/**
 * The order of unified authentication: which way of signing in is taken for which environment,
 * profile and programs, what is asked of whom, and what is refused. The workspace answers `Me` with
 * the token it was shown, so that every row proves which token was used.
 */

import assert from 'node:assert/strict'
import { createVerify, generateKeyPairSync } from 'node:crypto'
import { chmod } from 'node:fs/promises'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import { Agent, type Dispatcher } from 'undici'

import { systemClock } from '../src/core/clock.js'
import { openWorkspace } from '../src/databricks/lakebase/connect-workspace.js'
import { FakePrograms } from './support/fake-programs.js'
import { recordedLog } from './support/recorded-log.js'
import {
  neverAborted,
  type ScriptedReply,
  ScriptedWorkspace,
  type SeenRequest,
} from './support/scripted-workspace.js'

interface Row {
  readonly name: string
  /** HOST stands for the workspace's address, DIR for the row's folder, in these three. */
  readonly env?: Readonly<Record<string, string>>
  readonly cfg?: string
  /** Where it differs from `env`, which then holds what `.env` adds. */
  readonly programEnv?: Readonly<Record<string, string>>
  readonly args?: { readonly databricksHost?: string; readonly profile?: string }
  readonly files?: Readonly<Record<string, string>>
  readonly databricks?: keyof typeof DATABRICKS
  readonly az?: keyof typeof AZ
  /** What is expected: the way taken and the token used, or an error. */
  readonly type?: string
  readonly token?: string
  /** Requests before `Me`, in order, and the calls of programs. */
  readonly requests?: readonly string[]
  readonly calls?: readonly string[]
  readonly notices?: readonly RegExp[]
  /** What the host says of itself. */
  readonly hostMetadata?: Readonly<Record<string, unknown>>
  readonly error?: { readonly kind: string; readonly text: RegExp }
}

const cliToken = (token: string): string =>
  `echo '{"access_token":"${token}","token_type":"Bearer","expiry":"2099-01-02T03:04:05.678901234Z"}'`
const CURRENT = "echo 'Databricks CLI v0.296.0'"
const NOT_LOGGED_IN = `echo 'Error: cache: databricks OAuth is not configured for this host.' >&2; exit 1`

const DATABRICKS = {
  current: { version: CURRENT, 'auth token*': cliToken('cli') },
  older: { version: "echo 'Databricks CLI v0.207.1'", 'auth token*': cliToken('cli') },
  oldest: { version: "echo 'Databricks CLI v0.200.0'", 'auth token*': cliToken('cli') },
  legacy: { '*': "echo 'Error: No such command' >&2; exit 2" },
  loggedOut: { version: CURRENT, 'auth token*': NOT_LOGGED_IN },
  tellsEnvironment: {
    version: CURRENT,
    'auth token*': cliToken(`'"$OWN/$PYTHONPATH/$LAKEBASE_PROXY_LOCAL_PASSWORD"'`),
  },
  garbage: { version: CURRENT, 'auth token*': 'echo hello' },
} as const

const azToken = (token: string): string =>
  `echo '{"accessToken":"${token}","expiresOn":"2099-01-02 03:04:05.000000","tokenType":"Bearer"}'`
const AZ = {
  loggedIn: {
    '*management.core.windows.net*': azToken('az-management'),
    '*': azToken('az'),
  },
  user: {
    '*management.core.windows.net*': `echo 'no access' >&2; exit 1`,
    '*': azToken('az'),
  },
  managedIdentity: {
    '*--tenant*': `echo 'Tenant shouldn not be specified for managed identity account' >&2; exit 1`,
    '*': azToken('az-msi'),
  },
  loggedOut: { '*': `echo "ERROR: Please run 'az login' to setup account." >&2; exit 1` },
} as const

const DISCOVERY = 'GET /oidc/.well-known/oauth-authorization-server'
const TOKEN = 'POST /oidc/v1/token'
const TENANT = 'GET /aad/auth'
const VERSION = 'databricks version'
const H = { DATABRICKS_HOST: 'HOST' }
const M2M = { DATABRICKS_CLIENT_ID: 'app-id', DATABRICKS_CLIENT_SECRET: 's3#cr;et%' }
const AZURE = { ...H, DATABRICKS_AZURE_RESOURCE_ID: '/subscriptions/sub-1/resourceGroups/rg/x' }
const ARM = { ARM_CLIENT_ID: 'arm-id', ARM_CLIENT_SECRET: 'arm-secret', ARM_TENANT_ID: 'ten' }
const METADATA = 'GET /.well-known/databricks-config'
const IMDS = 'GET /metadata/identity/oauth2/token'
const GITHUB = {
  ACTIONS_ID_TOKEN_REQUEST_URL: 'HOST/github',
  ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'gh',
}
const DEVOPS = {
  SYSTEM_ACCESSTOKEN: 'ado',
  SYSTEM_TEAMFOUNDATIONCOLLECTIONURI: 'HOST/org/',
  SYSTEM_TEAMPROJECTID: 'proj-1',
  SYSTEM_HOSTTYPE: 'build',
  SYSTEM_PLANID: 'plan-1',
  SYSTEM_JOBID: 'job-1',
}
const GCP = { ...H, DATABRICKS_CLOUD: 'GCP' }
const GOOGLE_KEYS = generateKeyPairSync('rsa', { modulusLength: 2048 })
const AZ_CALL =
  'az account get-access-token --resource 2ff814a6-3304-4ab8-85cb-cd0e6f879c1d --output json'
const AZ_MANAGEMENT_CALL =
  'az account get-access-token --resource https://management.core.windows.net/ --output json'

// biome-ignore format: one row a line
const ROWS: readonly Row[] = [
  // Tokens and where they come from
  { name: 'a token in the environment', env: { ...H, DATABRICKS_TOKEN: 'env-pat' }, type: 'pat', token: 'env-pat', requests: [] },
  { name: 'a host without scheme is https', env: { DATABRICKS_HOST: 'dbc-1.cloud.databricks.com' }, error: { kind: 'config', text: /no way to sign in to https:\/\/dbc-1\.cloud/ } },
  { name: 'a type whose settings are missing', env: { ...H, DATABRICKS_TOKEN: 'x', DATABRICKS_AUTH_TYPE: 'oauth-m2m' }, error: { kind: 'config', text: /"oauth-m2m" needs DATABRICKS_CLIENT_ID and/ } },
  { name: 'the path and query of a host copied from a browser are left off', env: { DATABRICKS_HOST: 'HOST/browse?o=123', DATABRICKS_TOKEN: 'p' }, type: 'pat', token: 'p' },
  { name: 'an explicit host wins over the environment', env: { DATABRICKS_HOST: 'https://other.example', DATABRICKS_TOKEN: 'p' }, args: { databricksHost: 'HOST' }, type: 'pat', token: 'p' },
  { name: 'profile DEFAULT when nothing is set', cfg: '[DEFAULT]\nhost = HOST\ntoken = default-pat\n', type: 'pat', token: 'default-pat' },
  { name: 'default_profile of the settings section', cfg: '[__settings__]\ndefault_profile = dev\n[DEFAULT]\nhost = HOST\ntoken = wrong\n[dev]\nhost = HOST\ntoken = dev-pat\n', type: 'pat', token: 'dev-pat' },
  { name: 'a default_profile that does not exist', cfg: '[__settings__]\ndefault_profile = gone\n[DEFAULT]\nhost = HOST\ntoken = x\n', error: { kind: 'config', text: /no profile "gone".*default_profile.*DEFAULT/s } },
  { name: 'DATABRICKS_CONFIG_PROFILE', env: { DATABRICKS_CONFIG_PROFILE: 'dev' }, cfg: '[DEFAULT]\ntoken = wrong\n[dev]\nhost = HOST\ntoken = dev-pat\n', type: 'pat', token: 'dev-pat' },
  { name: 'an explicit profile wins over the environment', env: { DATABRICKS_CONFIG_PROFILE: 'dev' }, args: { profile: 'prod' }, cfg: '[dev]\nhost = HOST\ntoken = wrong\n[prod]\nhost = HOST\ntoken = prod-pat\n', type: 'pat', token: 'prod-pat' },
  { name: 'a profile with dots in its name', env: { DATABRICKS_CONFIG_PROFILE: 'pat.with.dot' }, cfg: '[pat.with.dot]\nhost = HOST\ntoken = dotted\n', type: 'pat', token: 'dotted' },
  { name: 'a secret with # and ; in it, and a comment after a space', cfg: '[DEFAULT] ; mine\nhost=HOST\ntoken = a#b;c # not this\n', type: 'pat', token: 'a#b;c' },
  { name: 'DATABRICKS_CONFIG_FILE', env: { DATABRICKS_CONFIG_FILE: 'DIR/other.cfg' }, files: { 'other.cfg': '[DEFAULT]\nhost = HOST\ntoken = other-file\n' }, type: 'pat', token: 'other-file' },
  { name: 'a config file in the home folder by ~', env: { DATABRICKS_CONFIG_FILE: '~/other.cfg' }, files: { 'other.cfg': '[DEFAULT]\nhost = HOST\ntoken = home-file\n' }, type: 'pat', token: 'home-file' },
  { name: 'an explicit profile that does not exist', args: { profile: 'nope' }, cfg: '[dev]\nhost = HOST\n', error: { kind: 'config', text: /no profile "nope".*--profile.*dev/s } },
  { name: 'an explicit profile without a file', args: { profile: 'nope' }, error: { kind: 'config', text: /does not exist.*databricks auth login --profile nope/s } },
  { name: 'the settings section is not a profile', args: { profile: '__settings__' }, cfg: '[__settings__]\ndefault_profile = dev\n[dev]\nhost = HOST\n', error: { kind: 'config', text: /no profile "__settings__"/ } },
  { name: 'the file is not read when the host is set', env: H, cfg: '[DEFAULT]\nhost = HOST\ntoken = from-file\n', error: { kind: 'config', text: /no way to sign in.*was not read/s } },
  { name: 'the file is not read when a way to sign in is set', env: { DATABRICKS_TOKEN: 't' }, cfg: '[DEFAULT]\nhost = HOST\n', error: { kind: 'config', text: /no Databricks workspace host.*was not read/s } },
  { name: 'the file is read when only the type is set', env: { DATABRICKS_AUTH_TYPE: 'pat' }, cfg: '[DEFAULT]\nhost = HOST\ntoken = p\n', type: 'pat', token: 'p' },
  { name: 'the environment wins over a named profile, value by value', env: { DATABRICKS_TOKEN: 'env-pat', DATABRICKS_CONFIG_PROFILE: 'dev' }, cfg: '[dev]\nhost = HOST\ntoken = file-pat\n', type: 'pat', token: 'env-pat' },
  { name: 'nothing at all', error: { kind: 'config', text: /no Databricks workspace host.*does not exist.*DATABRICKS_HOST/s } },
  { name: 'an empty DEFAULT, as the CLI leaves it, beside the only profile', cfg: '[DEFAULT]\n[abc]\nhost = HOST\ntoken = x\n', type: 'pat', token: 'x' },
  { name: 'plaintext to a host that is not this machine', env: { DATABRICKS_HOST: 'http://dbc-1.cloud.databricks.com', DATABRICKS_TOKEN: 'x' }, error: { kind: 'config', text: /without TLS.*DATABRICKS_HOST.*https:/s } },
  { name: 'the account console', env: { DATABRICKS_HOST: 'accounts.cloud.databricks.com', DATABRICKS_TOKEN: 'x' }, error: { kind: 'config', text: /account console/ } },
  { name: 'a host with a password in it, which is not repeated', env: { DATABRICKS_HOST: 'https://me:sesame@dbc-1.cloud.databricks.com', DATABRICKS_TOKEN: 'x' }, error: { kind: 'config', text: /^"…@dbc-1\.cloud\.databricks\.com" is not a workspace host/ } },
  { name: 'a placeholder in the host of a profile', cfg: '[DEFAULT]\nhost = https://\u0024{HOST}\ntoken = x\n', error: { kind: 'config', text: /is not a workspace host: it has a placeholder in it that was not filled in.*profile.*https:/s } },
  { name: 'two slashes too few in the host of a profile', cfg: '[DEFAULT]\nhost = https:dbc-1.cloud.databricks.com\ntoken = x\n', error: { kind: 'config', text: /it does not begin with https:\/\/ rightly/ } },
  { name: 'quotation marks in the host of a profile', cfg: '[DEFAULT]\nhost = \u201cdbc-1.cloud.databricks.com\u201d\ntoken = x\n', error: { kind: 'config', text: /it has quotation marks in it/ } },
  { name: 'an invalid host', env: { DATABRICKS_HOST: 'not a host', DATABRICKS_TOKEN: 'x' }, error: { kind: 'config', text: /"not a host" is not a workspace host/ } },

  // A profile's credential goes to the profile's own host only
  { name: 'DATABRICKS_HOST and a token profile of another host', env: { ...H, DATABRICKS_CONFIG_PROFILE: 'dev' }, cfg: '[dev]\nhost = https://mine.cloud.databricks.com\ntoken = x\n', error: { kind: 'config', text: /^profile "dev" is for https:\/\/mine\.cloud\.databricks\.com, not for HOST.*DATABRICKS_HOST.*own host only/s } },
  { name: '--databricks-host and a client secret of another host', args: { databricksHost: 'HOST', profile: 'dev' }, cfg: '[dev]\nhost = mine.cloud.databricks.com\nclient_id = a\nclient_secret = b\n', error: { kind: 'config', text: /not for HOST.*--databricks-host/s } },
  { name: 'DATABRICKS_HOST and the CLI login of another host', env: H, args: { profile: 'dev' }, cfg: '[dev]\nhost = mine.cloud.databricks.com\n', databricks: 'current', error: { kind: 'config', text: /not for HOST/ }, calls: [] },
  { name: 'DATABRICKS_HOST and a profile that names no host', env: H, args: { profile: 'dev' }, cfg: '[dev]\ntoken = x\n', error: { kind: 'config', text: /names no host.*not sent to HOST.*host = HOST/s } },
  { name: 'DATABRICKS_HOST that says the same as the profile', env: { DATABRICKS_HOST: 'HOST/?o=1', DATABRICKS_CONFIG_PROFILE: 'dev' }, cfg: '[dev]\nhost = HOST\ntoken = same\n', type: 'pat', token: 'same' },
  { name: 'DATABRICKS_DISCOVERY_URL and the client secret of a profile', env: { DATABRICKS_DISCOVERY_URL: 'https://evil.example/x', DATABRICKS_CONFIG_PROFILE: 'dev' }, cfg: '[dev]\nhost = HOST\nclient_id = a\nclient_secret = b\n', error: { kind: 'config', text: /DATABRICKS_DISCOVERY_URL would send the credential of profile "dev".*another host/s } },
  { name: 'an Azure login and a host that is not Databricks’', env: { ...AZURE, DATABRICKS_HOST: 'https://evil.example' }, az: 'loggedIn', error: { kind: 'config', text: /evil\.example is not a Databricks host, and gets no Azure token/ }, calls: [] },
  { name: 'variables of .env do not reach the CLI', env: { ...H, PYTHONPATH: 'evil', LD_PRELOAD: 'evil.so' }, programEnv: { OWN: 'own', LAKEBASE_PROXY_LOCAL_PASSWORD: 'p' }, databricks: 'tellsEnvironment', type: 'databricks-cli', token: 'own//' },

  // The file as people write it
  { name: 'a profile with colons and keys in capitals', cfg: '[DEFAULT]\nHost: HOST\nTOKEN : colon-pat\n', type: 'pat', token: 'colon-pat' },
  { name: 'keys before the first section are DEFAULT', cfg: 'host = HOST\ntoken = stray-pat\n[dev]\nhost = HOST\ntoken = wrong\n', type: 'pat', token: 'stray-pat' },
  { name: 'a file in UTF-16, as PowerShell writes it', cfg: 'UTF-16LE[DEFAULT]\r\nhost = HOST\r\ntoken = wide-pat\r\n', type: 'pat', token: 'wide-pat' },
  { name: 'a file in UTF-16 the other way round', cfg: 'UTF-16BE[DEFAULT]\r\nhost = HOST\r\ntoken = wide-pat\r\n', type: 'pat', token: 'wide-pat' },
  { name: 'a file in UTF-16 without its mark', cfg: 'UTF-16[DEFAULT]\nhost = HOST\n', error: { kind: 'config', text: /\.databrickscfg is not UTF-8 text.*Save the file as UTF-8/s } },
  { name: 'a file that every user can write', cfg: 'MODE666[DEFAULT]\nhost = HOST\ntoken = x\n', error: { kind: 'config', text: /can be written by every user.*chmod 600/s } },
  { name: 'a token with a line break at its end', env: { ...H, DATABRICKS_TOKEN: 'broken\n' }, type: 'pat', token: 'broken' },
  { name: 'a client secret with a line break at its end', env: { ...H, DATABRICKS_CLIENT_ID: 'app-id\r\n', DATABRICKS_CLIENT_SECRET: 's\r\n' }, type: 'oauth-m2m', token: 'client_credentials app-id:s all-apis' },
  { name: 'an Azure secret with a line break at its end', env: { ...AZURE, ...ARM, ARM_CLIENT_SECRET: 'arm-secret\n' }, type: 'azure-client-secret' },
  { name: 'an ID token with a line break at its end', env: { ...H, DATABRICKS_OIDC_TOKEN: 'id9\n' }, type: 'env-oidc', token: 'exchange id9  all-apis' },

  // Which profile
  { name: 'the only profile is used where there is no DEFAULT', cfg: '[__settings__]\nauth_storage = secure\n[dbc-1]\nhost = HOST\ntoken = lone-pat\n', type: 'pat', token: 'lone-pat', notices: [/^using profile "dbc-1", the only one in .*\.databrickscfg$/] },
  { name: 'a profile of the account console is not one to choose', cfg: '[acc]\nhost = https://accounts.cloud.databricks.com\n[dbc-1]\nhost = HOST\ntoken = lone-pat\n', type: 'pat', token: 'lone-pat' },
  { name: 'several profiles and no DEFAULT: they are listed, with what to type', cfg: '[dev]\nhost = HOST\n[prod]\nhost = HOST\n', error: { kind: 'config', text: /no Databricks workspace host.*no profile DEFAULT.*--profile dev \(or prod\)\.$/s } },
  { name: 'a DEFAULT without a host beside other profiles', cfg: '[DEFAULT]\nauth_type = pat\n[prod]\nhost = HOST\n', error: { kind: 'config', text: /no Databricks workspace host.*--profile prod\.$/s } },

  // Client secrets
  { name: 'a client secret in the environment', env: { ...H, ...M2M }, type: 'oauth-m2m', token: 'client_credentials app-id:s3#cr;et% all-apis', requests: [DISCOVERY, TOKEN] },
  { name: 'a client secret in a profile', cfg: '[DEFAULT]\nhost = HOST\nclient_id = app-id\nclient_secret = a#b\n', type: 'oauth-m2m', token: 'client_credentials app-id:a#b all-apis' },
  { name: 'a client secret comes before a CLI that is logged in', env: { ...H, ...M2M }, databricks: 'current', type: 'oauth-m2m', token: 'client_credentials app-id:s3#cr;et% all-apis', calls: [] },
  { name: 'DATABRICKS_DISCOVERY_URL', env: { ...H, ...M2M, DATABRICKS_DISCOVERY_URL: 'HOST/elsewhere' }, type: 'oauth-m2m', token: 'client_credentials app-id:s3#cr;et% all-apis', requests: ['GET /elsewhere', TOKEN] },
  { name: 'a client secret that is wrong', env: { ...H, DATABRICKS_CLIENT_ID: 'bad', DATABRICKS_CLIENT_SECRET: 'x' }, error: { kind: 'identity', text: /refused the client secret of bad: no such client.*DATABRICKS_CLIENT_SECRET/s } },

  // Mixtures
  { name: 'a token and a client secret', env: { ...H, ...M2M, DATABRICKS_TOKEN: 'x' }, error: { kind: 'config', text: /more than one authorization method configured: oauth and pat/ } },
  { name: 'a token in the profile and a client id in the environment', env: { DATABRICKS_CONFIG_PROFILE: 'dev', DATABRICKS_CLIENT_ID: 'x' }, cfg: '[dev]\nhost = HOST\ntoken = y\n', error: { kind: 'config', text: /oauth and pat.*profile "dev".*DATABRICKS_CLIENT_ID/s } },
  { name: 'a token and an Azure service principal', env: { ...H, ...ARM, DATABRICKS_TOKEN: 'x' }, error: { kind: 'config', text: /azure and pat/ } },
  { name: 'a token and a user name', env: { ...H, DATABRICKS_TOKEN: 'x', DATABRICKS_USERNAME: 'u' }, error: { kind: 'config', text: /basic and pat/ } },
  { name: 'three at once', env: { ...H, ...M2M, DATABRICKS_TOKEN: 'x', DATABRICKS_USERNAME: 'u' }, error: { kind: 'config', text: /basic and oauth and pat/ } },
  { name: 'a mixture with the type named: pat', env: { ...H, ...M2M, DATABRICKS_TOKEN: 'x', DATABRICKS_AUTH_TYPE: 'pat' }, type: 'pat', token: 'x' },
  { name: 'a mixture with the type named in the profile: oauth-m2m', cfg: '[DEFAULT]\nhost = HOST\ntoken = x\nclient_id = app-id\nclient_secret = y\nauth_type = oauth-m2m\n', type: 'oauth-m2m', token: 'client_credentials app-id:y all-apis' },
  { name: 'a type that does not exist', env: { ...H, DATABRICKS_TOKEN: 'x', DATABRICKS_AUTH_TYPE: 'magic' }, error: { kind: 'config', text: /"magic" is not supported.*DATABRICKS_AUTH_TYPE.*oauth-m2m/s } },
  { name: 'external-browser leads to the CLI', env: { ...H, DATABRICKS_AUTH_TYPE: 'external-browser' }, error: { kind: 'config', text: /databricks auth login/ } },
  { name: 'a user name and password alone', env: { ...H, DATABRICKS_USERNAME: 'u', DATABRICKS_PASSWORD: 'p' }, error: { kind: 'config', text: /no way to sign in.*basic: ended/s } },

  // The Databricks CLI
  { name: 'a current Databricks CLI, by host', env: H, databricks: 'current', type: 'databricks-cli', token: 'cli', calls: [VERSION, 'databricks auth token --host HOST --force-refresh'] },
  { name: 'a current Databricks CLI, by profile', env: { DATABRICKS_CONFIG_PROFILE: 'dev' }, cfg: '[dev]\nhost = HOST\nauth_type = databricks-cli\n', databricks: 'current', type: 'databricks-cli', token: 'cli', calls: [VERSION, 'databricks auth token --profile dev --force-refresh'] },
  { name: 'a CLI that does not know --force-refresh', env: { DATABRICKS_CONFIG_PROFILE: 'dev' }, cfg: '[dev]\nhost = HOST\n', databricks: 'older', type: 'databricks-cli', token: 'cli', calls: [VERSION, 'databricks auth token --profile dev'] },
  { name: 'a CLI that does not know --profile', env: { DATABRICKS_CONFIG_PROFILE: 'dev' }, cfg: '[dev]\nhost = HOST\n', databricks: 'oldest', type: 'databricks-cli', token: 'cli', calls: [VERSION, 'databricks auth token --host HOST'] },
  { name: 'DATABRICKS_CLI_PATH', env: { ...H, DATABRICKS_CLI_PATH: 'DIR/databricks', PATH: '/nonexistent' }, databricks: 'current', type: 'databricks-cli', token: 'cli' },
  { name: 'the legacy CLI is not a login', env: H, databricks: 'legacy', error: { kind: 'config', text: /no way to sign in.*legacy/s } },
  { name: 'no CLI and nothing set', env: H, error: { kind: 'config', text: /no program "databricks" on the PATH.*databricks auth login --host/s } },
  { name: 'no CLI, a profile without a credential', args: { profile: 'dev' }, cfg: '[dev]\nhost = HOST\n[prod]\nhost = https://prod.example\n', error: { kind: 'config', text: /Install the Databricks CLI and log in with: databricks auth login --host \S+ --profile dev; .* Other profiles: prod\./s } },
  { name: 'a CLI that is not logged in says so in its own words', env: H, databricks: 'loggedOut', error: { kind: 'identity', text: /OAuth is not configured for this host.*databricks auth login --host HOST/s } },
  { name: 'a CLI that is not logged in, by profile', args: { profile: 'dev' }, cfg: '[dev]\nhost = HOST\n', databricks: 'loggedOut', error: { kind: 'identity', text: /databricks auth login --profile dev/ } },
  { name: 'a CLI that prints no token', env: H, databricks: 'garbage', error: { kind: 'identity', text: /printed no token/ } },

  // Azure
  { name: 'the Azure CLI for an Azure workspace', env: AZURE, az: 'loggedIn', type: 'azure-cli', token: 'az az-management /subscriptions/sub-1/resourceGroups/rg/x', requests: [TENANT], calls: [`${AZ_CALL} --tenant discovered`, `${AZ_MANAGEMENT_CALL} --tenant discovered`] },
  { name: 'the Azure CLI of a user without rights in Azure itself', env: AZURE, az: 'user', type: 'azure-cli', token: 'az /subscriptions/sub-1/resourceGroups/rg/x' },
  { name: 'the Azure CLI with a managed identity', env: { ...AZURE, ARM_TENANT_ID: 'ten' }, az: 'managedIdentity', type: 'azure-cli', token: 'az-msi az-msi /subscriptions/sub-1/resourceGroups/rg/x', requests: [] },
  { name: 'the Databricks CLI comes before the Azure CLI', env: AZURE, databricks: 'current', az: 'loggedIn', type: 'databricks-cli', token: 'cli' },
  { name: 'a Databricks CLI that is not logged in gives way to the Azure CLI', env: AZURE, databricks: 'loggedOut', az: 'loggedIn', type: 'azure-cli', token: 'az az-management /subscriptions/sub-1/resourceGroups/rg/x' },
  { name: 'the Azure CLI is not asked for other workspaces', env: H, az: 'loggedIn', error: { kind: 'config', text: /no way to sign in/ }, calls: [] },
  { name: 'neither CLI is logged in', env: AZURE, databricks: 'loggedOut', az: 'loggedOut', error: { kind: 'identity', text: /could not sign in.*databricks-cli: .*azure-cli: .*az login/s } },
  { name: 'a managed identity of an Azure machine', env: { ...AZURE, ARM_USE_MSI: 'true' }, az: 'loggedIn', type: 'azure-msi', token: 'msi 2ff814a6-3304-4ab8-85cb-cd0e6f879c1d msi https://management.core.windows.net/ /subscriptions/sub-1/resourceGroups/rg/x', requests: [IMDS, IMDS], calls: [] },
  { name: 'a managed identity that is chosen among several', env: { ...AZURE, ARM_USE_MSI: '1', ARM_CLIENT_ID: 'mine' }, type: 'azure-msi', token: 'msi 2ff814a6-3304-4ab8-85cb-cd0e6f879c1d mine msi https://management.core.windows.net/ mine /subscriptions/sub-1/resourceGroups/rg/x' },
  { name: 'a machine without a managed identity', env: { ...AZURE, ARM_USE_MSI: 'true', ARM_CLIENT_ID: 'none' }, error: { kind: 'identity', text: /identity service gave no token: HTTP status 400: .*Identity not found.*unset ARM_USE_MSI/s } },
  { name: 'a managed identity comes before a client secret of Azure', env: { ...AZURE, ...ARM, ARM_USE_MSI: 'TRUE' }, type: 'azure-msi' },
  { name: 'ARM_USE_MSI=false is not a managed identity', env: { ...AZURE, ...ARM, ARM_USE_MSI: 'false' }, type: 'azure-client-secret' },
  { name: 'GitHub Actions, trusted by Entra', env: { ...AZURE, ...GITHUB, ARM_CLIENT_ID: 'arm-id', ARM_TENANT_ID: 'ten', DATABRICKS_AUTH_TYPE: 'github-oidc-azure' }, type: 'github-oidc-azure', token: 'entra ten arm-id 2ff814a6-3304-4ab8-85cb-cd0e6f879c1d github:gh:api://AzureADTokenExchange', requests: ['GET /github', 'POST /ten/oauth2/token'] },
  { name: 'GitHub Actions that the workspace does not trust, but Entra does', env: { ...AZURE, ...GITHUB, DATABRICKS_CLIENT_ID: 'bad', ARM_CLIENT_ID: 'arm-id', ARM_TENANT_ID: 'ten' }, error: { kind: 'config', text: /azure and oauth/ } },
  { name: 'GitHub Actions without a policy in the account falls to Entra', env: { ...AZURE, ...GITHUB, DATABRICKS_TOKEN_AUDIENCE: 'refused', ARM_CLIENT_ID: 'arm-id', ARM_TENANT_ID: 'ten' }, type: 'github-oidc-azure', token: 'entra ten arm-id 2ff814a6-3304-4ab8-85cb-cd0e6f879c1d github:gh:api://AzureADTokenExchange' },
  { name: 'an Azure service principal', env: { ...AZURE, ...ARM }, type: 'azure-client-secret', token: 'entra ten arm-id 2ff814a6-3304-4ab8-85cb-cd0e6f879c1d entra ten arm-id https://management.core.windows.net/ /subscriptions/sub-1/resourceGroups/rg/x', requests: ['POST /ten/oauth2/token', 'POST /ten/oauth2/token'] },
  { name: 'an Azure service principal whose tenant the workspace names', env: { ...AZURE, ARM_CLIENT_ID: 'arm-id', ARM_CLIENT_SECRET: 'x', DATABRICKS_AUTH_TYPE: 'azure-client-secret' }, type: 'azure-client-secret', requests: [TENANT, 'POST /discovered/oauth2/token', 'POST /discovered/oauth2/token'] },

  // Federation
  { name: 'an ID token in DATABRICKS_OIDC_TOKEN', env: { ...H, DATABRICKS_CLIENT_ID: 'app-id', DATABRICKS_OIDC_TOKEN: 'id1' }, type: 'env-oidc', token: 'exchange id1 app-id all-apis', requests: [DISCOVERY, TOKEN] },
  { name: 'an ID token in a variable of another name', env: { ...H, DATABRICKS_CLIENT_ID: 'app-id', DATABRICKS_OIDC_TOKEN_ENV: 'CI_JWT', CI_JWT: 'id2' }, type: 'env-oidc', token: 'exchange id2 app-id all-apis' },
  { name: 'an ID token without a client id, by the policy of the account', env: { ...H, DATABRICKS_OIDC_TOKEN: 'id3' }, type: 'env-oidc', token: 'exchange id3  all-apis' },
  { name: 'an ID token in a file', env: { ...H, DATABRICKS_CLIENT_ID: 'app-id', DATABRICKS_OIDC_TOKEN_FILEPATH: 'DIR/jwt' }, files: { jwt: 'id4\n' }, type: 'file-oidc', token: 'exchange id4 app-id all-apis' },
  { name: 'an ID token in a file, by its other name', env: { ...H, DATABRICKS_OIDC_TOKEN_FILE: 'DIR/jwt' }, files: { jwt: 'id5' }, type: 'file-oidc', token: 'exchange id5  all-apis' },
  { name: 'an ID token file that is not there', env: { ...H, DATABRICKS_OIDC_TOKEN_FILEPATH: 'DIR/none' }, error: { kind: 'config', text: /cannot read the ID token in \S+\/none: no such file/ } },
  { name: 'the ID token of GitHub Actions', env: { ...H, DATABRICKS_CLIENT_ID: 'app-id', ACTIONS_ID_TOKEN_REQUEST_URL: 'HOST/github?v=1', ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'gh' }, type: 'github-oidc', token: 'exchange github:gh:HOST/oidc/v1/token app-id all-apis', requests: [DISCOVERY, METADATA, 'GET /github', TOKEN] },
  { name: 'the audience that the host names', env: { ...H, ...GITHUB, DATABRICKS_CLIENT_ID: 'app-id' }, hostMetadata: { host_type: 'UNIFIED_HOST', account_id: 'acc', token_federation_default_oidc_audiences: ['first', 'second'] }, type: 'github-oidc', token: 'exchange github:gh:first app-id all-apis' },
  { name: 'the account of a unified host is the audience', env: { ...H, ...GITHUB }, hostMetadata: { host_type: 'UNIFIED_HOST', account_id: 'acc', token_federation_default_oidc_audiences: [] }, type: 'github-oidc', token: 'exchange github:gh:acc  all-apis' },
  { name: 'the account in the host’s URL comes before the host’s own word', env: { ...GITHUB, DATABRICKS_HOST: 'HOST/?a=mine' }, hostMetadata: { host_type: 'ACCOUNT_HOST', account_id: 'acc' }, type: 'github-oidc', token: 'exchange github:gh:mine  all-apis' },
  { name: 'a workspace host has the token endpoint as its audience', env: { ...H, ...GITHUB }, hostMetadata: { host_type: 'WORKSPACE_HOST', account_id: 'acc' }, type: 'github-oidc', token: 'exchange github:gh:HOST/oidc/v1/token  all-apis' },
  { name: 'a job of Azure Pipelines', env: { ...H, ...DEVOPS, DATABRICKS_CLIENT_ID: 'app-id' }, type: 'azure-devops-oidc', token: 'exchange devops:ado:/org/proj-1/_apis/distributedtask/hubs/build/plans/plan-1/jobs/job-1/oidctoken?api-version=7.2-preview.1 app-id all-apis' },
  { name: 'a job of Azure Pipelines that does not map its token', env: { ...H, ...DEVOPS, SYSTEM_ACCESSTOKEN: '' }, error: { kind: 'config', text: /no way to sign in/ } },
  { name: 'a job of Azure Pipelines whose id leads to another path', env: { ...H, ...DEVOPS, SYSTEM_JOBID: '..' }, error: { kind: 'config', text: /"\.\." cannot be a name in a URL/ } },
  { name: 'Azure Pipelines come before a variable, GitHub before them', env: { ...H, ...DEVOPS, ...GITHUB, DATABRICKS_OIDC_TOKEN: 'id' }, type: 'github-oidc' },
  { name: 'Azure Pipelines come before a variable', env: { ...H, ...DEVOPS, DATABRICKS_OIDC_TOKEN: 'id' }, type: 'azure-devops-oidc' },
  { name: 'scopes of a profile', cfg: '[DEFAULT]\nhost = HOST\nclient_id = a\nclient_secret = b\nscopes = postgres, sql\n', type: 'oauth-m2m', token: 'client_credentials a:b postgres sql' },

  // Google
  { name: 'the key of a Google service account, as JSON', env: { ...GCP, GOOGLE_CREDENTIALS: 'KEY' }, type: 'google-credentials', token: 'id sa@p.iam for HOST access sa@p.iam https://www.googleapis.com/auth/cloud-platform https://www.googleapis.com/auth/compute', requests: ['POST /google', 'POST /google'] },
  { name: 'the key of a Google service account, in a file', env: { ...GCP, GOOGLE_CREDENTIALS: 'DIR/key.json' }, files: { 'key.json': 'KEY' }, type: 'google-credentials' },
  { name: 'an invalid Google key', env: { ...GCP, GOOGLE_CREDENTIALS: '{"private_key":"sesame"}' }, error: { kind: 'config', text: /^GOOGLE_CREDENTIALS is not the key of a Google service account(?!.*sesame)/s } },
  { name: 'a Google key comes before a service account to impersonate', env: { ...GCP, GOOGLE_CREDENTIALS: 'KEY', DATABRICKS_GOOGLE_SERVICE_ACCOUNT: 'sa' }, type: 'google-credentials' },
  { name: 'a Google key and a workspace elsewhere', env: { ...H, GOOGLE_CREDENTIALS: 'KEY' }, error: { kind: 'config', text: /no way to sign in/ } },
  { name: 'a Google key, DATABRICKS_CLOUD=GCP and a host that is not Databricks’', env: { DATABRICKS_HOST: 'https://evil.example', DATABRICKS_CLOUD: 'GCP', GOOGLE_CREDENTIALS: 'KEY' }, error: { kind: 'config', text: /no way to sign in/ } },
  { name: 'a Google key and a token', env: { ...GCP, GOOGLE_CREDENTIALS: 'KEY', DATABRICKS_TOKEN: 'x' }, error: { kind: 'config', text: /google and pat/ } },
  { name: 'a service account that the Google machine impersonates', env: { ...GCP, DATABRICKS_GOOGLE_SERVICE_ACCOUNT: 'sa@p.iam' }, type: 'google-id', token: 'id by machine for HOST true access by machine' },
  { name: 'a service account that the login of gcloud impersonates', env: { ...GCP, DATABRICKS_GOOGLE_SERVICE_ACCOUNT: 'sa@p.iam', CLOUDSDK_CONFIG: 'DIR/' }, files: { 'application_default_credentials.json': '{"type":"authorized_user","client_id":"c","client_secret":"s","refresh_token":"r"}' }, type: 'google-id', token: 'id by user c s r for HOST true access by user c s r' },
  { name: 'a service account that GOOGLE_APPLICATION_CREDENTIALS impersonates', env: { ...GCP, DATABRICKS_GOOGLE_SERVICE_ACCOUNT: 'sa@p.iam', GOOGLE_APPLICATION_CREDENTIALS: 'DIR/key.json' }, files: { 'key.json': 'KEY' }, type: 'google-id', token: 'id by access sa@p.iam https://www.googleapis.com/auth/cloud-platform for HOST true access by access sa@p.iam https://www.googleapis.com/auth/cloud-platform' },
  { name: 'a Google login that is not supported', env: { ...GCP, DATABRICKS_GOOGLE_SERVICE_ACCOUNT: 'sa@p.iam', GOOGLE_APPLICATION_CREDENTIALS: 'DIR/x.json' }, files: { 'x.json': '{"type":"external_account"}' }, error: { kind: 'config', text: /no Google login that is supported.*gcloud auth/s } },

  { name: 'the ID token of GitHub Actions, for another audience', env: { ...H, DATABRICKS_TOKEN_AUDIENCE: 'mine', ACTIONS_ID_TOKEN_REQUEST_URL: 'HOST/github', ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'gh' }, type: 'github-oidc', token: 'exchange github:gh:mine  all-apis' },
  { name: 'GitHub Actions comes before a variable', env: { ...H, DATABRICKS_OIDC_TOKEN: 'id6', ACTIONS_ID_TOKEN_REQUEST_URL: 'HOST/github', ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'gh' }, type: 'github-oidc', token: 'exchange github:gh:HOST/oidc/v1/token  all-apis' },
  { name: 'an ID token that the workspace refuses', env: { ...H, DATABRICKS_CLIENT_ID: 'bad', DATABRICKS_OIDC_TOKEN: 'id7' }, error: { kind: 'identity', text: /refused the ID token in DATABRICKS_OIDC_TOKEN: no such client.*federation policy of service principal bad/s } },
  { name: 'an ID token in a file beside a client secret', env: { ...H, ...M2M, DATABRICKS_OIDC_TOKEN_FILEPATH: 'DIR/jwt' }, files: { jwt: 'id8' }, error: { kind: 'config', text: /file-oidc and oauth/ } },

  // The metadata service
  { name: 'a metadata service', env: { ...H, DATABRICKS_METADATA_SERVICE_URL: 'HOST/metadata' }, type: 'metadata-service', token: 'metadata 1 HOST', requests: ['GET /metadata'] },
  { name: 'a metadata service that has no token for this host', env: { ...H, DATABRICKS_METADATA_SERVICE_URL: 'HOST/none' }, error: { kind: 'identity', text: /metadata service gave no token.*404/ } },
  { name: 'a metadata service on another machine', env: { ...H, DATABRICKS_METADATA_SERVICE_URL: 'http://10.0.0.1/x' }, error: { kind: 'config', text: /not a URL on this machine/ } },
]

for (const row of ROWS) {
  test(`sign-in: ${row.name}`, async (t) => {
    const { server, open, programs, fill, log } = await setUp(t, row)
    if (row.error !== undefined) {
      await assert.rejects(
        open(),
        (error: Error & { kind?: string; detail?: string; hint?: string }) => {
          assert.equal(error.kind, row.error!.kind)
          const text = [error.message, error.detail, error.hint]
            .join('\n')
            .replaceAll(server.host, 'HOST')
          assert.match(text, row.error!.text)
          return true
        },
      )
    } else {
      const { type, user } = await open()
      assert.equal(type, row.type)
      if (row.token !== undefined) assert.equal(user, fill(row.token))
    }
    for (const notice of row.notices ?? []) await log.seen(({ message }) => notice.test(message))
    const requests = server.requests.map(({ method, path }) => `${method} ${path}`)
    if (row.requests !== undefined) {
      assert.deepEqual(requests, [...row.requests, 'GET /api/2.0/preview/scim/v2/Me'])
    }
    if (row.calls !== undefined) {
      assert.deepEqual((await programs.calls()).sort(), row.calls.map(fill).sort())
    }
  })
}

async function setUp(t: TestContext, row: Row) {
  const server = await ScriptedWorkspace.start(t, (request) =>
    row.hostMetadata !== undefined && request.path === '/.well-known/databricks-config'
      ? { body: row.hostMetadata }
      : answer(request),
  )
  const programs = await FakePrograms.create(t)
  const fill = (text: string): string =>
    text
      .replaceAll('KEY', googleKey(server.host))
      .replaceAll('HOST', server.host)
      .replaceAll('DIR', programs.folder)
  if (row.databricks !== undefined) await programs.add('databricks', DATABRICKS[row.databricks])
  if (row.az !== undefined) await programs.add('az', AZ[row.az])
  if (row.cfg !== undefined) await writeProfiles(programs, fill(row.cfg))
  for (const [name, text] of Object.entries(row.files ?? {})) await programs.write(name, fill(text))
  const env: Record<string, string> = { PATH: programs.folder }
  for (const [name, value] of Object.entries(row.env ?? {}))
    env[name] =
      name === 'DATABRICKS_HOST' ||
      value === 'KEY' ||
      value.includes('HOST/') ||
      value.includes('DIR/')
        ? fill(value)
        : value
  const dispatcher = cloudsAt(server.host)
  t.after(() => dispatcher.close())
  const log = recordedLog()
  const open = async (): Promise<{ type: string | undefined; user: string }> => {
    const workspace = await openWorkspace({
      env,
      programEnv: row.programEnv === undefined ? env : { PATH: programs.folder, ...row.programEnv },
      homeDir: programs.folder,
      version: '0',
      clock: systemClock,
      log,
      dispatcher,
      profile: row.args?.profile,
      databricksHost: row.args?.databricksHost && fill(row.args.databricksHost),
    })
    t.after(() => workspace.close())
    const user = await workspace.identity(neverAborted)
    return { type: workspace.describeSignIn().type, user }
  }
  return { server, open, programs, fill, log }
}

/** A row may begin with an encoding or a mode for the file. */
async function writeProfiles(programs: FakePrograms, cfg: string): Promise<void> {
  const [, how = '', text = ''] = /^(UTF-16LE|UTF-16BE|UTF-16|MODE666)?(.*)$/s.exec(cfg) ?? []
  const wide = Buffer.from(how === 'UTF-16' ? text : `\uFEFF${text}`, 'utf16le')
  if (how === 'UTF-16BE') wide.swap16()
  await programs.write('.databrickscfg', how.startsWith('UTF') ? wide : text)
  if (how === 'MODE666') await chmod(path.join(programs.folder, '.databrickscfg'), 0o666)
}

const CLOUDS = [
  'https://login.microsoftonline.com',
  'http://169.254.169.254',
  'http://metadata.google.internal',
  'https://iamcredentials.googleapis.com',
  'https://oauth2.googleapis.com',
]

/** The clouds' own services, moved to the test's server. */
function cloudsAt(host: string): Dispatcher {
  return new Agent().compose((dispatch) => (options, handler) => {
    const origin = String(options.origin)
    return dispatch({ ...options, origin: CLOUDS.includes(origin) ? host : origin }, handler)
  })
}

function googleKey(host: string): string {
  return JSON.stringify({
    type: 'service_account',
    client_email: 'sa@p.iam',
    private_key_id: 'key-1',
    private_key: GOOGLE_KEYS.privateKey.export({ type: 'pkcs8', format: 'pem' }),
    token_uri: `${host}/google`,
  })
}

/** Google's token endpoint: checks the signature, and says what was asked for. */
function googleGrant(assertion: string): ScriptedReply {
  const [header = '', payload = '', signature = ''] = assertion.split('.')
  const signed = createVerify('RSA-SHA256').update(`${header}.${payload}`)
  assert.ok(signed.verify(GOOGLE_KEYS.publicKey, signature, 'base64url'))
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
  assert.match(claims.aud, /\/google$/)
  assert.ok(claims.exp - claims.iat === 3600)
  return claims.scope === undefined
    ? { body: { id_token: `id ${claims.iss} for ${claims.target_audience}` } }
    : { body: { access_token: `access ${claims.iss} ${claims.scope}`, id_token: 'not this' } }
}

function answer(request: SeenRequest): ScriptedReply | undefined {
  const host = `http://${request.headers.host}`
  const form = new URLSearchParams(request.body)
  const granted = (token: string): ScriptedReply => ({
    body: { access_token: token, token_type: 'Bearer', expires_in: 3600, scope: 'all-apis' },
  })
  const refused: ScriptedReply = {
    status: 401,
    body: { error: 'invalid_client', error_description: 'no such client' },
  }
  const metadata: ScriptedReply = {
    body: { issuer: `${host}/oidc`, token_endpoint: `${host}/oidc/v1/token` },
  }
  switch (`${request.method} ${request.path}`) {
    case 'GET /api/2.0/preview/scim/v2/Me': {
      const { headers } = request
      const shown = [
        headers.authorization?.replace('Bearer ', ''),
        headers['x-databricks-gcp-sa-access-token'],
        headers['x-databricks-azure-sp-management-token'],
        headers['x-databricks-azure-workspace-resource-id'],
      ]
      return { body: { userName: shown.filter((part) => part !== undefined).join(' ') } }
    }
    case DISCOVERY:
    case 'GET /elsewhere':
      return metadata
    case TOKEN: {
      if (form.get('grant_type') === 'client_credentials') {
        const basic = String(request.headers.authorization).replace('Basic ', '')
        const login = Buffer.from(basic, 'base64').toString()
        if (login.startsWith('bad:')) return refused
        return granted(`client_credentials ${login} ${form.get('scope')}`)
      }
      assert.equal(form.get('grant_type'), 'urn:ietf:params:oauth:grant-type:token-exchange')
      assert.equal(form.get('subject_token_type'), 'urn:ietf:params:oauth:token-type:jwt')
      if (form.get('client_id') === 'bad' || form.get('subject_token')?.endsWith(':refused')) {
        return refused
      }
      return granted(
        `exchange ${form.get('subject_token')} ${form.get('client_id') ?? ''} ${form.get('scope')}`,
      )
    }
    case 'POST /ten/oauth2/token':
    case 'POST /discovered/oauth2/token':
      assert.equal(form.get('grant_type'), 'client_credentials')
      return {
        body: {
          access_token: [
            'entra',
            request.path.split('/')[1],
            form.get('client_id'),
            form.get('resource'),
            ...form.getAll('client_assertion'),
          ].join(' '),
          token_type: 'Bearer',
          expires_in: '3599',
        },
      }
    case TENANT:
      return {
        status: 302,
        headers: { location: 'https://login.microsoftonline.com/discovered/oauth2/authorize?x=1' },
      }
    case 'GET /github': {
      const bearer = String(request.headers.authorization).replace('Bearer ', '')
      return { body: { value: `github:${bearer}:${request.query.get('audience')}` } }
    }
    case IMDS: {
      assert.equal(request.headers.metadata, 'true')
      assert.equal(request.query.get('api-version'), '2018-02-01')
      const clientId = request.query.get('client_id') ?? ''
      if (clientId === 'none') return { status: 400, body: { error: 'Identity not found' } }
      const access_token = `msi ${request.query.get('resource')} ${clientId}`
      return { body: { access_token, expires_on: '4070908800', token_type: 'Bearer' } }
    }
    case 'POST /org/proj-1/_apis/distributedtask/hubs/build/plans/plan-1/jobs/job-1/oidctoken': {
      const bearer = String(request.headers.authorization).replace('Bearer ', '')
      return { body: { oidcToken: `devops:${bearer}:${request.line.replace('POST ', '')}` } }
    }
    case 'POST /google':
      return googleGrant(form.get('assertion') ?? '')
    case 'POST /token':
      return {
        body: {
          access_token: `user ${form.get('client_id')} ${form.get('client_secret')} ${form.get('refresh_token')}`,
          id_token: 'not this',
        },
      }
    case 'GET /computeMetadata/v1/instance/service-accounts/default/token':
      assert.equal(request.headers['metadata-flavor'], 'Google')
      return { body: { access_token: 'machine', expires_in: 3599 } }
    case 'POST /v1/projects/-/serviceAccounts/sa@p.iam:generateIdToken': {
      const { audience, includeEmail } = JSON.parse(request.body)
      const by = String(request.headers.authorization).replace('Bearer ', '')
      return { body: { token: `id by ${by} for ${audience} ${includeEmail}` } }
    }
    case 'POST /v1/projects/-/serviceAccounts/sa@p.iam:generateAccessToken': {
      const by = String(request.headers.authorization).replace('Bearer ', '')
      return { body: { accessToken: `access by ${by}`, expireTime: '2099-01-01T00:00:00Z' } }
    }
    case 'GET /metadata':
      return {
        body: {
          access_token: `metadata ${request.headers['x-databricks-metadata-version']} ${request.headers['x-databricks-host']}`,
          token_type: 'Bearer',
          expires_on: '4070908800',
        },
      }
    default:
      return undefined
  }
}
