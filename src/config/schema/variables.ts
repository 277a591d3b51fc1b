/**
 * Variables that are not settings of ours and are read all the same: those of Databricks' and
 * Azure's tools, and of HTTP proxies. Each says what an implicit `.env` may do with it. A variable
 * of `.env` that is not here belongs to the application and is not looked at.
 */

import {
  DIALS,
  type DotenvRule,
  FILE,
  FREE,
  PROGRAM,
  PROTECTION,
  type Restricted,
  SECRET,
  TRUST,
} from './setting.js'

export interface KnownVariable {
  readonly dotenv: DotenvRule
  /** Its value proves an identity to the host that is signed in to, or says where the proof is. */
  readonly isCredential?: true
}

const free: KnownVariable = { dotenv: FREE }
const credential: KnownVariable = { dotenv: FREE, isCredential: true }
const dials: KnownVariable = { dotenv: DIALS }
const chosenSecret: KnownVariable = { dotenv: SECRET, isCredential: true }
const ANY_HOST: Restricted = { ...SECRET, reason: 'it sends the Azure sign-in to any host' }

export const VARIABLES: ReadonlyMap<string, KnownVariable> = new Map(
  Object.entries({
    DATABRICKS_HOST: free,
    DATABRICKS_TOKEN: credential,
    DATABRICKS_CLIENT_ID: free,
    DATABRICKS_CLIENT_SECRET: credential,
    DATABRICKS_CONFIG_PROFILE: free,
    DATABRICKS_AUTH_TYPE: free,
    DATABRICKS_ACCOUNT_ID: free,
    DATABRICKS_WORKSPACE_ID: free,
    DATABRICKS_TOKEN_AUDIENCE: free,
    DATABRICKS_USERNAME: free,
    DATABRICKS_PASSWORD: credential,
    DATABRICKS_GOOGLE_SERVICE_ACCOUNT: free,
    GOOGLE_CREDENTIALS: credential,
    DATABRICKS_OIDC_TOKEN: credential,
    DATABRICKS_OIDC_TOKEN_ENV: chosenSecret,
    DATABRICKS_OIDC_TOKEN_FILEPATH: chosenSecret,
    DATABRICKS_OIDC_TOKEN_FILE: chosenSecret,
    ARM_CLIENT_ID: free,
    ARM_CLIENT_SECRET: credential,
    ARM_TENANT_ID: free,
    ARM_ENVIRONMENT: free,
    ARM_USE_MSI: free,
    DATABRICKS_AZURE_RESOURCE_ID: { dotenv: ANY_HOST },
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: credential,
    ACTIONS_ID_TOKEN_REQUEST_URL: dials,
    SYSTEM_ACCESSTOKEN: credential,
    SYSTEM_TEAMPROJECTID: free,
    SYSTEM_HOSTTYPE: free,
    SYSTEM_PLANID: free,
    SYSTEM_JOBID: free,
    SYSTEM_TEAMFOUNDATIONCOLLECTIONURI: dials,
    GOOGLE_APPLICATION_CREDENTIALS: chosenSecret,
    DATABRICKS_CLOUD: free,
    DATABRICKS_METADATA_SERVICE_URL: { ...dials, isCredential: true },
    DATABRICKS_DISCOVERY_URL: dials,
    HTTPS_PROXY: dials,
    https_proxy: dials,
    HTTP_PROXY: dials,
    http_proxy: dials,
    NO_PROXY: { dotenv: PROTECTION },
    no_proxy: { dotenv: PROTECTION },
    DATABRICKS_CONFIG_FILE: { dotenv: FILE },
    DATABRICKS_CLI_PATH: { dotenv: PROGRAM },
    PATH: { dotenv: PROGRAM },
    NODE_EXTRA_CA_CERTS: { dotenv: TRUST },
  }),
)
