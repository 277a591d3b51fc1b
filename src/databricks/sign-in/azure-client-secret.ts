/** `azure-client-secret`: a service principal of Microsoft Entra ID and its secret. */

import { ClientSecretPost } from 'oauth4webapi'

import { ProxyError } from '../../core/errors.js'
import { AZURE_ATTRIBUTES, entraServer, findTenant, isAzure, withManagementToken } from './azure.js'
import { requestToken } from './oidc.js'
import type { SignInMethod } from './sign-in-method.js'

export const azureClientSecret: SignInMethod = {
  type: 'azure-client-secret',
  attributes: AZURE_ATTRIBUTES,
  needs: 'ARM_CLIENT_ID and ARM_CLIENT_SECRET, ARM_TENANT_ID, and an Azure workspace',
  configure(config) {
    const clientId = config.get('azure_client_id')
    const clientSecret = config.secret('azure_client_secret')
    if (clientId === undefined || clientSecret === undefined || !isAzure(config)) return undefined
    const hint = `Check ${config.sourceOf('azure_client_id')} and ${config.sourceOf('azure_client_secret')}: the secret may have expired.`
    return {
      hint,
      async fetchToken(call) {
        const tenant = await findTenant(config, call)
        if (tenant === undefined) {
          throw new ProxyError('config', 'the tenant of the Azure service principal is not known', {
            hint: 'Set ARM_TENANT_ID.',
          })
        }
        return withManagementToken(config, call, (resource) =>
          requestToken(
            entraServer(config, tenant),
            {
              client: { client_id: clientId },
              clientAuth: ClientSecretPost(clientSecret.reveal()),
              grantType: 'client_credentials',
              parameters: { resource },
              what: `the client secret of ${clientId}`,
              hint,
            },
            call,
          ),
        )
      },
    }
  },
}
