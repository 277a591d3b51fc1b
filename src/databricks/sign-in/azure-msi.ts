/** `azure-msi`: the managed identity of an Azure machine, asked of its instance metadata service. */

import { z } from 'zod'

import { ProxyError } from '../../core/errors.js'
import { plainText } from '../../core/plain-text.js'
import { AZURE_ATTRIBUTES, isAzure, withManagementToken } from './azure.js'
import {
  type SignInDeps,
  type SignInMethod,
  type WorkspaceToken,
  workspaceToken,
} from './sign-in-method.js'

export const azureMsi: SignInMethod = {
  type: 'azure-msi',
  attributes: AZURE_ATTRIBUTES,
  needs: 'ARM_USE_MSI=true, and an Azure workspace',
  configure(config, deps) {
    const wanted = /^(1|t|true)$/i.test(config.get('azure_use_msi') ?? '')
    if (!wanted || !isAzure(config)) return undefined
    const clientId = config.get('azure_client_id')
    return {
      hint: HINT,
      fetchToken: (signal) =>
        withManagementToken(config, deps, (resource) =>
          askMachine(resource, clientId, deps, signal),
        ),
    }
  },
}

const HINT =
  'Give this Azure machine a managed identity that is a service principal of the workspace (ARM_CLIENT_ID chooses among several), or unset ARM_USE_MSI.'

/** https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token */
async function askMachine(
  resource: string,
  clientId: string | undefined,
  deps: SignInDeps,
  signal: AbortSignal,
): Promise<WorkspaceToken> {
  const url = new URL('http://169.254.169.254/metadata/identity/oauth2/token')
  url.searchParams.set('api-version', '2018-02-01')
  url.searchParams.set('resource', resource)
  if (clientId !== undefined) url.searchParams.set('client_id', clientId)
  const reply = await deps.http.send({
    url,
    headers: { metadata: 'true' },
    toMachine: true,
    signal,
  })
  const token = reply.status === 200 ? readToken(reply.text) : undefined
  if (token !== undefined)
    return workspaceToken(token.access_token, token.expires_on * 1000, deps.clock)
  const why = reply.status === 200 ? 'no token in its reply' : plainText(reply.text)
  throw new ProxyError(
    'identity',
    `the Azure machine's identity service gave no token: HTTP status ${reply.status}: ${why}`,
    { hint: HINT },
  )
}

/** `expires_on` is in seconds since the epoch, as text. */
const TokenReply = z.object({ access_token: z.string().min(1), expires_on: z.coerce.number() })

function readToken(text: string): z.infer<typeof TokenReply> | undefined {
  try {
    return TokenReply.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}
