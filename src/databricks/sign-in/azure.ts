/**
 * What both ways of signing in through Microsoft Entra ID share: the settings, the
 * addresses of each Azure cloud, the tenant's discovery and the headers that speak for a service
 * principal that is not yet in the workspace.
 */

import type { AuthorizationServer } from 'oauth4webapi'

import { ProxyError } from '../../core/errors.js'
import { Secret } from '../../core/secret.js'
import { redirectOf } from '../http/http.js'
import { isAzureHost, isDatabricksHost, pathPart } from '../http/workspace-host.js'
import type { Attribute } from './databricks-config.js'
import type { ConfigWithHost, TokenCall, WorkspaceToken } from './sign-in-method.js'

export const AZURE_ATTRIBUTES: readonly Attribute[] = [
  { name: 'azure_workspace_resource_id', env: ['DATABRICKS_AZURE_RESOURCE_ID'], family: 'azure' },
  { name: 'azure_use_msi', env: ['ARM_USE_MSI'], family: 'azure' },
  { name: 'azure_client_id', env: ['ARM_CLIENT_ID'], family: 'azure' },
  { name: 'azure_client_secret', env: ['ARM_CLIENT_SECRET'], family: 'azure', sensitive: true },
  { name: 'azure_tenant_id', env: ['ARM_TENANT_ID'], family: 'azure' },
  { name: 'azure_environment', env: ['ARM_ENVIRONMENT'] },
]

/** The application that stands for Azure Databricks in every tenant. */
export const DATABRICKS_RESOURCE = '2ff814a6-3304-4ab8-85cb-cd0e6f879c1d'

const CLOUDS: Readonly<Record<string, { readonly login: string; readonly management: string }>> = {
  PUBLIC: {
    login: 'https://login.microsoftonline.com/',
    management: 'https://management.core.windows.net/',
  },
  USGOVERNMENT: {
    login: 'https://login.microsoftonline.us/',
    management: 'https://management.core.usgovcloudapi.net/',
  },
  CHINA: {
    login: 'https://login.chinacloudapi.cn/',
    management: 'https://management.core.chinacloudapi.cn/',
  },
}

/**
 * Errors: kind `config`, where a resource id stands beside a host that is not Databricks': Entra's
 * tokens are good for every workspace of the user, so they go to Databricks only.
 */
export function isAzure(config: ConfigWithHost): boolean {
  if (isAzureHost(config.host)) return true
  if (config.get('azure_workspace_resource_id') === undefined) return false
  if (isDatabricksHost(config.host)) return true
  throw new ProxyError(
    'config',
    `${config.host} is not a Databricks host, and gets no Azure token`,
    {
      detail: `The host is set by ${config.sourceOf('host')}, the Azure resource by ${config.sourceOf('azure_workspace_resource_id')}.`,
      hint: 'Write the host as https://adb-<number>.<number>.azuredatabricks.net.',
    },
  )
}

/** Where Microsoft Entra ID issues the tokens of a tenant. */
export function entraServer(config: ConfigWithHost, tenant: string): AuthorizationServer {
  const { login } = azureCloud(config)
  return {
    issuer: `${login}${tenant}`,
    token_endpoint: `${login}${pathPart(tenant)}/oauth2/token`,
  }
}

function azureCloud(config: ConfigWithHost) {
  const { hostname } = new URL(config.host)
  const byHost = /\.us$/.test(hostname)
    ? 'USGOVERNMENT'
    : /\.cn$/.test(hostname)
      ? 'CHINA'
      : 'PUBLIC'
  const named = config.get('azure_environment')?.toUpperCase() ?? ''
  return CLOUDS[isAzureHost(config.host) ? byHost : named] ?? CLOUDS[byHost]!
}

/** The set one, else the one the workspace's login page sends to; undefined when it tells none. */
export async function findTenant(
  config: ConfigWithHost,
  { http, log, signal }: TokenCall,
): Promise<string | undefined> {
  const set = config.get('azure_tenant_id')
  if (set !== undefined) return set
  const url = new URL('/aad/auth', config.host)
  const reply = await http.send({ url, signal, followRedirects: false })
  const tenant = redirectOf(reply.status, reply.headers, url)?.pathname.split('/')[1]
  if (tenant === undefined) log.debug({ host: url.host }, 'the workspace names no Azure tenant')
  return tenant
}

/**
 * Adds the management token, which lets a service principal in by its rights in Azure alone. Who
 * has no such rights is a user of the workspace already, and needs none.
 */
export async function withManagementToken(
  config: ConfigWithHost,
  { log }: TokenCall,
  fetchFor: (resource: string) => Promise<WorkspaceToken>,
): Promise<WorkspaceToken> {
  const management = fetchFor(azureCloud(config).management).catch((error: unknown) => {
    log.debug({ err: error }, 'going on without an Azure management token')
  })
  const token = await fetchFor(DATABRICKS_RESOURCE)
  const extra = await management
  const resourceId = config.get('azure_workspace_resource_id')
  const ends = [token.expiresAt, extra?.expiresAt].filter((end) => end !== undefined)
  return {
    accessToken: token.accessToken,
    expiresAt: ends.length === 0 ? undefined : Math.min(...ends),
    headers: {
      ...(extra === undefined
        ? {}
        : { 'x-databricks-azure-sp-management-token': extra.accessToken }),
      ...(resourceId === undefined
        ? {}
        : { 'x-databricks-azure-workspace-resource-id': new Secret(resourceId) }),
    },
  }
}
