/** `azure-msi`: the managed identity of an Azure machine, asked of its instance metadata service. */

import { AZURE_ATTRIBUTES, isAzure, withManagementToken } from './azure.js'
import {
  type SignInMethod,
  type TokenCall,
  type WorkspaceToken,
  workspaceToken,
} from './sign-in-method.js'
import { EpochToken, readTokenReply } from './token-reply.js'

export const azureMsi: SignInMethod = {
  type: 'azure-msi',
  attributes: AZURE_ATTRIBUTES,
  needs: 'ARM_USE_MSI=true, and an Azure workspace',
  configure(config) {
    const wanted = /^(1|t|true)$/i.test(config.get('azure_use_msi') ?? '')
    if (!wanted || !isAzure(config)) return undefined
    const clientId = config.get('azure_client_id')
    return {
      hint: HINT,
      fetchToken: (call) =>
        withManagementToken(config, call, (resource) => askMachine(resource, clientId, call)),
    }
  },
}

const HINT =
  'Give this Azure machine a managed identity that is a service principal of the workspace (ARM_CLIENT_ID chooses among several), or unset ARM_USE_MSI.'

/** https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token */
async function askMachine(
  resource: string,
  clientId: string | undefined,
  { http, clock, signal }: TokenCall,
): Promise<WorkspaceToken> {
  const url = new URL('http://169.254.169.254/metadata/identity/oauth2/token')
  url.searchParams.set('api-version', '2018-02-01')
  url.searchParams.set('resource', resource)
  if (clientId !== undefined) url.searchParams.set('client_id', clientId)
  const reply = await http.send({
    url,
    headers: { metadata: 'true' },
    toMachine: true,
    signal,
  })
  const gave = "the Azure machine's identity service gave no token"
  const token = readTokenReply(reply, EpochToken, gave, HINT)
  return workspaceToken(token.access_token, token.expires_on * 1000, clock)
}
